"""The results file of a batch: a JSON object per line and row, whole after every row, whatever ends the command."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genyard.frontends.cli.exits import wrong
from genyard.frontends.cli.files import choose_target

Line = Mapping[str, Any]


@dataclass(kw_only=True)
class Results:
    """`lines`: what is known of each row, by its key; the newest word on it."""

    path: Path
    lines: dict[str, Line] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Results:
        """A last line that was cut off by a crash does not count; a file of something else is not touched."""
        results = cls(path=path)
        if not path.exists():
            return results
        try:
            written = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as broken:
            raise wrong(f"cannot read the results so far in {str(path)!r}: {broken}", "--output") from broken
        for number, text in enumerate(written, start=1):
            line = _parse(text)
            if line is not None:
                results.lines[line["key"]] = line
            elif number < len(written):
                raise wrong(f"{str(path)!r} holds no results of a batch; name another with -o", "--output")
        return results

    def add(self, line: Line) -> None:
        """On disk when it returns, as far as a killed process is concerned."""
        self.lines[line["key"]] = line
        with _told_if_broken(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(_dump(line))

    def tidy(self, keys: Sequence[str]) -> None:
        """One line per row that there is, in their order."""
        if not self.lines:
            return
        part = self.path.with_name(f".{self.path.name}.part")
        with _told_if_broken(self.path):
            part.write_text("".join(_dump(self.lines[key]) for key in keys if key in self.lines))
            part.replace(self.path)


def paths_of(batch: Path, output: str | None) -> tuple[Path, Path]:
    """(results file, folder of what is made): beside the batch file, or as -o says: a .jsonl or a folder."""
    name = f"{batch.stem}.results.jsonl"
    path = Path(output).expanduser() if output else batch.with_name(name)
    results, folder = (path, path.with_suffix("")) if path.suffix.lower() == ".jsonl" else (path / name, path)
    if results.resolve() == batch.resolve():
        raise wrong("the results cannot go into the batch file itself; name another with -o", "--output")
    choose_target(str(results.parent))
    return results, folder


@contextlib.contextmanager
def alone(batch: Path) -> Iterator[None]:
    """One command at a time on a batch file."""
    with batch.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            raise wrong(f"another command is at work on {str(batch)!r}", "--batch") from taken
        except OSError:  # a file system without locks
            pass
        yield


def _dump(line: Line) -> str:
    return json.dumps(line, ensure_ascii=False, default=str) + "\n"


def _parse(text: str) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("key"), str) else None


@contextlib.contextmanager
def _told_if_broken(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as broken:
        raise wrong(f"cannot write {str(path)!r}: {broken.strerror or broken}", "--output") from broken
