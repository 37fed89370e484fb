"""What a database can hold of what people send: text without NUL and halves of surrogate pairs, finite numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from genyard.errors import Code, GenyardError

_MAX_DEPTH: Final = 50


def require_storable(value: Any, *path: str) -> None:
    """`request.invalid` naming the part of a value that is not JSON, or cannot be stored; `path` leads to `value`."""
    if isinstance(value, str):
        _require_text(value, path)
    elif isinstance(value, (int, float)):
        if not _is_finite(value):
            raise _wrong("numbers must be finite", path)
    elif isinstance(value, (Mapping, list, tuple)):
        if len(path) > _MAX_DEPTH:
            raise _wrong(f"the request is nested more than {_MAX_DEPTH} levels deep", path[:1])
        for name, one in value.items() if isinstance(value, Mapping) else enumerate(value):
            if isinstance(value, Mapping) and not isinstance(name, str):
                raise _wrong(f"{name!r} is not a name: names are text", path)
            _require_text(str(name), path)
            require_storable(one, *path, str(name))
    elif value is not None and not isinstance(value, UUID):
        raise _wrong(
            f"a value of type {type(value).__name__} cannot be part of a request, which is JSON", path
        )


def require_text(text: str) -> str:
    """`ValueError` for text that cannot be stored."""
    if "\x00" in text or any("\ud800" <= one <= "\udfff" for one in text):
        raise ValueError("text must not contain NUL or unpaired surrogates")
    return text


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer of more than 300 digits
        return False


def _require_text(text: str, path: tuple[str, ...]) -> None:
    try:
        require_text(text)
    except ValueError as wrong:
        raise _wrong(str(wrong), path) from wrong


def _wrong(message: str, path: tuple[str, ...]) -> GenyardError:
    return GenyardError(Code.request_invalid, message, field=".".join(path) or None)
