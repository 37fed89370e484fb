"""From words of the command line to stored inputs: files are read and uploaded, `asset:ID` is looked up,
`scenario:ID` stays as it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from genyard.errors import Code, GenyardError
from genyard.frontends.cli.composition import Product
from genyard.frontends.cli.exits import wrong
from genyard.frontends.cli.session import find_asset
from genyard.storable import require_storable

if TYPE_CHECKING:
    from genyard.jobs.model import Asset

_ASSET: Final = "asset:"
_STEP: Final = "step:"


async def upload_inputs(
    product: Product, steps: Sequence[Mapping[str, Any]]
) -> tuple[list[Any], list[Asset]]:
    """The steps with asset ids in place of files, and the assets that were made for it.

    All files are read before the first is stored.
    """
    fields = {word: f"inputs.{role}" for role, word in words_of(steps) if is_file(word)}
    files = {word: await asyncio.to_thread(read_file, word, field) for word, field in fields.items()}
    assets = {word: await upload(product, word, data, fields[word]) for word, data in files.items()}
    identities = {word: str(asset.id) for word, asset in assets.items()}
    for _, word in words_of(steps):
        if word.startswith(_ASSET):
            identities[word] = str((await find_asset(product, word.removeprefix(_ASSET))).id)
    return with_ids(steps, identities), list(assets.values())


@contextlib.asynccontextmanager
async def borrowed(product: Product, assets: Sequence[Asset]) -> AsyncIterator[None]:
    """Assets that nothing is to remain of."""
    try:
        yield
    finally:
        for asset in assets:
            await product.studio.delete_asset(asset.id)


def read_file(name: str, field: str) -> bytes:
    try:
        return Path(name).expanduser().read_bytes()
    except OSError as broken:
        raise wrong(f"cannot read {name!r}: {(broken.strerror or str(broken)).lower()}", field) from broken


def read_json(name: str, field: str) -> dict[str, Any]:
    try:
        document = json.loads(read_file(name, field))
    except (ValueError, RecursionError) as broken:
        raise wrong(f"{name!r} is not JSON: {broken}", field) from broken
    if not isinstance(document, dict):
        raise wrong(f"{name!r} holds no JSON object", field)
    require_storable(document)
    return document


def in_steps(document: dict[str, Any]) -> dict[str, Any]:
    """A request of one operation written as one step, which is what it means."""
    if "steps" in document:
        if not isinstance(document["steps"], list) or not all(
            isinstance(one, dict) for one in document["steps"]
        ):
            raise wrong("steps is a list of objects", "steps")
        return document
    step = {
        name: document.pop(name)
        for name in ("operation", "parameters", "inputs", "model")
        if name in document
    }
    return {**document, "steps": [step]}


def words_of(steps: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(role, word) of every input."""
    found: list[tuple[str, str]] = []
    for step in steps:
        inputs = step.get("inputs") or {}
        if isinstance(inputs, Mapping):
            found += [
                (role, word)
                for role, given in inputs.items()
                for word in _listed(given)
                if isinstance(word, str)
            ]
    return found


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, (list, tuple)) else [given]


def is_file(word: str) -> bool:
    """Whether it names a file here: no asset, no step, nothing in a place's own library."""
    from genyard.studio.places import LIBRARIES

    if word.startswith((_ASSET, _STEP, *(f"{kind}:" for kind in LIBRARIES))):
        return False
    with contextlib.suppress(ValueError):
        UUID(word)
        return False
    return True


async def upload(product: Product, word: str, data: bytes, field: str, tags: Sequence[str] = ()) -> Asset:
    try:
        return await product.studio.upload(data, name=Path(word).name, tags=tags)
    except GenyardError as error:
        if error.code is not Code.media_invalid:
            raise
        raise GenyardError(
            error.code, f"{word}: {error.message}", field=field, context=error.context
        ) from error


def with_ids(steps: Sequence[Mapping[str, Any]], identities: Mapping[str, str]) -> list[dict[str, Any]]:
    """The steps with other words for these inputs."""
    return [_with_ids(step, identities) for step in steps]


def _with_ids(step: Mapping[str, Any], identities: Mapping[str, str]) -> dict[str, Any]:
    inputs = step.get("inputs") or {}
    if not isinstance(inputs, Mapping):
        return dict(step)
    told = {
        role: [identities.get(word, word) if isinstance(word, str) else word for word in _listed(given)]
        for role, given in inputs.items()
    }
    return {**step, "inputs": told}
