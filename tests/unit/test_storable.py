"""What a request may hold: JSON that a database can keep, whoever sends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from genyard.errors import Code, GenyardError
from genyard.storable import require_storable


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"parameters": {"prompt": "a\0"}}, "parameters.prompt"),
        ({"tags": ("fine", "\ud800")}, "tags.1"),
        ({"parameters": {"guidance": float("nan")}}, "parameters.guidance"),
        ({"parameters": {"values": {"3.seed": 10**400}}}, "parameters.values.3.seed"),
        ({"parameters": {"a\0": 1}}, "parameters"),
        ({"parameters": {7: 1}}, "parameters"),
        ({"inputs": {"image": Path("a.png")}}, "inputs.image"),
        ({"inputs": {"image": b"bytes"}}, "inputs.image"),
        (nested(60), "a"),
    ],
)
def test_what_cannot_be_stored_is_named(value: Any, field: str) -> None:
    with pytest.raises(GenyardError) as caught:
        require_storable(value)
    assert (caught.value.code, caught.value.field) == (Code.request_invalid, field)


def test_ordinary_requests_pass() -> None:
    require_storable(
        {"parameters": {"prompt": "a 🐉", "seed": 2**64 - 1, "loras": [{"name": "x"}]}, "model": None}
    )
    require_storable({"inputs": {"image": uuid4(), "control": (uuid4(),)}, "keep": True, "at": 1.5})
    require_storable(nested(50))
