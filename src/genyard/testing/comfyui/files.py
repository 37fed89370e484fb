"""The emulator's folders: input/, output/, temp/, with ComfyUI's rules for names and its annotated paths."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ANNOTATED: Final = re.compile(r"^(?P<path>.*?)(?: \[(?P<type>input|output|temp)\])?$", re.DOTALL)

#: The path under which errors speak of the server, as in the recordings.
SERVER_ROOT: Final = "/comfyui"


class Outside(Exception):
    """A name or subfolder that leaves the folder."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """One file to be written: where, and what the answer says of it."""

    path: Path
    filename: str
    subfolder: str
    type: str

    def as_json(self) -> dict[str, str]:
        return {"filename": self.filename, "subfolder": self.subfolder, "type": self.type}


@dataclass(kw_only=True)
class Files:
    root: Path
    _counters: dict[tuple[Path, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in ("input", "output", "temp"):
            (self.root / kind).mkdir(parents=True, exist_ok=True)

    def folder(self, kind: str) -> Path:
        return self.root / kind

    def inside(self, kind: str, subfolder: str) -> Path:
        folder = self.folder(kind).resolve()
        found = (folder / subfolder).resolve()
        if not found.is_relative_to(folder):
            raise Outside(subfolder)
        return found

    def read_path(self, reference: str) -> Path | None:
        """The file that a loader node names (`u.png`, `jobs/42/u.png`, `u.png [temp]`), if it is there."""
        match = ANNOTATED.match(reference)
        assert match is not None
        try:
            path = self.inside(match["type"] or "input", match["path"])
        except Outside:
            return None
        return path if path.is_file() else None

    def inputs(self) -> list[str]:
        return sorted(path.name for path in self.folder("input").iterdir() if path.is_file())

    def next(self, kind: str, prefix: str, suffix: str, *, trailing: str = "_", batch: int = 0) -> Saved:
        """The next free `prefix_00001_.png` of a folder; `%batch_num%` counts within one node's images."""
        subfolder, _, name = prefix.rpartition("/")
        try:
            folder = self.inside(kind, subfolder)
        except Outside:
            raise Outside(
                "**** ERROR: Saving image outside the output folder is not allowed.\n"
                f" full_output_folder: {SERVER_ROOT}/{kind}/{subfolder}\n"
                f"         output_dir: {SERVER_ROOT}/{kind}"
            ) from None
        folder.mkdir(parents=True, exist_ok=True)
        counter = self._counters.get((folder, name))
        if counter is None:
            taken = [_counter_of(path.name, name) for path in folder.glob("*")]
            counter = max(taken, default=0)
        self._counters[folder, name] = counter = counter + 1
        filename = f"{name.replace('%batch_num%', str(batch))}_{counter:05}{trailing}{suffix}"
        return Saved(path=folder / filename, filename=filename, subfolder=subfolder, type=kind)

    def wipe_temp(self) -> None:
        shutil.rmtree(self.folder("temp"), ignore_errors=True)
        self.folder("temp").mkdir()


def _counter_of(filename: str, name: str) -> int:
    rest = filename.removeprefix(f"{name}_")
    digits = re.match(r"\d+", rest)
    return int(digits[0]) if digits and rest != filename else 0


def fill_placeholders(prefix: str, values: Mapping[str, int]) -> str:
    """%width% %height% %year% …; %date:…% is the web page's business and stays."""
    now = time.localtime()
    known = {
        "year": f"{now.tm_year}",
        "month": f"{now.tm_mon:02}",
        "day": f"{now.tm_mday:02}",
        "hour": f"{now.tm_hour:02}",
        "minute": f"{now.tm_min:02}",
        "second": f"{now.tm_sec:02}",
        **{name: str(value) for name, value in values.items()},
    }
    return re.sub(r"%(\w+)%", lambda match: known.get(match[1], match[0]), prefix)
