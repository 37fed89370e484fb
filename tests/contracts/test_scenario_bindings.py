"""The body that each Scenario binding sends, and what it refuses: nothing is connected."""

from __future__ import annotations

from typing import Any

import pytest

from genyard.catalog import load_catalog
from genyard.catalog.pricing import Rates
from genyard.errors import Code, GenyardError
from genyard.operations import OPERATIONS
from genyard.outbound import Outbound
from genyard.providers import BoundStep, Facts, Plan
from genyard.providers._http import Timeouts
from genyard.providers._polling import Limits
from genyard.providers.scenario import ScenarioProvider
from genyard.testing.contract import an_image

DRAW: dict[str, Any] = {
    "prompt": "a fox",
    "negative_prompt": "",
    "seed": 42,
    "count": 2,
    "loras": (),
    "controlnets": (),
}

#: binding → what is asked, and the body that must come of it (without the media).
BODIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "scenario/txt2img.flux.1-dev": (
        {**DRAW, "width": 1024, "height": 768, "guidance": 3.5, "steps": 28},
        {
            "prompt": "a fox",
            "width": 1024,
            "height": 768,
            "guidance": 3.5,
            "numInferenceSteps": 28,
            "numOutputs": 2,
            "seed": 42,
        },
    ),
    "scenario/txt2img.flux.1-schnell": (
        {**DRAW, "width": 1024, "height": 1024, "steps": 4},
        {
            "prompt": "a fox",
            "width": 1024,
            "height": 1024,
            "numInferenceSteps": 4,
            "numOutputs": 2,
            "seed": 42,
        },
    ),
    "scenario/txt2img.retrodiffusion": (
        {**DRAW, "width": 256, "height": 256},
        {"prompt": "a fox", "width": 256, "height": 256, "numOutputs": 2, "seed": 42},
    ),
    "scenario/txt2img.retrodiffusion-plus": (
        {**DRAW, "width": 96, "height": 96},
        {"prompt": "a fox", "width": 96, "height": 96, "numOutputs": 2, "seed": 42},
    ),
    "scenario/img2img.flux.1-dev": (
        {**DRAW, "width": 512, "height": 512, "strength": 0.6},
        {"prompt": "a fox", "width": 512, "height": 512, "numOutputs": 2, "seed": 42, "strength": 0.6},
    ),
    "scenario/img2img.flux.1-schnell": (
        {**DRAW, "width": 512, "height": 512, "strength": 0.6},
        {"prompt": "a fox", "width": 512, "height": 512, "numOutputs": 2, "seed": 42, "strength": 0.6},
    ),
    "scenario/decompose_layers.qwen-image-layered": (
        {"layers": 4, "prompt": "a fox in a wood", "seed": 7},
        {"numLayers": 4, "description": "a fox in a wood", "seed": 7},
    ),
    "scenario/remove_background.photoroom": ({}, {}),
    "scenario-legacy/txt2img.flux.1-dev": (
        {**DRAW, "width": 512, "height": 512, "guidance": 3.5, "steps": 30, "scheduler": "Euler"},
        {
            "modelId": "flux.1-dev",
            "prompt": "a fox",
            "width": 512,
            "height": 512,
            "guidance": 3.5,
            "numInferenceSteps": 30,
            "scheduler": "Euler",
            "numSamples": 2,
            "seed": "42",
        },
    ),
    "scenario-legacy/img2img.flux.1-dev": (
        {**DRAW, "width": 512, "height": 512, "strength": 0.75},
        {
            "modelId": "flux.1-dev",
            "prompt": "a fox",
            "width": 512,
            "height": 512,
            "numSamples": 2,
            "seed": "42",
            "strength": 0.75,
        },
    ),
    "scenario-legacy/remove_background.scenario": ({}, {"format": "png"}),
}


def ours() -> list[str]:
    return [key for key in load_catalog().bindings if key.startswith(("scenario/", "scenario-legacy/"))]


