"""The rows of a batch file: read, checked as far as that needs no place, each with the key under which it is bought.

    {"prompt": "a red dragon"}                                       txt2img
    {"operation": "remove_background", "image": "hero.png"}          parameters by name, input files by role
    {"operation": "img2img", "parameters": {…}, "inputs": {…}}       or written as for the HTTP API

A CSV has the same names as columns. Files are named relative to the batch file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args
from uuid import UUID

from genyard.errors import Code, GenyardError
from genyard.frontends.cli.exits import wrong
from genyard.frontends.cli.inputs import in_steps, is_file, read_file, with_ids, words_of
from genyard.frontends.cli.options import parse_value
from genyard.operations import OPERATIONS
from genyard.storable import require_storable
from genyard.studio.request import Request

_JOB: Final = ("steps", "tags", "priority", "previews", "embed_prompt", "expires_in")
_STEP: Final = ("operation", "model", "parameters", "inputs")
_ROLES: Final = frozenset(role.name for one in OPERATIONS.values() for role in one.inputs)
_SOME_ASSET: Final = str(UUID(int=0))
_MOST_TOLD: Final = 20


@dataclass(frozen=True, kw_only=True)
class Row:
    """number  counted from 1, without the header
    line    where it begins in the file
    body    the request; its inputs are words as written
    files   word → where the file is
    key     the same for the same row of the same file, whatever else is in it
    """

    number: int
    line: int
    body: Mapping[str, Any]
    files: Mapping[str, Path]
    key: str


@dataclass(frozen=True, kw_only=True)
class Problem:
    line: int
    field: str | None
    message: str


def read_rows(path: Path) -> tuple[list[Row], list[Problem]]:
    """The good rows, and what is wrong with the others."""
    text = _text(path)
    rows: list[Row] = []
    problems: list[Problem] = []
    seen: Counter[str] = Counter()
    reading = _csv(text) if path.suffix.lower() == ".csv" else _jsonl(text)
    for number, (line, given) in enumerate(reading, start=1):
        try:
            body = _request(_document(given))
            files = _files(body, path.parent)
            _require_sound(body)
            content = _content(body, files)
        except GenyardError as error:
            problems.append(problem_of(line, error))
            continue
        seen[content] += 1
        # by the place among its equals, not in the file: a row that is put before the others buys none of them anew
        told = f"{path.resolve()}\n{seen[content]}\n{content}"
        key = f"batch-{hashlib.sha256(told.encode()).hexdigest()[:40]}"
        rows.append(Row(number=number, line=line, body=body, files=files, key=key))
    if not rows and not problems:
        raise wrong(f"{str(path)!r} has no rows", "--batch")
    return rows, problems


def problem_of(line: int, error: GenyardError) -> Problem:
    return Problem(line=line, field=error.field, message=error.message)


def refuse(problems: list[Problem], of: int) -> None:
    """All wrong rows at once, so that one correction is enough."""
    if not problems:
        return
    problems = sorted(problems, key=lambda one: one.line)
    told = [
        f"line {one.line}: "
        + (f"{one.field}: " if one.field and not one.message.startswith(_leaf(one.field)) else "")
        + one.message
        for one in problems[:_MOST_TOLD]
    ]
    if len(problems) > _MOST_TOLD:
        told.append(f"and {len(problems) - _MOST_TOLD} more")
    rows = [{"line": one.line, "field": one.field, "message": one.message} for one in problems]
    raise GenyardError(
        Code.request_invalid,
        "\n  ".join([f"{len(problems)} of {of} rows are wrong; nothing was submitted", *told]),
        field="--batch",
        context={"rows": rows},
    )


def _leaf(field: str) -> str:
    return field.removeprefix("parameters.")


def _text(path: Path) -> str:
    try:
        return read_file(str(path), "--batch").decode("utf-8-sig")
    except UnicodeDecodeError as broken:
        raise wrong(f"{str(path)!r} is not text in UTF-8", "--batch") from broken


def _jsonl(text: str) -> Iterator[tuple[int, Any]]:
    for line, words in enumerate(text.split("\n"), start=1):
        if words.strip():
            yield line, words


def _csv(text: str) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    line = 2
    try:
        for cells in reader:
            if any(cells.values()):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as broken:
        raise wrong(f"line {reader.line_num}: not CSV: {broken}", "--batch") from broken


def _document(given: Any) -> dict[str, Any]:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as broken:
            raise GenyardError(Code.request_invalid, f"not JSON: {broken}") from broken
        if not isinstance(given, dict):
            raise GenyardError(
                Code.request_invalid, 'not a JSON object, for example {"prompt": "a red dragon"}'
            )
        document = given
    else:
        if None in given:
            raise GenyardError(Code.request_invalid, "more cells than the header has columns")
        document = {name.strip(): cell.strip() for name, cell in given.items() if cell and cell.strip()}
        operation = document.get("operation", "txt2img")
        document = {name: _cell(operation, name, cell) for name, cell in document.items()}
    require_storable(document)
    return document


def _cell(operation: str, name: str, text: str) -> Any:
    """Text where text is meant, else a JSON value; tags are separated by spaces or commas."""
    if name == "tags":
        return text.replace(",", " ").split()
    if name in ("operation", "model") or name in _ROLES:
        return text
    fields = OPERATIONS[operation].parameters.model_fields if operation in OPERATIONS else {}
    kind = fields[name].annotation if name in fields else None
    meant_as_text = kind is str or any(one is str or get_args(one)[:1] == (str,) for one in get_args(kind))
    return text if meant_as_text else parse_value(text, name)


def _request(document: Mapping[str, Any]) -> dict[str, Any]:
    """Whatever is neither a field of a request nor an input is a parameter of its one operation."""
    flat = {name: value for name, value in document.items() if name not in (*_JOB, *_STEP)}
    if "steps" in document:
        return {**document, "steps": in_steps(dict(document))["steps"]}
    inputs, parameters = document.get("inputs") or {}, document.get("parameters") or {}
    for name, value in (("inputs", inputs), ("parameters", parameters)):
        if not isinstance(value, Mapping):
            raise GenyardError(Code.request_invalid, f"{name} is an object", field=name)
    step: dict[str, Any] = {
        "operation": document.get("operation") or "txt2img",
        "parameters": {**parameters, **{name: one for name, one in flat.items() if name not in _ROLES}},
        "inputs": {**inputs, **{name: one for name, one in flat.items() if name in _ROLES}},
    }
    if document.get("model") is not None:
        step["model"] = document["model"]
    return {**{name: document[name] for name in _JOB if name in document}, "steps": [step]}


def _files(body: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    return {word: folder / Path(word).expanduser() for _, word in words_of(body["steps"]) if is_file(word)}


def _require_sound(body: Mapping[str, Any]) -> None:
    """The request's form and its parameters, whatever its inputs turn out to be."""
    known = {word: _SOME_ASSET for _, word in words_of(body["steps"]) if not word.startswith("step:")}
    Request.parse({**body, "steps": with_ids(body["steps"], known)})


def _content(body: Mapping[str, Any], files: Mapping[str, Path]) -> str:
    """Of the row itself: a file stands for what is in it, wherever it is and however often it is uploaded."""
    fields = {word: f"inputs.{role}" for role, word in words_of(body["steps"])}
    digests = {
        word: hashlib.sha256(read_file(str(path), fields[word])).hexdigest() for word, path in files.items()
    }
    canonical = {**body, "steps": with_ids(body["steps"], digests)}
    return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()
