"""Recordings that the tests of this room hold their graphs against.

data/object_info.json  node classes as ComfyUI 0.33.0 and five packs listed them
data/recorded.json     graphs that ran, graphs that were refused and why, the naive Flux workflow
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genyard.comfy import Catalogue

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def object_info() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / "object_info.json").read_text())
    return loaded


@pytest.fixture(scope="session")
def catalogue(object_info: dict[str, Any]) -> Catalogue:
    return Catalogue(object_info)


@pytest.fixture(scope="session")
def recorded() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / "recorded.json").read_text())
    return loaded
