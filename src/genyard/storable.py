"""What a database can hold of what people send: text without NUL and halves of surrogate pairs, finite numbers."""

from __future__ import annotations

import math
from typing import Any, Final

from genyard.errors import Code, GenyardError

_MAX_DEPTH: Final = 50


def require_storable(value: Any, *path: str) -> None:
    """`request.invalid` naming the part of a JSON value that cannot be stored; `path` leads to `value`."""
    if isinstance(value, str):
        _require_text(value, path)
    elif isinstance(value, float) and not math.isfinite(value):
        raise _wrong("numbers must be finite", path)
    elif isinstance(value, (dict, list)):
        if len(path) > _MAX_DEPTH:
            raise _wrong(f"the request is nested more than {_MAX_DEPTH} levels deep", path[:1])
        for name, one in value.items() if isinstance(value, dict) else enumerate(value):
            _require_text(str(name), path)
            require_storable(one, *path, str(name))


def require_text(text: str) -> str:
    """`ValueError` for text that cannot be stored."""
    if "\x00" in text or any("\ud800" <= one <= "\udfff" for one in text):
        raise ValueError("text must not contain NUL or unpaired surrogates")
    return text


def _require_text(text: str, path: tuple[str, ...]) -> None:
    try:
        require_text(text)
    except ValueError as wrong:
        raise _wrong(str(wrong), path) from wrong


def _wrong(message: str, path: tuple[str, ...]) -> GenyardError:
    return GenyardError(Code.request_invalid, message, field=".".join(path) or None)
