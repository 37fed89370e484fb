"""Inputs that name media in a place's own library (`scenario:asset_…`): fetched once, from then on our own assets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
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
        names: dict[str, str] = {}

        def one(given: Any) -> Any:
            if self._library(given) is None:
                return given
            made_up = str(uuid5(NAMESPACE_URL, given))
            names[made_up] = given
            return made_up

        def inputs(step: Any) -> Any:
            if not isinstance(step, Mapping) or not isinstance(step.get("inputs"), Mapping):
                return step
            found = {
                role: [one(each) for each in given] if isinstance(given, list | tuple) else one(given)
                for role, given in step["inputs"].items()
            }
            return {**step, "inputs": found}

        changed = dict(inputs(body))
        if isinstance(body.get("steps"), list):
            changed["steps"] = [inputs(step) for step in body["steps"]]
        return changed, names

    def _library(self, given: Any) -> tuple[str, str] | None:
        kind, colon, name = given.partition(":") if isinstance(given, str) else ("", "", "")
        return (kind, name) if colon and kind in self._places.libraries else None

    async def resolve(self, body: Mapping[str, Any], owner_id: UUID) -> Mapping[str, Any]:
        """The request with our own asset ids in place of the libraries' names. Anything else stays as it is: whether
        it is right is judged where requests are parsed."""
        changed = dict(body)
        if isinstance(body.get("inputs"), Mapping):
            changed["inputs"] = await self._inputs(body["inputs"], "inputs", owner_id)
        if isinstance(body.get("steps"), list):
            changed["steps"] = [
                {**step, "inputs": await self._inputs(step["inputs"], f"steps.{number}.inputs", owner_id)}
                if isinstance(step, Mapping) and isinstance(step.get("inputs"), Mapping)
                else step
                for number, step in enumerate(body["steps"])
            ]
        return changed

    async def _inputs(self, inputs: Mapping[str, Any], field: str, owner_id: UUID) -> dict[str, Any]:
        return {
            role: [await self._one(one, f"{field}.{role}", owner_id) for one in given]
            if isinstance(given, list | tuple)
            else await self._one(given, f"{field}.{role}", owner_id)
            for role, given in inputs.items()
        }

    async def _one(self, given: Any, field: str, owner_id: UUID) -> Any:
        library = self._library(given)
        if library is None:
            return given
        kind, name = library
        known = await self._assets.find_import(owner_id, given)
        if known is not None:
            return str(known)
        place = self._places.libraries[kind]
        if place is None:
            raise GenyardError(
                Code.request_unsupported,
                f"{given}: no {kind} endpoint is configured to fetch it from",
                field=field,
            )
        asset = await self._keep(await self._fetch(place, name, field), name, owner_id)
        await self._assets.insert_import(owner_id, given, asset.id)
        return str(asset.id)

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
