"""What somebody sees while a job is under way: a live line on a terminal, a few plain lines elsewhere. On stderr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from genyard.frontends.cli.picture import as_blocks, fits

if TYPE_CHECKING:
    from genyard.jobs.model import Event

_PREVIEW_COLUMNS: Final = 32


def stderr() -> Console:
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def stdout() -> Console:
    return Console(highlight=False, markup=False, soft_wrap=True)


def print_rows(header: Sequence[str], rows: Sequence[Sequence[str]], styles: Mapping[str, str]) -> None:
    """Columns as wide as they need; on a terminal the last one is cut at its edge, in a pipe nothing is."""
    console = stdout()
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header) - 1)]
    for number, row in enumerate((header, *rows)):
        line = Text(style="dim" if number == 0 else "")
        for cell, width in zip(row, widths, strict=False):
            line.append(cell.ljust(width) + "  ", style=styles.get(cell, ""))
        line.append(row[-1])
        if console.is_terminal:
            line.truncate(console.width, overflow="ellipsis")
        console.print(line)


class Screen:
    """`pause` clears the live line for a question; `resume` brings it back."""

    def __init__(self, title: str) -> None:
        self._console = stderr()
        self._title = title
        self._state = "queued"
        self._detail = ""
        self._said = ""
        self._picture: RenderableType | None = None
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[share]}"),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task(title, total=None, share="")
        self._live: Live | None = None

    def __enter__(self) -> Screen:
        self.resume()
        return self

    def __exit__(self, *failure: Any) -> None:
        self.pause()

    def resume(self) -> None:
        if self._console.is_terminal and self._live is None:
            self._live = Live(
                console=self._console, get_renderable=self._render, transient=True, refresh_per_second=12
            )
            self._live.start()

    def pause(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def see(self, event: Event) -> None:
        """An event of the job: progress that passes, or a new state."""
        if event.kind == "progress":
            self._state = event.data.get("state") or self._state
            self._tell(event.data.get("detail"), event.data.get("progress"))
            return
        self._state = event.kind
        self._tell(event.data.get("detail"), None)
        self._line()

    def show(self, picture: bytes) -> None:
        """An unfinished picture."""
        if fits(self._console):
            self._picture = as_blocks(picture, self._console, columns=_PREVIEW_COLUMNS)

    def say(self, text: str, style: str = "", end: str = "\n") -> None:
        self._console.print(Text(text, style=style), end=end)

    def _tell(self, detail: str | None, progress: float | None) -> None:
        self._detail = detail or ""
        description = f"{self._title} · {self._state}" + (f" · {detail}" if detail else "")
        self._progress.update(
            self._task,
            description=description[: max(20, self._console.width - 48)],
            total=None if progress is None else 1.0,
            completed=progress or 0.0,
            share="" if progress is None else f"{progress:4.0%}",
        )

    def _line(self) -> None:
        line = f"{self._state}" + (f": {self._detail}" if self._detail else "")
        if self._live is None and not self._console.is_terminal and line != self._said:
            self._said = line
            self.say(f"{self._title} · {line}")

    def _render(self) -> RenderableType:
        return Group(self._picture, self._progress) if self._picture is not None else self._progress
