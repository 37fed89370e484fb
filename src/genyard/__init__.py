"""genyard: one product in front of image and video generation.

    from genyard import open_studio

Names load lazily, so that `genyard --help` and the worker image stay light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genyard.app import Studio as Studio
    from genyard.errors import GenyardError as GenyardError

__all__ = ["GenyardError", "Studio"]


def __getattr__(name: str) -> Any:
    if name == "Studio":
        from genyard.app import Studio

        return Studio
    if name == "GenyardError":
        from genyard.errors import GenyardError

        return GenyardError
    raise AttributeError(f"module 'genyard' has no attribute {name!r}")
