"""A file of balances from another system: CSV with a header, or JSON lines. Text in, rows out; nothing is booked here.

owner,credits,key,reason      `key` and `reason` may be left out; the key of a row is its owner then
{"owner": "alice", "credits": 120}
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from genyard.errors import Code, GenyardError
from genyard.ledger import Opening
from genyard.settings.money import MOST_CREDITS
from genyard.storable import require_storable

_FIELDS: Final = ("owner", "credits", "key", "reason")
_LONGEST: Final = 200


def parse_openings(text: str) -> list[Opening]:
    """`request.invalid` names the line. Two rows of one key are refused: which one is meant?"""
    text = text.removeprefix("\ufeff")
    rows = list(_json_rows(text) if text.lstrip().startswith("{") else _csv_rows(text))
    seen: dict[str, int] = {}
    openings = []
    for line, row in rows:
        one = _opening(line, row)
        if one.key in seen:
            raise _wrong(line, f"the key {one.key!r} is in line {seen[one.key]} already")
        seen[one.key] = line
        openings.append(one)
    return openings


def _json_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    # splitlines would break at U+2028, which JSON may hold
    for line, row in enumerate(text.split("\n"), start=1):
        if not row.strip():
            continue
        try:
            told = json.loads(row, object_pairs_hook=_said_once)
        except (ValueError, RecursionError) as wrong:
            raise _wrong(line, f"this is not JSON: {wrong}") from None
        if not isinstance(told, dict):
            raise _wrong(line, 'a row is an object such as {"owner": "alice", "credits": 120}')
        yield line, told


def _said_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) < len(pairs):
        raise ValueError("it says one field twice: which one is meant?")
    return told


def _csv_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text), strict=True, restkey="…")
    try:
        columns = list(reader.fieldnames or ())
        if not {"owner", "credits"} <= set(columns):
            raise _wrong(1, "the first line names the columns: owner,credits and, if you like, key,reason")
        if len(columns) > len(set(columns)):
            raise _wrong(1, "a column is there twice: which one is meant?")
        for row in reader:
            credits = (row["credits"] or "").strip()
            sound = credits.isascii() and credits.isdecimal() and len(credits) <= _LONGEST
            yield reader.line_num, {**row, "credits": int(credits) if sound else credits}
    except csv.Error as wrong:
        raise _wrong(reader.line_num + 1, f"this is not CSV: {wrong}") from None


def _opening(line: int, row: Mapping[str, Any]) -> Opening:
    unknown = [name for name in row if name not in _FIELDS]
    if unknown:
        raise _wrong(line, f"there is no column {unknown[0]!r}; there are {', '.join(_FIELDS)}")
    owner, credits = row.get("owner"), row.get("credits")
    if not isinstance(owner, str) or not owner.strip() or len(owner) > _LONGEST:
        raise _wrong(line, f"owner is a name of 1 to {_LONGEST} characters")
    if owner != owner.strip():
        raise _wrong(
            line, f"owner {owner!r} has spaces around it: that would be somebody else than {owner.strip()!r}"
        )
    if isinstance(credits, bool) or not isinstance(credits, int) or not 0 <= credits <= MOST_CREDITS:
        raise _wrong(line, f"credits is a whole number from 0 to {MOST_CREDITS}, not {_shown(credits)}")
    key, reason = row.get("key") or owner, row.get("reason") or ""
    if not isinstance(key, str) or not isinstance(reason, str) or max(len(key), len(reason)) > _LONGEST:
        raise _wrong(line, f"key and reason are text of at most {_LONGEST} characters")
    for name, value in (("owner", owner), ("key", key), ("reason", reason)):
        try:
            require_storable(value, name)
        except GenyardError as bad:
            raise _wrong(line, bad.message) from None
    return Opening(owner=owner, credits=credits, key=key, reason=reason)


def _shown(value: Any) -> str:
    try:
        return repr(value)[:60]
    except ValueError:  # an integer of thousands of digits
        return "this"


def _wrong(line: int, message: str) -> GenyardError:
    return GenyardError(Code.request_invalid, f"line {line}: {message}", field="FILE", context={"line": line})
