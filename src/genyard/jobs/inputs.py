"""The bytes behind a plan's inputs, for the place that is to have them."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from genyard.errors import Code, GenyardError
from genyard.jobs.assets import Assets
from genyard.jobs.model import Asset
from genyard.jobs.records import Claim
from genyard.jobs.store import Jobs
from genyard.providers import Media, MediaInput, PlanInput, StepOutput
from genyard.storage import Blob, Storage

#: How long a place may take to fetch an input by itself: it may wait in its queue for long.
LINK_SECONDS: Final = 24 * 3600


class Inputs:
    def __init__(self, *, jobs: Jobs, assets: Assets, storage: Storage) -> None:
        self._jobs = jobs
        self._assets = assets
        self._storage = storage

    async def of(self, claim: Claim) -> dict[str, Media]:
        """By the plan's names: assets of the owner, outputs of earlier stages."""
        asset_ids = [UUID(one.source.name) for one in claim.plan.inputs if isinstance(one.source, MediaInput)]
        assets = await self._assets.get_many(asset_ids, claim.owner_id) if asset_ids else {}
        made: dict[str, Blob] = {}
        if any(isinstance(one.source, StepOutput) for one in claim.plan.inputs):
            for output in reversed(await self._jobs.stage_outputs(claim.job_id)):
                made[output.step] = output.blob
        media: dict[str, Media] = {}
        for one in claim.plan.inputs:
            source = one.source
            found: Asset | Blob | None = (
                made.get(source.step) if isinstance(source, StepOutput) else assets.get(UUID(source.name))
            )
            media[one.name] = self._as_media(one, found)
        return media

    def _as_media(self, wanted: PlanInput, blob: Blob | Asset | None) -> Media:
        if blob is None:
            raise GenyardError(
                Code.not_found, "an input was deleted before the job could use it", field="inputs"
            )
        name = blob.object
        return Media(
            name=wanted.name,
            media_type=blob.media_type,
            size=blob.bytes,
            sha256=blob.sha256,
            open=lambda: self._storage.stream(name),
            link=(lambda: self._link(name)) if self._storage.gives_links else None,
        )

    async def _link(self, name: str) -> str:
        link = await self._storage.link(name, LINK_SECONDS)
        assert link is not None
        return link
