"""What a soak found: for a terminal, and as docs/explanation/soak.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from soak.faults import LASTING, PASSING
from soak.soaking import Result, Sample

_MIB = 2**20


def said(result: Result) -> str:
    """For a terminal: a line a promise, and the first contradictions."""
    findings = result.findings
    lines = [
        f"{len(result.told.accepted)} jobs in {result.seconds:.0f} s "
        f"(orders in {result.seconds_of_orders:.0f} s), seed {result.plan.seed}",
        f"ended: {_counts(findings.ends)}",
        f"codes: {_counts(findings.codes)}",
        f"troubles: {_counts(result.troubles)}; deaths: {_counts(result.deaths)}",
        f"waits: {_counts(result.told.waits)}; refused: {len(result.told.refused)}",
        f"facts: {dict(findings.facts)}",
        "second runs: "
        + ", ".join(f"{n} at {a} after {b}" for (a, b), n in findings.second_runs.items() if n),
    ]
    for check in findings.checks:
        lines.append(f"[{'WRONG' if check.wrong else 'ok'}] {check.promise} ({check.counted})")
        lines += [f"      {one}"[:400] for one in check.wrong[:12]]
    return "\n".join(lines)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda one: -one[1]))


def written(result: Result) -> str:
    """The page. Everything in it comes from this one run."""
    parts = [
        _head(result),
        _promises(result),
        _ends(result),
        _second(result),
        _troubles(result),
        _machines(result),
    ]
    return "\n\n".join(parts) + "\n"


def _head(result: Result) -> str:
    told = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    accepted = len(result.told.accepted)
    orders = accepted + len(result.told.refused)
    verdict = (
        "Every promise was kept." if result.findings.clean else "**Not every promise was kept: see below.**"
    )
    return f"""<!-- written by `make soak` (tests/soak/report.py) -->
# A soak of {accepted:,} jobs

{verdict} {result.begun:%d %B %Y}; {told}; seed {result.plan.seed}; {result.seconds / 60:.0f} minutes on a machine with
two cores that had other work to do (orders came in for {result.seconds_of_orders / 60:.0f} of them).

`make soak` puts {orders:,} orders of six customers into genyard while nearly everything goes wrong, lets all of it
end, and then compares what the database, the emulated places, the store and the customers say. The audit uses none of
genyard's own code: prices come from the table that the customers were told, runs from what the places counted,
pictures are compared pixel for pixel with what each run made. The seed makes the plan; when exactly a process
is hit within a job is up to the machine.

- **Processes**: {len(result.deaths)} of genyard (workers, and an API that works, too) on one PostgreSQL that genyard
  did not start; five emulated places (ComfyUI 0.33 and 0.3.64, RunPod with five endpoints, Scenario, Replicate)
  and a receiver of callbacks.
- **Orders**: pictures, pictures from pictures, pictures with their background removed in one stage or two, one to
  four at a time; over HTTP and from Python; priorities, tiers with caps and queues, deadlines of seconds, callbacks
  for a third, cancels at random moments, requests sent twice under one key,
  a customer who runs out of credits.

