"""The contract suite on the built-in renderer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar
from uuid import UUID, uuid4

import numpy as np

from genyard.catalog import load_catalog
from genyard.imaging.decode import encode_png
from genyard.imaging.portrait import sample_portrait
from genyard.media import MediaLimits
from genyard.pipelines import bind, draw_seeds, parse_steps
from genyard.providers import BoundStep, MediaInput, Plan
from genyard.providers.preview import _DRAWING, PreviewProvider
from genyard.testing.contract import Implementation, ProviderContract, Sample, Trouble, an_image

ASSET = uuid4()
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


def compiled(operation: str, inputs: dict[str, tuple[Any, ...]] | None = None, **given: Any) -> Plan:
    """As the planner does it: the parameters of a request, bound."""
    body = {
        "operation": operation,
        "parameters": given,
        "inputs": {role: str(ASSET) for role in inputs or ()},
    }
    [step] = draw_seeds(parse_steps([body]))
    binding = load_catalog().find("preview", operation, None)
    assert binding is not None
    media = {ASSET: MediaInput(name="a", media_type="image/png", width=64, height=64)}
    return PreviewProvider().compile([bind(step, binding, media)], None)


def test_what_is_taken_and_not_used_is_told() -> None:
    def told(operation: str, **given: Any) -> Mapping[str, Any]:
        inputs = {"image": ()} if operation != "txt2img" else None
        return compiled(operation, inputs, **given).facts["step1"]

    assert told("txt2img", prompt="a fox", steps=28, sampler="euler", scheduler="karras", guidance=0)[
        "ignored_parameters"
    ] == ["steps", "guidance", "sampler", "scheduler"]
    assert "ignored_parameters" not in told("txt2img", prompt="a fox", seed=3, count=2, width=64)
    assert told("img2img", prompt="a fox", steps=1)["ignored_parameters"] == ["steps"]
    layers = told("decompose_layers", prompt="a fox in a zorn", steps=5)
    assert layers["ignored_parameters"] == ["prompt", "steps"]
    assert "ignored_terms" not in layers


def test_words_of_the_negative_prompt_that_do_nothing_are_told() -> None:
    plan = compiled(
        "txt2img", prompt="a glorptic knight", negative_prompt="blurry hands, a crown, background"
    )
    assert plan.facts["step1"]["ignored_terms"] == ["glorptic", "blurry", "hands"]


def test_a_negative_prompt_takes_away_when_redrawing_too() -> None:
    figure = np.full((96, 96, 4), 0, np.uint8)
    figure[24:80, 30:66] = (20, 20, 20, 255)

    def drawn(**more: Any) -> bytes:
        given = {"prompt": "a wizard in a hat", "negative_prompt": "", "seed": 7, "count": 1, "strength": 1.0}
        inputs = {"image": [encode_png(figure)]}
        [one] = _DRAWING["img2img"]({**given, **more}, inputs, MediaLimits(), lambda _: None)
        return one.data

    assert drawn() == drawn(negative_prompt="sword")
    assert drawn() != drawn(negative_prompt="hat")


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
