"""docs/explanation/soak.md from one run."""

from __future__ import annotations

from collections.abc import Mapping

from soak.soaking import Result


def said(result: Result) -> str:
    """For a terminal."""
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
        lines.append(f"[{'ok' if not check.wrong else 'WRONG'}] {check.promise} ({check.counted})")
        lines += [f"      {one}"[:400] for one in check.wrong[:12]]
    return "\n".join(lines)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda one: -one[1]))


def written(result: Result) -> str:
    return said(result)