def compiled(
    key: str, parameters: dict[str, Any], facts: Facts | None = None, inputs: dict[str, Any] | None = None
) -> Plan:
    binding = load_catalog().bindings[key]
    if inputs is None:
        needed = [role.name for role in OPERATIONS[binding.operation].inputs if role.required]
        inputs = {name: (an_image(name),) for name in needed}
    step = BoundStep(
        name="it", operation=binding.operation, binding=binding, parameters=parameters, inputs=inputs
    )
    provider = ScenarioProvider(
        key="k", secret="s", timeouts=Timeouts(), limits=Limits(), outbound=Outbound(), rates=Rates()
    )
    return provider.compile([step], facts)


def facts_of(model_id: str, inputs: dict[str, dict[str, Any]], *, usable: bool = True) -> Facts:
    return Facts(catalogue={"models": {model_id: {"usable": usable, "inputs": inputs}}})


def refused(key: str, parameters: dict[str, Any], facts: Facts | None = None, **more: Any) -> GenyardError:
    with pytest.raises(GenyardError) as told:
        compiled(key, parameters, facts, **more)
    return told.value


def test_every_binding_is_covered_here() -> None:
    assert sorted(BODIES) == sorted(ours())


@pytest.mark.parametrize("key", sorted(BODIES))
def test_the_body_is_what_the_model_takes(key: str) -> None:
    asked, body = BODIES[key]
    plan = compiled(key, asked)
    assert plan.payload["body"] == body
    binding = load_catalog().bindings[key]
    legacy = key.startswith("scenario-legacy/")
    path = binding.wire["path"] if legacy else f"generate/custom/{binding.wire['model_id']}"
    assert plan.payload["path"] == path


@pytest.mark.parametrize("key", [key for key in sorted(BODIES) if "txt2img" not in key])
def test_a_picture_goes_into_the_field_for_pictures_never_into_the_one_for_control(key: str) -> None:
    plan = compiled(key, BODIES[key][0])
    assert plan.payload["uploads"] == {"it.image.0": {"to": "image", "many": False}}
    assert [one.name for one in plan.inputs] == ["it.image.0"]


@pytest.mark.parametrize("key", sorted(BODIES))
def test_a_parameter_without_a_place_there_is_refused_by_name(key: str) -> None:
    """Each parameter of the operation, one at a time: it changes the body, or it is refused."""
    binding = load_catalog().bindings[key]
    asked, body = BODIES[key]
    given: dict[str, Any] = {
        "negative_prompt": "blurry",
        "sampler": "euler",
        "scheduler": "karras",
        "steps": 5,
        "guidance": 5.0,
        "loras": ({"name": "model_abc", "strength": 0.5},),
    }
    for name, value in given.items():
        if name not in OPERATIONS[binding.operation].parameters.model_fields:
            continue
        parameters = {**asked, name: value}
        try:
            binding.require(parameters, {"image": (64, 64)})
            plan = compiled(key, parameters)
        except GenyardError as error:
            assert error.code is Code.request_unsupported
            assert error.field == f"parameters.{name}"
        else:
            assert plan.payload["body"] != body or asked.get(name) == value, name


def test_loras_are_two_lists_even_of_one() -> None:
    asked = {**BODIES["scenario/txt2img.flux.1-dev"][0], "loras": ({"name": "model_abc", "strength": 0.6},)}
    body = compiled("scenario/txt2img.flux.1-dev", asked).payload["body"]
    assert (body["loras"], body["lorasScale"]) == (["model_abc"], [0.6])


def test_too_strong_or_too_many_loras_are_refused_by_name() -> None:
    asked = BODIES["scenario/txt2img.flux.1-dev"][0]
    for loras in (
        [{"name": "model_a", "strength": 3.0}],
        [{"name": f"model_{n}", "strength": 1.0} for n in range(7)],
    ):
        error = refused("scenario/txt2img.flux.1-dev", {**asked, "loras": tuple(loras)})
        assert (error.code, error.field) == (Code.request_unsupported, "parameters.loras")


def test_a_control_image_goes_with_its_kind_and_strength() -> None:
    asked = {
        **BODIES["scenario/txt2img.flux.1-dev"][0],
        "controlnets": ({"kind": "openpose", "strength": 0.8},),
    }
    plan = compiled("scenario/txt2img.flux.1-dev", asked, inputs={"control": (an_image("pose"),)})
    assert plan.payload["body"]["controlModality"] == "pose"
    assert plan.payload["body"]["controlStrength"] == 0.8
    assert plan.payload["uploads"] == {"it.control.0": {"to": "controlImage", "many": False}}


