"""The contract suite on the built-in renderer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar
from uuid import UUID

from genyard.catalog import load_catalog
from genyard.imaging.decode import encode_png
from genyard.imaging.portrait import sample_portrait
from genyard.providers import BoundStep
from genyard.providers.preview import PreviewProvider
from genyard.testing.contract import Implementation, ProviderContract, Sample, Trouble, an_image

DRAW: dict[str, Any] = {
    "prompt": "a red dragon",
    "negative_prompt": "",
    "width": 64,
    "height": 64,
    "seed": 7,
    "count": 1,
}
ASKED: dict[Sample, tuple[str, dict[str, Any]]] = {
    Sample.quick: ("txt2img", DRAW),
    Sample.edited: ("pixelate", {"cells": 32, "colors": 8, "scale": 1}),
    Sample.slow: ("animate_photo", {"seconds": 10.0}),
}


class PreviewBench:
    def __init__(self) -> None:
        self.made: list[PreviewProvider] = []

    def provider(self) -> PreviewProvider:
        self.made.append(PreviewProvider(at_once=1))
        return self.made[-1]

    def steps(self, sample: Sample) -> tuple[BoundStep, ...]:
        operation, parameters = ASKED[sample]
        binding = load_catalog().find("preview", operation, None)
        assert binding is not None
        inputs: dict[str, tuple[Any, ...]] = {} if sample is Sample.quick else {"image": (an_image(),)}
        return (
            BoundStep(
                name="draw", operation=operation, binding=binding, parameters=parameters, inputs=inputs
            ),
        )

    def picture(self) -> bytes:
        return encode_png(sample_portrait(256, 1))

    async def provoke(self, trouble: Trouble) -> None:
        raise NotImplementedError(trouble)

    def runs(self, key: UUID) -> int | None:
        return None


@asynccontextmanager
async def renderer() -> AsyncIterator[PreviewBench]:
    bench = PreviewBench()
    try:
        yield bench
    finally:
        for provider in bench.made:
            await provider.close()


OWN_PROCESS = "its runs live in one process; another one draws them again, which costs nothing"


class TestPreview(ProviderContract):
    implementation: ClassVar = Implementation(
        kind="preview",
        open=renderer,
        samples=frozenset(ASKED),
        deviations={
            "test_find_knows_what_was_submitted": OWN_PROCESS,
            "test_another_process_goes_on_observing": OWN_PROCESS,
        },
    )