At the end, callbacks that would have waited minutes for another try are made due at once."""


def _promises(result: Result) -> str:
    rows = [
        (check.promise, check.counted, "yes" if not check.wrong else f"**no: {len(check.wrong)}**")
        for check in result.findings.checks
    ]
    wrong = [f"- {one[:300]}" for check in result.findings.checks for one in check.wrong[:20]]
    told = "\n\n## What was not kept\n\n" + "\n".join(wrong) if wrong else ""
    return "## What is promised, and what was found\n\n" + _table(("promise", "counted", "kept"), rows) + told


def _ends(result: Result) -> str:
    findings, accepted = result.findings, len(result.told.accepted)
    rows = [(name, f"{n:,}", f"{n / accepted:.1%}") for name, n in _most(findings.ends)]
    codes = [(f"`{name}`", str(n)) for name, n in _most(findings.codes)]
    facts = findings.facts
    return "\n\n".join(
        (
            "## How the jobs ended",
            _table(("end", "jobs", "share"), rows),
            "Why those that did not succeed did not:",
            _table(("code", "jobs"), codes),
            f"Attempts: {_counts(facts['attempts'])}. In the store: {facts['objects in the store']:,} objects, of "
            f"which {facts['orphans']} belong to nothing (a process died between storing and noting; the sweep of the "
            f"store removes them); {facts['rows without an object']} rows without an object. Refused orders: "
            f"{_counts(Counter(result.told.refused.values())) or 'none'}. Asked again by customers: "
            f"{_counts(result.told.waits) or 'never'}.",
        )
    )


def _second(result: Result) -> str:
    rows = [
        (endpoint, f"`{code}`", str(n)) for (endpoint, code), n in _most(result.findings.second_runs) if n
    ]
    return (
        "## Second runs, and why\n\nA run is bought again only where the first one is known to have ended without a "
        "result and its error says that the same again may help; at a place that costs money once at most. What "
        "nobody can know about is never bought again.\n\n"
        + (_table(("endpoint", "the first run ended with", "runs"), rows) if rows else "There were none.")
    )


def _troubles(result: Result) -> str:
    names = {
        "fault": "faults switched on at a place",
        "state": "a place in a bad state for seconds (no machine free, …)",
        "cut": "the network to a place cut",
        "kill": "a process of genyard killed (SIGKILL)",
        "stop": "a process stopped in order and started anew (SIGTERM)",
        "freeze": "a process frozen for 2 to 15 s (SIGSTOP, SIGCONT)",
        "database": "PostgreSQL restarted, every other time by a crash",
        "receiver": "the receiver of callbacks down",
    }
    rows = [(names[name], str(n)) for name, n in _most(result.troubles)]
    known = {
        place: {one["kind"] for one in faults} | set(LASTING.get(place, ()))
        for place, faults in PASSING.items()
    }
    struck = [
        (
            place,
            ", ".join(f"{kind} {n}" for kind, n in _most(result.struck[place])),
            ", ".join(sorted(known[place] - result.struck[place].keys() - set(LASTING.get(place, ()))))
            or "–",
        )
        for place in result.struck
    ]
    return "\n\n".join(
        (
            "## What went wrong on purpose",
            _table(("trouble", "times"), rows),
            "What really struck at the places, by kind (`python -c 'from genyard.testing.runpod import FaultKind; "
            "help(FaultKind)'` says what each is):",
            _table(("place", "struck", "in the plan's list, but did not strike this time"), struck),
        )
    )


def _machines(result: Result) -> str:
    steady = min(result.deaths, key=lambda name: (result.deaths[name], name))
    rows = []
    for share in (0.1, 0.25, 0.5, 0.75, 1.0):
        sample = _at(result.samples, share, steady)
        if sample is not None:
            memory = f"{sample.memory[steady] / _MIB:.0f} MiB"
            rows.append(
                (f"{share:.0%}", f"{sample.accepted:,}", memory, str(sample.connections), str(sample.open))
            )
    tables = [(f"`{name}`", f"{size / _MIB:.1f} MiB") for name, size in result.tables.items()]
    return "\n\n".join(
        (
            "## Memory, connections, tables",
            f"`{steady}` was never killed; its resident memory over the run:",
            _table(
                ("of the time", "jobs accepted", "memory", "connections to PostgreSQL, of all", "open jobs"),
                rows,
            ),
            "The largest tables at the end, with their indexes:",
            _table(("table", "size"), tables),
        )
    )


def _at(samples: Sequence[Sample], share: float, name: str) -> Sample | None:
    """The last one up to that share of the time in which the process was there."""
    end = samples[-1].at * share if samples else 0.0
    found = [one for one in samples if one.at <= end and name in one.memory]
    return found[-1] if found else None


def _most(counts: Mapping[Any, int]) -> list[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], str(one[0])))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(one.replace("|", "\\|") for one in line) + " |" for line in lines)