@pytest.mark.parametrize(
    "nets",
    [({"kind": "scribble"},), ({"kind": "canny"}, {"kind": "depth"}), ({"kind": "canny", "strength": 1.5},)],
)
def test_a_control_that_the_model_does_not_know_is_refused_by_name(nets: tuple[dict[str, Any], ...]) -> None:
    asked = {**BODIES["scenario/txt2img.flux.1-dev"][0], "controlnets": nets}
    error = refused("scenario/txt2img.flux.1-dev", asked, inputs={"control": (an_image("a"),)})
    assert (error.code, error.field) == (Code.request_unsupported, "parameters.controlnets")


def test_a_large_seed_is_folded_and_the_result_says_so() -> None:
    asked = {**BODIES["scenario/txt2img.flux.1-dev"][0], "seed": 2**40 + 5}
    plan = compiled("scenario/txt2img.flux.1-dev", asked)
    assert plan.payload["body"]["seed"] == 5
    assert plan.facts["it"] == {"model_id": "model_bfl-flux-1-dev", "seed_there": 5}


@pytest.mark.parametrize(
    ("key", "name", "value"),
    [
        ("scenario/txt2img.flux.1-dev", "guidance", 11.0),
        ("scenario/txt2img.flux.1-dev", "prompt", "x" * 2049),
        ("scenario/img2img.flux.1-dev", "strength", 0.005),
        ("scenario/decompose_layers.qwen-image-layered", "layers", 9),
    ],
)
def test_what_is_out_of_the_models_range_is_refused_by_name(key: str, name: str, value: Any) -> None:
    error = refused(key, {**BODIES[key][0], name: value})
    assert (error.code, error.field) == (Code.request_unsupported, f"parameters.{name}")


# What `check` has read of a model wins


def flux_inputs(**changed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    plain = {name: {"type": "number"} for name in BODIES["scenario/txt2img.flux.1-dev"][1]}
    return {**plain, "prompt": {"type": "string"}, **changed}


def test_a_value_is_sent_in_the_type_that_the_model_names() -> None:
    inputs = flux_inputs(seed={"type": "string"}, guidance={"type": "number_array"})
    asked = BODIES["scenario/txt2img.flux.1-dev"][0]
    body = compiled("scenario/txt2img.flux.1-dev", asked, facts_of("model_bfl-flux-1-dev", inputs)).payload[
        "body"
    ]
    assert (body["seed"], body["guidance"], body["prompt"]) == ("42", [3.5], "a fox")


def test_a_picture_for_an_array_of_files_is_a_list_of_one() -> None:
    facts = facts_of("model_photoroom-background-removal", {"image": {"type": "file_array"}})
    plan = compiled("scenario/remove_background.photoroom", {}, facts)
    assert plan.payload["uploads"]["it.image.0"] == {"to": "image", "many": True}


def test_the_models_own_range_wins_over_the_bindings() -> None:
    facts = facts_of("model_bfl-flux-1-dev", flux_inputs(numOutputs={"type": "number", "max": 1}))
    error = refused("scenario/txt2img.flux.1-dev", BODIES["scenario/txt2img.flux.1-dev"][0], facts)
    assert (error.code, error.field) == (Code.request_unsupported, "parameters.count")


def test_an_input_that_the_model_has_no_more_is_missing_there() -> None:
    inputs = flux_inputs()
    del inputs["guidance"]
    error = refused(
        "scenario/txt2img.flux.1-dev",
        BODIES["scenario/txt2img.flux.1-dev"][0],
        facts_of("model_bfl-flux-1-dev", inputs),
    )
    assert error.code is Code.provider_missing
    assert "guidance" in error.message


def test_a_model_that_the_team_does_not_have_is_missing_there() -> None:
    error = refused(
        "scenario/txt2img.flux.1-dev",
        BODIES["scenario/txt2img.flux.1-dev"][0],
        facts_of("model_bfl-flux-1-dev", {}, usable=False),
    )
    assert error.code is Code.provider_missing
