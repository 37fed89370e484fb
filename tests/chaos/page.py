"""The page that tells what came of the matrix: docs/reference/crashes.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from chaos.cases import Case, End, Fault, expected
from chaos.kinds import KINDS, Kind
from chaos.points import POINTS, Point
from chaos.tally import Result

_TITLES: Final[Mapping[Fault, str]] = {
    Fault.kill: "The worker is killed (SIGKILL); another one is there",
    Fault.freeze: "The worker is frozen (SIGSTOP) until another one has ended the job, then wakes (SIGCONT)",
    Fault.stop: "The worker is stopped in good order (SIGTERM); another one is there",
    Fault.database: "PostgreSQL is shut down at once, without a checkpoint, and started again",
    Fault.network: "Connections to the place break, new ones are refused for a moment",
    Fault.answer: "The request is carried out, its answer is lost",
    Fault.restart: "The place is restarted: ComfyUI forgets its queue and history, hosted places answer 503",
}

_HEAD: Final = """\
# Crashes

What becomes of a job when something breaks at a named step of an attempt. `make chaos` writes this page; `make test`
tries a part of it. Real worker processes run a pipeline of two stages at an emulator of each kind of place, over a
PostgreSQL of their own. At the step the whole process stands still, and the fault happens exactly there. The table of
steps is `tests/chaos/points.py`; a test compares it with the sources, and fails for a step that is not in it.

In every cell this was counted, and is as it should be: one end of the job; at the place, as many GPU runs as are told
here; in the ledger, one reservation and either one charge or one release of the same amount, with books that balance;
exactly one delivered output or none; nothing open anywhere; and for a worker that was frozen, nothing that it changed
after it woke, and that it serves new jobs.

| sign | means |
|---|---|
| ✓ | one result delivered, charged once; one GPU run for each stage |
| ✓ +1 | the same; one run was lost with its place's memory and made anew: the place was asked, and knew nothing |
| lost *n* | the place cannot be asked whether the submission arrived: the job ended as `provider.lost`, with its \
credits back, after *n* GPU runs in all; nothing was bought again |
| canceled | by its owner; credits back; the place was told, or the run is followed to its end for its cost |
| refused | the place refuses the submission (401); credits back, no run |
| – | no such step at this kind of place, or the fault cannot strike there, or it does not depend on the kind |

Two signs in one cell: in the first, and in the second stage of the pipeline.
"""

_NOTES: Final = """\
## What to know

- **lost** is possible only from `jobs.leave after` (it is written that the submission leaves) to the stored reference.
  Where a worker dies before, nothing was sent, and the next one submits; where it dies later, the run is observed on. A
  place that can be asked (ComfyUI, by `prompt_id`) is asked, so nothing is lost there.
- The built-in renderer draws in the worker's own process: whoever takes over draws again (✓ +1); after a stop in good
  order that is what was just being drawn, if anything. It costs nobody money.
- A worker may also be frozen in the microseconds between its last look at the fence and the wire. No fence can close
  that: the run is bought then, and its attempt is `lost` or found, as above.
- A killed worker's stages are taken up by the next sweep (every second) of any worker, a frozen one's after the lease
  (10 s; the cases above use 2 s in its place). For five seconds after a restart of the database
  nobody who was there before counts as dead: its locks are gone, and those who live are coming back.
- Files that a killed worker had stored and not yet booked stay in the store with nobody to refer to them, and are
  counted below; `genyard admin clean --orphans` removes them.
"""


def render(results: Sequence[Result], took: float | None) -> str:
    """`took`: seconds of the whole, for the line that differs from run to run."""
    parts = [_HEAD]
    for fault in _TITLES:
        of_it = {_key(one.case): one for one in results if one.case.fault is fault}
        if of_it:
            parts += [f"## {_TITLES[fault]}\n", _table(of_it)]
    parts += [_NOTES, _counts(results), _last_line(results, took)]
    return "\n".join(parts)


def _key(case: Case) -> tuple[str, str, str, int]:
    return case.kind.name, case.play, case.passing, case.stage


def _table(results: Mapping[tuple[str, str, str, int], Result]) -> str:
    kinds = [kind for kind in KINDS.values() if any(key[0] == kind.name for key in results)]
    lines = [
        "| step | " + " | ".join(kind.name for kind in kinds) + " |",
        "|---" * (len(kinds) + 1) + "|",
    ]
    for point in POINTS:
        for moment in point.moments:
            cells = [_cell(results, kind, point, moment) for kind in kinds]
            if any(cell != "–" for cell in cells):
                play = "" if point.play == "plain" else f" ({point.play})"
                lines.append(f"| `{point.call}` {moment}{play} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(results: Mapping[tuple[str, str, str, int], Result], kind: Kind, point: Point, moment: str) -> str:
    found = [results.get((kind.name, point.play, f"{point.call} {moment}", stage)) for stage in point.stages]
    signs = [_sign(one) for one in found if one is not None]
    return " / ".join(dict.fromkeys(signs)) or "–"


def _sign(result: Result) -> str:
    if not result.good or result.tally is None:
        return "✗"
    tally, wanted = result.tally, expected(result.case)
    if wanted.end is End.lost:
        return f"lost {tally.runs}"
    if wanted.end is not End.delivered:
        return str(wanted.end)
    stages = 1 if result.case.play in ("video", "previews") else 2
    again = tally.runs - stages
    return f"✓ +{again}" if again else "✓"


def _counts(results: Iterable[Result]) -> str:
    lines = [
        "## Counted\n",
        "| fault | cases | as expected | GPU runs | ledger entries | delivered outputs | lost | orphaned files |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for fault in _TITLES:
        of_it = [one for one in results if one.case.fault is fault]
        tallies = [one.tally for one in of_it if one.tally is not None]
        if of_it:
            told = (
                len(of_it),
                sum(one.good for one in of_it),
                sum(one.runs for one in tallies),
                sum(one.entries for one in tallies),
                sum(one.outputs for one in tallies),
                sum(one.end == End.lost for one in tallies),
                sum(one.orphans for one in tallies),
            )
            lines.append(f"| {fault} | " + " | ".join(str(one) for one in told) + " |")
    return "\n".join(lines) + "\n"


def _last_line(results: Iterable[Result], took: float | None) -> str:
    """What differs from run to run."""
    killed = [one.tally for one in results if one.case.fault is Fault.kill and one.tally]
    up = [one.taken_up for one in killed if one.taken_up is not None and not one.restarted]
    late = [one.taken_up for one in killed if one.taken_up is not None and one.restarted]
    told = (
        f"Killed workers' stages were taken up after {statistics.median(up):.1f} s (median), {max(up):.1f} s at most"
        if up
        else ""
    )
    told += f", {max(late):.1f} s where the database had just been restarted" if late else ""
    return f"Last run: {told}{f'; the whole took {took:.0f} s' if took else ''}.\n"
