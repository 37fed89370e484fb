"""Every binding for Replicate: what becomes of our parameters, and what is refused by name. Nothing is sent."""

from __future__ import annotations

from typing import Any

import pytest

from genyard.catalog import Binding, load_catalog
from genyard.catalog.pricing import Rates
from genyard.errors import Code, GenyardError
from genyard.operations import ASPECT_SIZES, OPERATIONS, parse_parameters
from genyard.providers import BoundStep, MediaInput, Plan, Source, StepOutput
from genyard.providers.replicate.compile import call_of, compile_step

BINDINGS = {one.key.removeprefix("replicate/"): one for one in load_catalog().of("replicate")}

PICTURE = MediaInput(name="given", media_type="image/png", width=768, height=512)
CLIP = MediaInput(name="clip", media_type="video/mp4")


def bound(key: str, **given: Any) -> BoundStep:
    """As the planner hands it over: checked against the binding, defaults filled in."""
    binding = BINDINGS[key]
    operation = OPERATIONS[binding.operation]
    inputs: dict[str, tuple[Source, ...]] = given.pop(
        "inputs", {role.name: (PICTURE,) for role in operation.inputs if role.required}
    )
    if key.startswith("animate_photo") and "video" not in inputs and given.pop("driven", True):
        inputs["video"] = (CLIP,)
    fields = operation.parameters.model_fields
    if "prompt" in fields and fields["prompt"].is_required():
        given.setdefault("prompt", "a red dragon")
    parameters = parse_parameters(operation, given, field="parameters").model_dump(mode="json")
    if (ratio := parameters.pop("aspect_ratio", None)) is not None:
        parameters["width"], parameters["height"] = ASPECT_SIZES[ratio]
    for name, value in binding.defaults.items():
        if parameters[name] is None:
            parameters[name] = value
    if operation.seeded and parameters["seed"] is None:
        parameters["seed"] = 7
    step = BoundStep(
        name="step", operation=binding.operation, binding=binding, parameters=parameters, inputs=inputs
    )
    step.require()
    return step


def planned(key: str, **given: Any) -> Plan:
    return compile_step(bound(key, **given), Rates())


def said(key: str, **given: Any) -> dict[str, Any]:
    told: dict[str, Any] = planned(key, **given).payload["body"]["input"]
    return told


def refused(key: str, **given: Any) -> GenyardError:
    with pytest.raises(GenyardError) as error:
        planned(key, **given)
    assert error.value.code is Code.request_unsupported
    assert key in error.value.message
    return error.value


FLUX = {"go_fast": False, "output_format": "png", "prompt": "a red dragon", "seed": 7, "num_outputs": 1}
SDXL = {
    "prompt": "a red dragon", "seed": 7, "num_outputs": 1, "num_inference_steps": 30, "guidance_scale": 7.5,
    "scheduler": "K_EULER", "refine": "no_refiner", "apply_watermark": False,
}  # fmt: skip

EXPECTED: dict[str, dict[str, Any]] = {
    "txt2img.flux.1-dev": {
        **FLUX, "aspect_ratio": "1:1", "megapixels": "1", "guidance": 3.5, "num_inference_steps": 28,
    },
    "img2img.flux.1-dev": {**FLUX, "guidance": 3.5, "num_inference_steps": 28, "prompt_strength": 0.95},
    "txt2img.flux.1-schnell": {**FLUX, "aspect_ratio": "1:1", "megapixels": "1", "num_inference_steps": 4},
    "txt2img.sdxl": {**SDXL, "width": 1024, "height": 1024},
    "img2img.sdxl": {**SDXL, "prompt_strength": 0.95},
    "remove_background.rmbg-2.0": {"preserve_alpha": True},
    "remove_background.inspyrenet": {
        "format": "png", "background_type": "rgba", "reverse": False, "threshold": 0.0,
    },
    "decompose_layers.qwen-image-layered": {"num_layers": 4, "seed": 7, "output_format": "png"},
    "animate_photo.liveportrait": {"video_frame_load_cap": 0, "video_select_every_n_frames": 1},
}  # fmt: skip

