"""A worker of its own process whose place kills it with every job that says so: `python -m support.deadly`."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from genyard.app import build
from genyard.jobs.runner import Pace
from genyard.providers import Media, Plan, Ref
from genyard.settings import load_settings
from support.scripted import ScriptedProvider


class Deadly(ScriptedProvider):
    async def submit(self, plan: Plan, key: UUID, media: Mapping[str, Media], **more: Any) -> Ref:
        if "poison" in str(plan.payload):
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().submit(plan, key, media, **more)


async def main() -> None:
    providers: dict[str, Any] = {"preview": lambda *_: Deadly(found=False)}
    async with build(
        load_settings(), pace=Pace(first_retry=0.01, factor=1.0), providers=providers
    ) as product:
        await product.worker.serve()


if __name__ == "__main__":
    asyncio.run(main())
