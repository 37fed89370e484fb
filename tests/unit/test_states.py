"""The state tables in docs/explanation/states.md are the ones in the code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from genyard.jobs.model import ATTEMPT_TRANSITIONS, JOB_TRANSITIONS, STAGE_TRANSITIONS, new_id

PAGE = (Path(__file__).parents[2] / "docs" / "explanation" / "states.md").read_text()


@pytest.mark.parametrize(
    ("title", "table"),
    [("Job", JOB_TRANSITIONS), ("Stage", STAGE_TRANSITIONS), ("Attempt", ATTEMPT_TRANSITIONS)],
)
def test_the_page_shows_the_table(title: str, table: Mapping[Any, frozenset[Any]]) -> None:
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    shown: dict[str, set[str]] = {}
    for row in re.findall(r"^\| ([a-z, ]+) \| (.+) \|$", section, re.M):
        after = set(re.findall(r"[a-z]+", re.sub(r"\(.*?\)", "", row[1])))
        shown |= {state: after for state in row[0].split(", ") if state != "from"}
    assert shown == {state.value: {one.value for one in after} for state, after in table.items()}


def test_ids_sort_by_the_time_they_were_made() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(one.version == 7 for one in ids)
    milliseconds = [one.int >> 80 for one in ids]
    assert milliseconds == sorted(milliseconds)