CALLS = {
    "txt2img.flux.1-dev": ("models/black-forest-labs/flux-dev/predictions", None),
    "img2img.flux.1-dev": ("models/black-forest-labs/flux-dev/predictions", None),
    "txt2img.flux.1-schnell": ("models/black-forest-labs/flux-schnell/predictions", None),
    "txt2img.sdxl": ("predictions", "7762fd07"),
    "img2img.sdxl": ("predictions", "7762fd07"),
    "remove_background.rmbg-2.0": ("models/bria/remove-background/predictions", None),
    "remove_background.inspyrenet": ("predictions", "a029dff3"),
    "decompose_layers.qwen-image-layered": ("models/qwen/qwen-image-layered/predictions", None),
    "animate_photo.liveportrait": ("predictions", "067dd98c"),
}


@pytest.mark.parametrize("key", sorted(BINDINGS))
def test_the_input_in_the_models_own_words(key: str) -> None:
    assert said(key) == EXPECTED[key]


@pytest.mark.parametrize("key", sorted(BINDINGS))
def test_whom_it_calls(key: str) -> None:
    payload = planned(key).payload
    path, version = CALLS[key]
    assert payload["path"] == path
    assert str(payload["body"].get("version")).startswith(str(version))


def test_where_media_go() -> None:
    named = {"remove_background.inspyrenet": ["image"], "img2img.sdxl": ["image"]}
    named["animate_photo.liveportrait"] = ["face_image", "driving_video"]
    for key, fields in named.items():
        plan = planned(key)
        assert [one["to"] for one in plan.payload["slots"]] == fields
        assert [one.name for one in plan.inputs] == [one["name"] for one in plan.payload["slots"]]
    assert planned("animate_photo.liveportrait").video
    assert not planned("txt2img.sdxl").video


