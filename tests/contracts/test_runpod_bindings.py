"""RunPod's bindings: each runs against the emulator, and what one cannot honour is refused by name."""

from __future__ import annotations

import io
from dataclasses import replace
from uuid import uuid4

import pytest
from PIL import Image

from genyard.catalog import Binding, load_catalog
from genyard.catalog.pricing import Rates
from genyard.errors import Code, GenyardError
from genyard.outbound import Outbound
from genyard.providers import BoundStep, State
from genyard.providers._http import Timeouts
from genyard.providers._polling import Limits
from genyard.providers.runpod import RunPodProvider
from genyard.testing.contract import media_of, read
from genyard.testing.runpod import Setup
from support.runpod import a_picture, bound, emulated, ended, input_image

CATALOG = load_catalog()
BINDINGS = [*CATALOG.of("runpod"), *CATALOG.of("runpod-public")]
FLUX_SPLIT = ["flux1-dev.safetensors", "clip_l.safetensors", "t5xxl_fp8_e4m3fn.safetensors", "ae.safetensors"]


def an_offline_provider(**options: object) -> RunPodProvider:
    given = {
        "endpoint_id": "mine",
        "key": "rpa_x",
        "protocol": "model",
        "timeouts": Timeouts(),
        "limits": Limits(),
        "outbound": Outbound(),
        "rates": Rates(),
    }
    return RunPodProvider(**{**given, **options})  # type: ignore[arg-type]


def a_step(binding: Binding) -> BoundStep:
    """As the studio makes it: the binding's defaults, what the operation always has, an input where it takes one."""
    image = input_image(1024, 1024) if "image" in binding.fields.inputs else None
    step = bound(binding.operation, binding.model, kind=binding.kind, image=image)
    if binding.operation == "remove_background":
        return step
    parameters = {
        "prompt": "a red fox",
        "negative_prompt": "",
        "seed": 7,
        "count": 1,
        "loras": (),
        "controlnets": (),
    }
    if binding.operation == "img2img":
        parameters["strength"] = 0.95
    return replace(step, parameters={**parameters, **binding.defaults})


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda one: one.key)
async def test_each_binding_makes_what_it_says(binding: Binding) -> None:
    endpoint = binding.wire.get("endpoint_id", "mine")
    kind = "public" if binding.kind == "runpod-public" else "background"
    if binding.operation != "remove_background" and kind != "public":
        kind = "sdxl" if binding.model == "sdxl" else "flux"
    shape = "image" if kind == "background" else "images"
    setup = Setup(kind=kind, shape=shape, delivery="url" if kind == "public" else "data_uri")  # type: ignore[arg-type]
    async with emulated(endpoint, setup) as bench:
        provider = bench.provider()
        step = a_step(binding)
        step.require()
        plan = provider.compile([step], None)
        media = {one.name: media_of(one.name, a_picture()) for one in plan.inputs}
        address = f"{bench.server.url}{bench.server.bucket.put('in/photo.png', a_picture(), None)}"

        async def link() -> str:
            return address

        media = {name: replace(one, link=link) for name, one in media.items()}
        end = await ended(provider, await provider.submit(plan, uuid4(), media))
        assert end.state is State.succeeded, end.error
        assert end.cost is not None
        made = Image.open(io.BytesIO(await read(provider, end.outputs[0])))
        if binding.operation == "remove_background":
            assert made.mode == "RGBA"
        elif "width" in step.parameters:
            assert made.size == (step.parameters["width"], step.parameters["height"])


@pytest.mark.parametrize("kind", ["runpod", "runpod-public"])
def test_one_binding_of_each_operation_is_the_default(kind: str) -> None:
    operations = {one.operation for one in CATALOG.of(kind)}
    for operation in operations:
        assert sum(one.default for one in CATALOG.of(kind, operation)) == 1, operation


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda one: one.key)
def test_every_parameter_is_mapped_or_refused_with_a_reason(binding: Binding) -> None:
    """Never dropped, and never refused without words for a user."""
    if binding.operation == "remove_background":
        return
    known = {
        "prompt",
        "negative_prompt",
        "steps",
        "guidance",
        "sampler",
        "scheduler",
        "seed",
        "loras",
        "controlnets",
    }
    told = set(binding.fields.parameters) | set(binding.refuses)
    assert known <= told, known - told
    assert all(len(reason) > 20 for reason in binding.refuses.values())
    assert binding.price is not None
    assert binding.price.note


def _refused(step: BoundStep, **options: object) -> GenyardError:
    with pytest.raises(GenyardError) as refused:
        step.require()
        an_offline_provider(**options).compile([step], None)
    return refused.value


