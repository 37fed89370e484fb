"""Every binding of the catalogue for ComfyUI, compiled against the emulator's catalogue and run on it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from genyard.catalog import Binding, load_catalog
from genyard.errors import Code, GenyardError
from genyard.operations import OPERATIONS, Role
from genyard.providers import BoundStep, Facts, MediaInput, Provider, Snapshot, Source, State, StepOutput
from genyard.testing.comfyui.bench import ComfyUIBench, emulated
from genyard.testing.comfyui.nodes_video import write_video
from genyard.testing.contract import follow, media_of, read
from support.often import often

BINDINGS = {one.key: one for one in load_catalog().of("comfyui") if one.operation != "run_workflow"}

SMALL = {"width": 128, "height": 64, "steps": 2}


def portrait() -> bytes:
    """A dark disc on a light ground: something to cut out, to separate, and to move."""
    rows, columns = np.mgrid[0:64, 0:64]
    inside = (rows - 32) ** 2 + (columns - 32) ** 2 < 400
    picture = np.where(inside[..., None], (40, 30, 90), (230, 220, 200)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def clip(folder: Path) -> bytes:
    path = folder / "driving.mp4"
    write_video(path, np.random.default_rng(1).integers(0, 255, (6, 64, 64, 3)).astype(np.uint8), 8)
    return path.read_bytes()


def bound(binding: Binding, *, name: str = "step", keep: bool = True, **more: Any) -> BoundStep:
    """As the planner hands it over: defaults filled in, seed drawn, size set."""
    inputs: dict[str, tuple[Source, ...]] = more.pop("inputs", {})
    operation = OPERATIONS[binding.operation]
    needed = {"prompt": "a red dragon"} if "prompt" in operation.parameters.model_fields else {}
    given = operation.parameters(**needed).model_dump(mode="json")
    for parameter, value in {**binding.defaults, **SMALL, "seed": 7}.items():
        if parameter in given:
            given[parameter] = value
    given = {key: value for key, value in given.items() if key not in binding.refuses}
    roles = {role.name for role in operation.inputs if role.required}
    for role in roles - set(inputs):
        inputs[role] = (MediaInput(name=f"{name}.{role}", media_type="image/png"),)
    return BoundStep(
        name=name, operation=binding.operation, binding=binding, parameters={**given, **more}, inputs=inputs,
        keep=keep,
    )  # fmt: skip


class Place:
    def __init__(self, bench: ComfyUIBench, provider: Provider, facts: Facts, film: bytes) -> None:
        self.bench, self.provider, self.facts, self.film = bench, provider, facts, film

    async def run(self, *steps: BoundStep) -> Snapshot:
        plan = self.provider.compile(steps, self.facts)
        media = {
            one.name: media_of(one.name, self.film if one.name.endswith("video") else portrait())
            for one in plan.inputs
        }
        ref = await self.provider.submit(plan, uuid4(), media)
        return [one async for one in follow(self.provider, ref, 60)][-1]

    async def pictures(self, end: Snapshot) -> list[Image.Image]:
        assert end.state is State.succeeded, end.error
        files = [await read(self.provider, one) for one in end.outputs]
        return [Image.open(io.BytesIO(one)) for one in files]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with emulated() as bench:
        provider = bench.provider()
        health = await provider.check()
        assert health.problems == {}
        yield Place(bench, provider, health.facts, clip(tmp_path))


@pytest.mark.parametrize("key", often(sorted(BINDINGS), [key for key in BINDINGS if "animate" not in key]))
async def test_each_binding_runs(place: Place, key: str) -> None:
    binding = BINDINGS[key]
    end = await place.run(bound(binding))
    assert end.state is State.succeeded, end.error
    assert end.outputs
    assert {one.role for one in end.outputs} == {OPERATIONS[binding.operation].output}
    assert all([await read(place.provider, one) for one in end.outputs])
    if binding.operation in ("txt2img", "img2img"):
        (picture,) = await place.pictures(end)
        assert picture.size == (128, 64)


@pytest.mark.parametrize("key", sorted(BINDINGS))
async def test_a_plan_without_facts_is_made_too(key: str, place: Place) -> None:
    assert place.provider.compile([bound(BINDINGS[key])], None).outputs


async def test_a_cutout_is_transparent(place: Place) -> None:
    for key in BINDINGS:
        if BINDINGS[key].operation == "remove_background":
            (picture,) = await place.pictures(await place.run(bound(BINDINGS[key])))
            assert picture.mode == "RGBA", key
            assert picture.getpixel((0, 0))[3] == 0, key  # type: ignore[index]
            assert picture.getpixel((32, 32))[3] == 255, key  # type: ignore[index]


async def test_as_many_layers_as_asked_for(place: Place) -> None:
    end = await place.run(bound(BINDINGS["comfyui/decompose_layers.qwen-image-layered"], layers=3))
    pictures = await place.pictures(end)
    assert [one.index for one in end.outputs] == [0, 1, 2]
    assert {one.role for one in end.outputs} == {Role.layer}
    assert {one.mode for one in pictures} == {"RGBA"}


@pytest.mark.long
async def test_a_driving_clip(place: Place) -> None:
    inputs = {"video": (MediaInput(name="video", media_type="video/mp4"),)}
    end = await place.run(bound(BINDINGS["comfyui/animate_photo.liveportrait"], inputs=inputs))
    assert end.state is State.succeeded, end.error
    assert end.outputs[0].media_type == "video/mp4"


async def test_seed_prompt_and_loras_change_the_picture(place: Place) -> None:
    binding = BINDINGS["comfyui/txt2img.sdxl"]
    lora = [{"name": "pixel.safetensors", "strength": 0.8}]
    told = [{}, {}, {"seed": 8}, {"prompt": "a blue fox"}, {"loras": lora}]
    pictures = [(await place.pictures(await place.run(bound(binding, **one))))[0] for one in told]
    shown = [one.tobytes() for one in pictures]
    assert shown[0] == shown[1]
    assert len(set(shown)) == 4


async def test_the_given_picture_shows_through(place: Place) -> None:
    end = await place.run(bound(BINDINGS["comfyui/img2img.sdxl"], strength=0.5, width=64, height=64))
    (picture,) = await place.pictures(end)
    given = np.asarray(Image.open(io.BytesIO(portrait())).convert("L"), float).ravel()
    likeness = np.corrcoef(given, np.asarray(picture.convert("L"), float).ravel())[0, 1]
    assert likeness > 0.4


@pytest.mark.parametrize("kind", ["canny", "depth"])
async def test_a_controlnet(place: Place, kind: str) -> None:
    inputs = {"control": (MediaInput(name="guide", media_type="image/png"),)}
    controls = [{"kind": kind, "strength": 0.7}]
    end = await place.run(bound(BINDINGS["comfyui/txt2img.flux.1-dev"], inputs=inputs, controlnets=controls))
    assert end.state is State.succeeded, end.error


async def test_drawn_then_cut_out_in_one_submission(place: Place) -> None:
    draw = bound(BINDINGS["comfyui/img2img.sdxl"], name="draw", keep=False)
    wired = {"image": (StepOutput(step="draw"),)}
    cut = bound(BINDINGS["comfyui/remove_background.birefnet"], name="cut", inputs=wired)
    end = await place.run(draw, cut)
    assert [(one.step, one.role) for one in end.outputs] == [("cut", Role.image)]
    assert place.bench.server is not None
    assert place.bench.server.counts.total_runs == 1


OWN = next(load_catalog().of("comfyui", "run_workflow"))


def own(workflow: dict[str, Any], *, name: str = "step1") -> BoundStep:
    return BoundStep(
        name=name, operation="run_workflow", binding=OWN, parameters={"workflow": workflow}, inputs={}
    )


def refused(place: Place, *steps: BoundStep) -> GenyardError:
    with pytest.raises(GenyardError) as caught:
        place.provider.compile(steps, place.facts)
    return caught.value


async def test_a_missing_lora_is_named_by_its_parameter(place: Place) -> None:
    loras = [{"name": "pixel.safetensors", "strength": 1.0}, {"name": "nobody.safetensors", "strength": 1.0}]
    error = refused(place, bound(BINDINGS["comfyui/txt2img.sdxl"], loras=loras))
    assert (error.code, error.field) == (Code.provider_missing, "parameters.loras.1.name")


async def test_all_that_is_wrong_with_a_callers_workflow_is_told_at_once(place: Place) -> None:
    workflow = {
        "3": {"class_type": "NobodyHasThis", "inputs": {"images": ["9", 0]}},
        "9": {"class_type": "ImageScale", "inputs": {"image": ["8", 0]}},
    }
    error = refused(place, own(workflow))
    assert (error.code, error.field) == (Code.workflow_invalid, "parameters.workflow")
    for word in ("node 3:", "NobodyHasThis", "node 9 (ImageScale)", "linked to node 8", "saves a file"):
        assert word in error.message
    assert "step1" not in error.message
    assert {one.get("node") for one in error.context["problems"]} == {"3", "9", None}


async def test_without_a_catalogue_it_is_still_known_that_nothing_is_saved(place: Place) -> None:
    with pytest.raises(GenyardError, match="saves a file") as caught:
        place.provider.compile([own({"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}})], None)
    assert caught.value.code is Code.workflow_invalid


async def test_with_several_steps_each_problem_says_its_step(place: Place) -> None:
    draw = bound(BINDINGS["comfyui/txt2img.sdxl"], name="draw", loras=[{"name": "nobody", "strength": 1.0}])
    error = refused(place, draw, own({"3": {"class_type": "NobodyHasThis", "inputs": {}}}, name="mine"))
    assert "step draw: node lora0" in error.message
    assert "step mine: node 3:" in error.message
    assert error.field == "parameters.loras.0.name"
