"""docs/explanation/costs.md follows from its own prices, and from how genyard computes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from genyard.catalog import load_catalog
from genyard.catalog.pricing import Rates, computed_usd

PAGE = (Path(__file__).parents[2] / "docs" / "explanation" / "costs.md").read_text()
COLD, FLASHBOOT, IDLE = 45.0, 1.0, 5.0


def rows(title: str) -> Iterator[list[str]]:
    """Of the table whose first cell begins with `title`."""
    found = re.search(rf"^\| {re.escape(title)}.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE)
    assert found is not None, title
    for line in found[1].splitlines():
        yield [cell.strip() for cell in line.strip("|").split("|")]


PRICES = {name.removesuffix(" (16 GB)"): float(price) for name, price in rows("GPU")}


def picture(price: float, run: float, *, cold: float = COLD, per_wake: float = 1.0) -> float:
    return price * (run + (cold + IDLE) / per_wake)


@pytest.mark.parametrize("title", ["FLUX.1 [dev]", "SDXL"])
def test_the_table_follows_from_the_formula(title: str) -> None:
    for gpu, seconds, *told in rows(title):
        price, run = PRICES[gpu], float(seconds)
        warm = price * run
        expected = [
            warm,
            picture(price, run, per_wake=10),
            picture(price, run, per_wake=3),
            picture(price, run),
            picture(price, run, cold=FLASHBOOT),
        ]
        assert [float(one) for one in told] == [pytest.approx(one, abs=0.000051) for one in expected], gpu


@pytest.mark.parametrize(("title", "model"), [("FLUX.1 [dev]", "flux.1-dev"), ("SDXL", "sdxl")])
def test_genyard_books_the_warm_column(title: str, model: str) -> None:
    binding = load_catalog().bindings[f"runpod/txt2img.{model}"]
    for gpu, seconds, warm, *_ in rows(title):
        booked = computed_usd(binding, {"count": 1}, float(seconds), Rates(usd_per_second=PRICES[gpu]))
        assert booked == pytest.approx(float(warm), abs=0.000051), gpu


def test_when_a_gpu_that_never_sleeps_pays() -> None:
    day = PRICES["RTX 4090"] * 86_400
    assert day == pytest.approx(27, abs=0.5)
    assert day / 0.025 == pytest.approx(1_070, abs=5)