def test_sizes_that_are_not_on_the_list_are_refused_with_those_that_are() -> None:
    error = _refused(bound(model="z-image-turbo", kind="runpod-public", steps=None, width=640, height=640))
    assert error.code is Code.request_unsupported
    assert error.field == "parameters.width"
    assert "1024x1024" in error.message


def test_strength_of_a_model_without_one_is_refused() -> None:
    step = bound(
        "img2img", "flux.1-kontext-dev", kind="runpod-public", steps=None, strength=0.3, image=input_image()
    )
    error = _refused(step)
    assert error.field == "parameters.strength"
    assert "instruction" in error.message


def test_a_model_that_follows_its_input_honours_that_size_and_no_other() -> None:
    image = input_image(64, 64)
    an_offline_provider().compile([bound("img2img", "sdxl", image=image)], None)
    error = _refused(bound("img2img", "sdxl", image=image, width=128))
    assert error.field == "parameters.width"
    assert "as large as the input" in error.message


async def test_an_input_by_address_needs_storage_that_can_be_reached() -> None:
    provider = an_offline_provider()
    plan = provider.compile([bound("img2img", "sdxl", image=input_image(64, 64))], None)
    media = {one.name: media_of(one.name, a_picture()) for one in plan.inputs}
    with pytest.raises(GenyardError) as refused:
        await provider.submit(plan, uuid4(), media)
    assert refused.value.code is Code.request_unsupported
    assert "R2_BUCKET" in refused.value.message


async def test_a_large_input_goes_by_its_address_a_small_one_in_the_request() -> None:
    async with emulated() as bench:
        provider = bench.provider()
        plan = provider.compile([bound("img2img", image=input_image())], None)
        address = f"{bench.server.url}{bench.server.bucket.put('in/photo.png', a_picture(), None)}"

        async def link() -> str:
            return address

        for padding in (0, 9_000_000):
            media = {
                one.name: replace(media_of(one.name, a_picture() + b"\0" * padding), link=link)
                for one in plan.inputs
            }
            ref = await provider.submit(plan, uuid4(), media)
            assert (await ended(provider, ref)).state is State.succeeded
            given = bench.server.job(ref["id"]).input
            assert ("image_url" in given) == (padding > 0)
            assert ("image" in given) == (padding == 0)


class TestDeclaredFiles:
    """worker-comfyui cannot be asked what it has: the settings say it."""

    @staticmethod
    def files_of(**options: object) -> dict[str, str]:
        provider = an_offline_provider(protocol="comfyui", **options)
        plan = provider.compile([bound(kind="comfyui", width=1024, height=1024)], None)
        told = plan.facts["draw"]["files"]
        assert isinstance(told, dict)
        return {name.removeprefix("draw."): file for name, file in told.items()}

    def test_without_any_the_first_template_is_taken(self) -> None:
        assert self.files_of()["unet"] == "flux1-dev.safetensors"

    def test_only_templates_whose_files_are_all_there_are_taken(self) -> None:
        assert self.files_of(declared_files=["flux1-dev-fp8.safetensors"]) == {
            "checkpoint": "flux1-dev-fp8.safetensors"
        }

    def test_an_alternative_is_taken_where_only_that_is_there(self) -> None:
        assert self.files_of(declared_files=FLUX_SPLIT)["t5xxl"] == "t5xxl_fp8_e4m3fn.safetensors"

    def test_a_renamed_file_counts_under_its_name_there(self) -> None:
        files = self.files_of(
            declared_files=["flux-dev.sft", *FLUX_SPLIT[1:]],
            renamed={"flux1-dev.safetensors": "flux-dev.sft"},
        )
        assert files["unet"] == "flux-dev.sft"

    def test_what_is_missing_is_told_by_file(self) -> None:
        with pytest.raises(GenyardError) as missing:
            self.files_of(declared_files=["sd_xl_base_1.0.safetensors"])
        assert missing.value.code is Code.provider_missing
        assert "flux1-dev.safetensors" in missing.value.message
        assert "model_files" in missing.value.message

    async def test_check_says_which_bindings_cannot_run(self) -> None:
        async with emulated("emu-comfyui") as bench:
            health = await bench.provider(declared_files=["sd_xl_base_1.0.safetensors"]).check()
            assert "comfyui/txt2img.sdxl" not in health.problems
            assert any("flux1-dev" in one for one in health.problems["comfyui/txt2img.flux.1-dev"])

    def test_a_lora_that_is_not_declared_is_missing(self) -> None:
        step = bound(
            kind="comfyui",
            model="sdxl",
            width=1024,
            height=1024,
            loras=({"name": "pixel.safetensors", "strength": 1.0},),
        )
        provider = an_offline_provider(protocol="comfyui", declared_files=["sd_xl_base_1.0.safetensors"])
        with pytest.raises(GenyardError, match=r"pixel\.safetensors"):
            provider.compile([step], None)
