"""Steps become stages: what is refused, what is filled in, what is fused."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from genyard.catalog import Binding, Licence, Limits
from genyard.errors import Code, GenyardError
from genyard.pipelines import bind, draw_seeds, forget_seeds, group, parse_steps
from genyard.providers import MediaInput, StepOutput

ASSET = uuid4()
SILHOUETTE_TO_SPRITE: list[dict[str, Any]] = [
    {
        "name": "draw",
        "operation": "img2img",
        "parameters": {"prompt": "a knight"},
        "inputs": {"image": str(ASSET)},
    },
    {"name": "cut", "operation": "remove_background", "inputs": {"image": "step:draw"}},
]


def binding(**changes: Any) -> Binding:
    fields = {
        "kind": "comfyui",
        "operation": "txt2img",
        "model": "flux.1-dev",
        "title": "Flux",
        "licence": Licence(name="x", commercial=True),
        **changes,
    }
    return Binding(**fields)


def test_a_single_operation_is_a_pipeline_of_one_step() -> None:
    [step] = parse_steps([{"operation": "txt2img", "parameters": {"prompt": "a fox"}}])
    assert (step.name, step.keep, step.parameters["count"]) == ("step1", True, 1)


def test_only_the_last_step_is_kept_unless_asked() -> None:
    draw, cut = parse_steps(SILHOUETTE_TO_SPRITE)
    assert (draw.keep, cut.keep) == (False, True)
    assert cut.inputs["image"] == (StepOutput(step="draw"),)


def test_steps_survive_being_stored() -> None:
    steps = draw_seeds(parse_steps(SILHOUETTE_TO_SPRITE))
    assert parse_steps([step.as_json() for step in steps]) == steps


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"operation": "txt2vid"}, "operation"),
        ({"parameters": {"prompt": "x", "widht": 64}}, "parameters.widht"),
        ({"parameters": {"prompt": "x", "width": "wide"}}, "parameters.width"),
        ({"parameters": {"prompt": "x", "steps": 151}}, "parameters.steps"),
        ({"parameters": {"prompt": ""}}, "parameters.prompt"),
        ({"parameters": {"prompt": "x", "aspect_ratio": "5:4"}}, "parameters.aspect_ratio"),
        ({"parameters": {"prompt": "x", "aspect_ratio": "1:1", "width": 64}}, "parameters"),
        ({"inputs": {"picture": str(ASSET)}}, "inputs.picture"),
        ({"inputs": {"control": "not-an-id"}}, "inputs.control"),
        ({"inputs": {"control": str(ASSET)}}, "inputs.control"),
        ({"inputs": {"control": [str(ASSET)] * 5}}, "inputs.control"),
        ({"inputs": {"control": "step:later"}}, "inputs.control"),
        ({"parameters": {"prompt": "x", "width": "512"}}, "parameters.width"),
        ({"parameters": {"prompt": "x", "width": True}}, "parameters.width"),
        ({"parameters": {"prompt": "x", "width": 512.0}}, "parameters.width"),
        ({"parameters": {"prompt": "x", "guidance": "3.5"}}, "parameters.guidance"),
        ({"parameters": {"prompt": "x", "guidance": True}}, "parameters.guidance"),
        ({"parameters": {"prompt": 7}}, "parameters.prompt"),
        (
            {"parameters": {"prompt": "x", "loras": [{"name": "a", "strength": "1"}]}},
            "parameters.loras.0.strength",
        ),
        ({"parameters": {"prompt": "x", "loras": "a"}}, "parameters.loras"),
        ({"parameters": 5}, "parameters"),
        ({"parameters": []}, "parameters"),
        ({"inputs": 5}, "inputs"),
        ({"operation": ["txt2img"]}, "operation"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"keep": "no"}, "keep"),
        ({"name": 5}, "name"),
        ({"name": ""}, "name"),
        ({"name": "Bad Name"}, "name"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_bad_requests_name_the_field(changed: dict[str, Any], field: str) -> None:
    request = {"operation": "txt2img", "parameters": {"prompt": "x"}, **changed}
    with pytest.raises(GenyardError) as caught:
        parse_steps([request])
    assert caught.value.code is Code.request_invalid
    assert caught.value.field == field


def test_a_wrong_type_says_what_would_be_right() -> None:
    request = {"operation": "txt2img", "parameters": {"prompt": "x", "width": "512"}}
    with pytest.raises(GenyardError, match='width must be a whole number, not "512"'):
        parse_steps([request])


def test_whole_numbers_are_numbers_and_lists_stay_lists() -> None:
    given = {"prompt": "x", "guidance": 3, "seed": 2**64 - 1, "loras": [{"name": "a", "strength": 1}]}
    [step] = parse_steps([{"operation": "txt2img", "parameters": given, "model": None, "keep": None}])
    assert step.parameters["guidance"] == 3.0
    assert step.parameters["seed"] == 2**64 - 1
    assert step.parameters["loras"] == [{"name": "a", "strength": 1.0}]


def test_a_ui_format_workflow_is_explained() -> None:
    request = {"operation": "run_workflow", "parameters": {"workflow": {"nodes": [], "links": []}}}
    with pytest.raises(GenyardError, match=r"Export \(API\)"):
        parse_steps([request])


def test_seeds_are_drawn_once_and_can_be_forgotten() -> None:
    steps = draw_seeds(parse_steps(SILHOUETTE_TO_SPRITE))
    assert isinstance(steps[0].parameters["seed"], int)
    assert draw_seeds(steps) == steps
    assert forget_seeds(steps)[0].parameters["seed"] is None


def test_what_the_caller_left_open_comes_from_the_binding() -> None:
    [step] = parse_steps([{"operation": "txt2img", "parameters": {"prompt": "x", "steps": 4}}])
    bound = bind(step, binding(defaults={"steps": 28, "guidance": 3.5, "width": 1024, "height": 1024}), {})
    assert (bound.parameters["steps"], bound.parameters["guidance"]) == (4, 3.5)
    assert (bound.parameters["width"], bound.parameters["height"]) == (1024, 1024)


def test_an_aspect_ratio_becomes_about_a_megapixel() -> None:
    [step] = parse_steps([{"operation": "txt2img", "parameters": {"prompt": "x", "aspect_ratio": "16:9"}}])
    bound = bind(step, binding(), {})
    assert (bound.parameters["width"], bound.parameters["height"]) == (1344, 768)
    assert "aspect_ratio" not in bound.parameters


@pytest.mark.parametrize(
    ("parameters", "rules", "field", "hint"),
    [
        ({"width": 1000, "height": 1024}, {"limits": Limits(multiple=16)}, "parameters.width", "take 992"),
        ({"width": 64, "height": 64}, {"limits": Limits(min_side=256)}, "parameters.width", "256"),
        ({"count": 5}, {"limits": Limits(max_count=4)}, "parameters.count", "4"),
        ({"negative_prompt": "x"}, {"refuses": {"negative_prompt": "cfg is 1"}}, "parameters.negative_prompt", "cfg"),
    ],
)  # fmt: skip
def test_what_a_binding_cannot_honour_is_refused_by_name(
    parameters: dict[str, Any], rules: dict[str, Any], field: str, hint: str
) -> None:
    [step] = parse_steps([{"operation": "txt2img", "parameters": {"prompt": "x", **parameters}}])
    with pytest.raises(GenyardError, match=hint) as caught:
        bind(step, binding(**rules), {})
    assert caught.value.code is Code.request_unsupported
    assert caught.value.field == field


def bound_pair(**parameters: Any) -> list[Any]:
    draw, cut = draw_seeds(parse_steps(SILHOUETTE_TO_SPRITE))
    media = {ASSET: MediaInput(name=str(ASSET), media_type="image/png")}
    first = bind(draw, binding(operation="img2img"), media)
    object.__setattr__(first, "parameters", {**first.parameters, **parameters})
    return [first, bind(cut, binding(operation="remove_background"), media)]


def test_consecutive_steps_are_one_stage_where_the_place_fuses() -> None:
    draw, cut = bound_pair()
    [stage] = group([("gpu", draw), ("gpu", cut)], lambda _: True)
    assert [step.name for step in stage.steps] == ["draw", "cut"]
    assert not stage.steps[0].keep


@pytest.mark.parametrize("endpoints", [("gpu", "other"), ("gpu", "gpu")])
def test_otherwise_what_a_later_stage_needs_is_kept(endpoints: tuple[str, str]) -> None:
    draw, cut = bound_pair()
    stages = group(list(zip(endpoints, (draw, cut), strict=True)), lambda _: endpoints[0] != endpoints[1])
    assert len(stages) == 2
    assert stages[0].steps[0].keep


def test_several_pictures_cannot_pass_between_submissions() -> None:
    draw, cut = bound_pair(count=3)
    with pytest.raises(GenyardError, match="one picture"):
        group([("gpu", draw), ("other", cut)], lambda _: True)
