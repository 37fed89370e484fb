"""Inputs that name media in a place's own library (`scenario:asset_…`): fetched once, from then on our own assets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from genyard.errors import Code, GenyardError
from genyard.jobs.assets import Assets
from genyard.jobs.model import Asset
from genyard.media import MediaLimits
from genyard.operations import Role
from genyard.providers import RemoteOutput
from genyard.studio.places import Place, Places

Keep = Callable[[bytes, str, UUID], Awaitable[Asset]]


class Imports:
    """`keep` stores bytes under a name as an owner's asset."""

    def __init__(self, *, places: Places, assets: Assets, limits: MediaLimits, keep: Keep) -> None:
        self._places = places
        self._assets = assets
        self._limits = limits
        self._keep = keep

    def named(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """The request with made-up asset ids in place of the libraries' names, and which stands for what: nothing is
        fetched or stored."""
        names = {given: str(uuid5(NAMESPACE_URL, given)) for _, given in self._found(body)}
        return _replaced(body, names), {made_up: given for given, made_up in names.items()}

    async def resolve(self, body: Mapping[str, Any], owner_id: UUID) -> Mapping[str, Any]:
        """The request with our own asset ids in place of the libraries' names. Anything else stays as it is: whether
        it is right is judged where requests are parsed."""
        names: dict[str, str] = {}
        for field, given in self._found(body):
            if given not in names:
                names[given] = str(await self._import(given, field, owner_id))
        return _replaced(body, names)

    def _found(self, body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Names of libraries' media, and the fields that they are in."""
        for path, inputs in _inputs(body):
            for role, given in inputs.items():
                for one in given if isinstance(given, list | tuple) else (given,):
                    if self._is_of_a_library(one):
                        yield f"{path}.{role}", one

    def _is_of_a_library(self, given: Any) -> bool:
        kind, colon, _ = given.partition(":") if isinstance(given, str) else ("", "", "")
        return bool(colon) and kind in self._places.libraries

    async def _import(self, given: str, field: str, owner_id: UUID) -> UUID:
        kind, _, name = given.partition(":")
        known = await self._assets.find_import(owner_id, given)
        if known is not None:
            return known
        place = self._places.libraries[kind]
        if place is None:
            raise GenyardError(
                Code.request_unsupported,
                f"{given}: no {kind} endpoint is configured to fetch it from",
                field=field,
            )
        asset = await self._keep(await self._fetch(place, name, field), name, owner_id)
        await self._assets.insert_import(owner_id, given, asset.id)
        return asset.id

    async def _fetch(self, place: Place, name: str, field: str) -> bytes:
        wanted = RemoteOutput(step="", role=Role.image, index=0, where={"asset_id": name})
        data = bytearray()
        try:
            async for piece in place.provider.fetch(wanted):
                data += piece
                if len(data) > self._limits.max_bytes:
                    raise GenyardError(
                        Code.media_invalid,
                        f"{name} is larger than {self._limits.max_bytes} bytes",
                        field=field,
                    )
        except GenyardError as error:
            if error.code is Code.provider_lost_output:
                raise GenyardError(
                    Code.not_found, f"{place.name} has no asset {name}", field=field
                ) from error
            raise
        return bytes(data)


def _inputs(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Those of a request of one operation, or of each step."""
    if isinstance(body.get("inputs"), Mapping):
        yield "inputs", body["inputs"]
    for number, step in enumerate(body["steps"] if isinstance(body.get("steps"), list) else ()):
        if isinstance(step, Mapping) and isinstance(step.get("inputs"), Mapping):
            yield f"steps.{number}.inputs", step["inputs"]


def _replaced(body: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    def one(given: Any) -> Any:
        return names.get(given, given) if isinstance(given, str) else given

    def step(told: Any) -> Any:
        if not isinstance(told, Mapping) or not isinstance(told.get("inputs"), Mapping):
            return told
        inputs = {
            role: [one(each) for each in given] if isinstance(given, list | tuple) else one(given)
            for role, given in told["inputs"].items()
        }
        return {**told, "inputs": inputs}

    changed = dict(step(body))
    if isinstance(body.get("steps"), list):
        changed["steps"] = [step(each) for each in body["steps"]]
    return changed
