"""What a database can hold of what people and places send: text without NUL and halves of surrogate pairs, finite
numbers. People are refused (`require_storable`); a place's words are made fit (`as_storable`), because a run that was
paid for must not be lost over them.
"""

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


def as_storable(value: Any, depth: int = 0) -> Any:
    """JSON as near to `value` as a database can hold: never an error."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value if _is_finite(value) else None
    if isinstance(value, (Mapping, list, tuple)) and depth >= _MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        return {as_storable(str(name)): as_storable(one, depth + 1) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_storable(one, depth + 1) for one in value]
    return as_storable(str(value))


def number_within(value: Any, least: float, most: float) -> float | None:
    """None for what is no number, or none that anybody should believe."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        return None
    return value


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
