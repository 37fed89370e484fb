"""Parametrisation of which a part alone is in `make test`; the rest is in `make test-long`."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest


def often(values: Iterable[str], those: Collection[str]) -> list[object]:
    return [value if value in those else pytest.param(value, marks=pytest.mark.long) for value in values]
