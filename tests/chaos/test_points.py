"""Every step of the attempt protocol has a point at which the matrix breaks it; no point is of a step that is gone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import genyard.jobs
from chaos.cases import Fault, cases
from chaos.kinds import KINDS
from chaos.points import ELSEWHERE, NAMED_OTHERWISE, POINTS

JOBS = Path(genyard.jobs.__file__).parent
SOURCES = ("runner.py", "drive.py", "outputs.py", "worker.py", "handover.py")
#: What these modules call by these names is another process's, or the store.
OWNERS = ("jobs", "provider", "storage", "outputs", "inputs", "callbacks")


def calls(tree: ast.AST) -> Iterator[str]:
    """`jobs.claim` for `await self._jobs.claim(…)`, `provider.fetch` for what is iterated."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            parts = []
            owner: ast.expr = node.func
            while isinstance(owner, ast.Attribute):
                parts.append(owner.attr.lstrip("_"))
                owner = owner.value
            if isinstance(owner, ast.Name) and owner.id != "self":
                parts.append(owner.id)
            parts = [part for part in reversed(parts) if part != "around"]
            if len(parts) > 1 and parts[0] in OWNERS:
                yield ".".join(parts)


def steps_of(path: Path) -> set[str]:
    return set(calls(ast.parse(path.read_text())))


def test_every_step_has_a_point_and_every_point_a_step() -> None:
    steps = {call for name in SOURCES for call in steps_of(JOBS / name)}
    named = {NAMED_OTHERWISE.get(point.call, point.call) for point in POINTS}
    assert steps - named - set(ELSEWHERE) == set(), "give these steps points in tests/chaos/points.py"
    assert named - steps == set(), "these points belong to no step any more"
    assert set(ELSEWHERE) <= steps


def test_a_new_step_is_noticed() -> None:
    tree = ast.parse(
        "async def f(self):\n    await self._around.jobs.new_step(1)\n    await provider.poke(ref)"
    )
    assert set(calls(tree)) == {"jobs.new_step", "provider.poke"}


@pytest.mark.parametrize("fault", list(Fault))
def test_every_point_is_tried_with_every_fault_that_can_strike_there(fault: Fault) -> None:
    tried = {case.point.call for kind in KINDS.values() for case in cases(kind, fault)}
    if fault in (Fault.kill, Fault.freeze, Fault.database):
        assert tried == {point.call for point in POINTS}
