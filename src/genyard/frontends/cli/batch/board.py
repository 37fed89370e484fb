"""What somebody sees of a batch: a live table on a terminal, a line per row that ends elsewhere. On stderr."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from genyard.frontends.cli.prices import money, told_cost
from genyard.frontends.cli.screen import stderr

if TYPE_CHECKING:
    from genyard.jobs.model import Event

_STYLE: Final = {"succeeded": "green", "failed": "red", "refused": "red"}
_ROOM_FOR_THE_REST: Final = 6


@dataclass(kw_only=True)
class _Open:
    what: str
    began: float
    state: str = "queued"
    detail: str = ""
    progress: float | None = None


class Board:
    """`total` rows, of which `done` needed nothing any more."""

    def __init__(self, *, total: int, done: int) -> None:
        self._console = stderr()
        self._total = total
        self._began = time.monotonic()
        self._ended: Counter[str] = Counter({"done before": done} if done else {})
        self._usd = 0.0
        self._open: dict[int, _Open] = {}
        self._live: Live | None = None

    def __enter__(self) -> Board:
        if self._console.is_terminal:
            self._live = Live(
                console=self._console, get_renderable=self._render, transient=True, refresh_per_second=8
            )
            self._live.start()
        return self

    def __exit__(self, *failure: Any) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, number: int, what: str) -> None:
        self._open[number] = _Open(what=what, began=time.monotonic())

    def see(self, number: int, event: Event) -> None:
        one = self._open[number]
        one.state = (event.data.get("state") if event.kind == "progress" else event.kind) or one.state
        one.detail = event.data.get("detail") or ""
        one.progress = event.data.get("progress")

    def end(self, number: int, line: Mapping[str, Any]) -> None:
        """A row with its line of the results: what is said of it stays."""
        one = self._open.pop(number, None)
        self._ended[line["state"]] += 1
        self._usd += (line["cost"] or {}).get("usd") or 0.0
        told = [f"row {number} of {self._total}", f"{line['state']}{_took(one)}"]
        told += [cost] if (cost := told_cost(line["cost"])) else []
        if line["error"]:
            told.append(f"{line['error']['message']} ({line['error']['code']})")
        told += line["files"]
        self._console.print(Text(" · ".join(told), style=_STYLE.get(line["state"], "")))

    def _render(self) -> RenderableType:
        counts = ", ".join(f"{count} {state}" for state, count in self._ended.items())
        left = self._total - self._ended.total() - len(self._open)
        seconds = time.monotonic() - self._began
        head = f"{self._total} rows: {counts or 'none done'}, {len(self._open)} under way, {left} left"
        cost = f" · {money(self._usd)}" if self._usd else ""
        table = Table.grid(padding=(0, 2))
        room = max(3, self._console.height - _ROOM_FOR_THE_REST)
        for number, one in list(self._open.items())[:room]:
            # a bar only where the place says how far it is
            bar: RenderableType = (
                Text("") if one.progress is None else ProgressBar(1.0, completed=one.progress, width=16)
            )
            table.add_row(
                Text(str(number), style="dim"),
                Text(one.what[:40], no_wrap=True),
                one.state,
                bar,
                Text(one.detail[:60], style="dim", no_wrap=True),
            )
        hidden = len(self._open) - room
        more = [Text(f"and {hidden} more under way", style="dim")] if hidden > 0 else []
        return Group(Text(f"{head}{cost} · {seconds:.0f} s", style="bold"), table, *more)


def _took(one: _Open | None) -> str:
    return f" in {time.monotonic() - one.began:.1f} s" if one else ""