def test_every_aspect_ratio_of_genyard_has_a_row_in_flux() -> None:
    for ratio, (width, height) in ASPECT_SIZES.items():
        assert said("txt2img.flux.1-dev", aspect_ratio=ratio)["aspect_ratio"] == ratio
        half = said("txt2img.flux.1-schnell", width=width // 2, height=height // 2)
        assert (half["aspect_ratio"], half["megapixels"]) == (ratio, "0.25")


@pytest.mark.parametrize(
    ("key", "given", "field"),
    [
        ("txt2img.flux.1-dev", {"width": 1000, "height": 1000}, "parameters.width"),
        ("txt2img.flux.1-dev", {"width": 1024, "height": 768}, "parameters.width"),
        ("txt2img.flux.1-dev", {"negative_prompt": "blur"}, "parameters.negative_prompt"),
        ("txt2img.flux.1-dev", {"steps": 51}, "parameters.steps"),
        ("txt2img.flux.1-dev", {"guidance": 11}, "parameters.guidance"),
        ("txt2img.flux.1-dev", {"count": 5}, "parameters.count"),
        ("txt2img.flux.1-dev", {"seed": 0}, "parameters.seed"),
        ("txt2img.flux.1-dev", {"seed": 2**64 - 1}, "parameters.seed"),
        ("txt2img.flux.1-dev", {"sampler": "euler"}, "parameters.sampler"),
        ("txt2img.flux.1-dev", {"loras": [{"name": "x"}]}, "parameters.loras"),
        ("txt2img.flux.1-schnell", {"guidance": 3}, "parameters.guidance"),
        ("txt2img.flux.1-schnell", {"steps": 5}, "parameters.steps"),
        ("img2img.flux.1-dev", {"width": 1024, "height": 1024}, "parameters.width"),
        ("img2img.flux.1-dev", {"aspect_ratio": "1:1"}, "parameters.width"),
        ("img2img.sdxl", {"width": 768, "height": 1024}, "parameters.height"),
        ("txt2img.sdxl", {"sampler": "euler"}, "parameters.sampler"),
        ("txt2img.sdxl", {"guidance": 0.5}, "parameters.guidance"),
        ("txt2img.sdxl", {"width": 1001, "height": 1024}, "parameters.width"),
        ("decompose_layers.qwen-image-layered", {"layers": 1}, "parameters.layers"),
        ("decompose_layers.qwen-image-layered", {"layers": 9}, "parameters.layers"),
        ("decompose_layers.qwen-image-layered", {"layers": 10}, "parameters.layers"),
        ("decompose_layers.qwen-image-layered", {"steps": 20}, "parameters.steps"),
        ("decompose_layers.qwen-image-layered", {"guidance": 2.5}, "parameters.guidance"),
        ("animate_photo.liveportrait", {"seconds": 15}, "parameters.seconds"),
        ("animate_photo.liveportrait", {"driven": False}, "inputs.video"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(key: str, given: dict[str, Any], field: str) -> None:
    assert refused(key, **given).field == field


def test_two_to_eight_layers() -> None:
    for layers in range(2, 9):
        assert said("decompose_layers.qwen-image-layered", layers=layers)["num_layers"] == layers
    assert "2 to 8 layers" in refused("decompose_layers.qwen-image-layered", layers=10).message


def test_what_the_picture_shows_is_told_to_the_layers_model() -> None:
    assert said("decompose_layers.qwen-image-layered", prompt="a castle")["description"] == "a castle"


@pytest.mark.parametrize("key", ["img2img.flux.1-dev", "img2img.sdxl"])
def test_the_size_of_the_input_may_be_repeated(key: str) -> None:
    told = said(key, width=PICTURE.width, height=PICTURE.height)
    assert not {"width", "height", "aspect_ratio"} & set(told)


def test_a_size_is_refused_where_the_inputs_size_is_not_known_yet() -> None:
    inputs = {"image": (StepOutput(step="draw"),)}
    assert planned("img2img.sdxl", inputs=inputs)
    assert refused("img2img.sdxl", inputs=inputs, width=512, height=512).field == "parameters.width"


def test_one_default_per_operation_and_a_price_with_a_note_for_each() -> None:
    operations = {one.operation for one in BINDINGS.values()}
    for operation in operations:
        rows = [one for one in BINDINGS.values() if one.operation == operation]
        assert sum(one.default for one in rows) == 1, operation
    for binding in BINDINGS.values():
        assert binding.price is not None
        assert binding.price.note
        assert binding.licence.name


@pytest.mark.parametrize(
    "wire",
    [{}, {"model": "a/b", "version": "a/b:c"}, {"model": "a/b", "colour": "red"}],
)
def test_a_binding_whose_wire_is_wrong_is_a_settings_error(wire: dict[str, Any]) -> None:
    binding = BINDINGS["txt2img.sdxl"].model_copy(update={"wire": wire})
    with pytest.raises(GenyardError) as error:
        call_of(binding)
    assert error.value.code is Code.settings_invalid


def test_a_deployment_of_ones_own() -> None:
    binding: Binding = BINDINGS["txt2img.sdxl"].model_copy(update={"wire": {"deployment": "acme/sdxl"}})
    step = bound("txt2img.sdxl")
    own = BoundStep(name="step", operation="txt2img", binding=binding, parameters=step.parameters, inputs={})
    payload = compile_step(own, Rates()).payload
    assert payload["path"] == "deployments/acme/sdxl/predictions"
    assert "version" not in payload["body"]


def test_an_endpoints_own_rate_wins_where_time_is_billed() -> None:
    own = Rates(usd_per_second=0.01)
    assert compile_step(bound("txt2img.sdxl"), own).payload["price"] == {"second": 0.01}
    assert compile_step(bound("txt2img.sdxl"), Rates()).payload["price"] == {"second": 0.000975}
    assert compile_step(bound("txt2img.flux.1-dev"), own).payload["price"] == {"output": 0.025}
    assert planned("remove_background.rmbg-2.0").payload["price"] == {"run": 0.018}
