"""Which place serves a step, and what is said when none can."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from genyard.catalog import Binding, Catalog, Licence
from genyard.errors import Code, GenyardError
from genyard.pipelines import parse_steps
from genyard.routing import Choice, Endpoint, Routes, choose

LICENCE = Licence(name="x", commercial=True)


def row(kind: str, operation: str, model: str, **more: Any) -> Binding:
    return Binding(kind=kind, operation=operation, model=model, title=model, licence=LICENCE, **more)


CATALOG = Catalog(
    bindings={
        one.key: one
        for one in (
            row("comfyui", "txt2img", "sdxl"),
            row("comfyui", "txt2img", "flux.1-dev", default=True),
            row("comfyui", "run_workflow", "own-workflow", default=True),
            row("preview", "txt2img", "preview", stands_in=True),
            row("runpod", "txt2img", "flux.1-dev", default=True),
            row("runpod", "txt2img", "sdxl"),
            row("runpod", "remove_background", "birefnet", default=True),
            row("scenario", "remove_background", "photoroom", default=True),
        )
    }
)


def place(name: str, kind: str, bindings: str = "", **more: Any) -> Endpoint:
    return Endpoint(name=name, kind=kind, bindings=bindings or kind, **more)


PREVIEW = place("preview", "preview")
SERVER = place("comfyui", "comfyui")
FLUX = place("runpod-flux", "runpod", models=frozenset({"flux.1-dev"}))
SDXL = place("runpod-sdxl", "runpod", models=frozenset({"sdxl"}))
CUTTER = place("runpod-bg-removal", "runpod", operations=frozenset({"remove_background"}))
RUNPOD_COMFYUI = place("runpod-comfyui", "runpod", "comfyui")
SCENARIO = place("scenario", "scenario")


def pick(
    target: str,
    *endpoints: Endpoint,
    operation: str = "txt2img",
    model: str | None = None,
    **operations: str,
) -> Choice:
    parameters = {"run_workflow": {"workflow": {"1": {"class_type": "X"}}}, "remove_background": {}}
    step: dict[str, Any] = {"operation": operation, "model": model}
    step["parameters"] = parameters.get(operation, {"prompt": "x"})
    if operation == "remove_background":
        step["inputs"] = {"image": str(uuid4())}
    [parsed] = parse_steps([step])
    routes = Routes(default=target, operations=operations)
    return choose(parsed, endpoints=endpoints or (PREVIEW, SERVER), routes=routes, catalog=CATALOG)


def refused(target: str, *endpoints: Endpoint, **how: Any) -> GenyardError:
    with pytest.raises(GenyardError) as caught:
        pick(target, *endpoints, **how)
    return caught.value


def test_the_default_model_of_the_place() -> None:
    choice = pick("comfyui")
    assert (choice.endpoint, choice.binding.model) == ("comfyui", "flux.1-dev")


def test_a_named_model() -> None:
    assert pick("comfyui", model="sdxl").binding.model == "sdxl"


def test_the_renderer_stands_in_for_any_known_model() -> None:
    assert pick("preview", model="sdxl").binding.model == "preview"


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    error = refused("preview", model="sd4")
    assert (error.code, error.field) == (Code.request_invalid, "model")
    assert "flux.1-dev" in error.message


def test_comfyui_is_the_server_of_ones_own_and_else_the_one_on_runpod() -> None:
    assert pick("comfyui", RUNPOD_COMFYUI, SERVER).endpoint == "comfyui"
    assert pick("comfyui", RUNPOD_COMFYUI, FLUX).endpoint == "runpod-comfyui"


def test_runpod_is_the_endpoint_of_the_model_flux_first_and_else_comfyui_there() -> None:
    assert pick("runpod", RUNPOD_COMFYUI, FLUX, SDXL).endpoint == "runpod-flux"
    assert pick("runpod", FLUX, SDXL, model="sdxl").endpoint == "runpod-sdxl"
    assert pick("runpod", RUNPOD_COMFYUI, FLUX, model="sdxl").endpoint == "runpod-comfyui"
    assert pick("runpod", FLUX, CUTTER, operation="remove_background").endpoint == "runpod-bg-removal"


def test_one_line_sends_one_operation_elsewhere() -> None:
    here = (FLUX, CUTTER, SCENARIO)
    assert pick("runpod", *here).endpoint == "runpod-flux"
    moved = pick("runpod", *here, operation="remove_background", remove_background="scenario")
    assert moved.endpoint == "scenario"
    named = pick("scenario", *here, operation="remove_background", remove_background="runpod-bg-removal")
    assert named.endpoint == "runpod-bg-removal"


def test_an_endpoint_that_bears_the_word_comes_before_others_of_its_kind() -> None:
    assert pick("comfyui", place("big", "comfyui"), SERVER).endpoint == "comfyui"


def test_a_pinned_request_goes_to_that_endpoint_or_nowhere() -> None:
    only_sdxl = place("comfyui", "comfyui", models=frozenset({"sdxl"}))
    here = (place("big", "comfyui"), only_sdxl)
    [parsed] = parse_steps([{"operation": "txt2img", "parameters": {"prompt": "x"}, "model": "flux.1-dev"}])
    free, pinned = Routes(default="comfyui"), Routes(default="comfyui", pinned=True)
    assert choose(parsed, endpoints=here, routes=free, catalog=CATALOG).endpoint == "big"
    with pytest.raises(GenyardError) as caught:
        choose(parsed, endpoints=here, routes=pinned, catalog=CATALOG)
    assert caught.value.code is Code.request_unsupported
    with pytest.raises(GenyardError, match="no endpoint 'comfyui'"):
        choose(parsed, endpoints=here[:1], routes=pinned, catalog=CATALOG)


def test_the_refusal_names_what_would_help() -> None:
    error = refused("preview", operation="run_workflow")
    assert error.code is Code.request_unsupported
    assert '[routes] run_workflow = "comfyui"' in error.message
    assert "COMFYUI_ENDPOINT" in refused("preview", PREVIEW, operation="run_workflow").message
    missing = refused("runpod", FLUX, operation="remove_background")
    assert "RUNPOD_BG_REMOVAL_ENDPOINT_ID" in missing.message
    assert "SCENARIO_API_KEY" in missing.message


def test_a_target_without_an_endpoint_names_its_variables() -> None:
    error = refused("comfyui", PREVIEW)
    assert (error.code, error.field) == (Code.settings_invalid, "IMAGE_GENERATION_PROVIDER")
    assert "COMFYUI_ENDPOINT" in error.message
    routed = refused("preview", PREVIEW, operation="remove_background", remove_background="scenario")
    assert routed.field == "routes.remove_background"
    assert "SCENARIO_API_KEY" in routed.message


def test_a_missing_key_matters_only_where_the_work_would_go() -> None:
    keyless = place("scenario", "scenario", missing=("SCENARIO_SECRET_API_KEY",))
    assert pick("preview", PREVIEW, keyless).endpoint == "preview"
    error = refused("scenario", PREVIEW, keyless, operation="remove_background")
    assert (error.code, error.field) == (Code.settings_invalid, "SCENARIO_SECRET_API_KEY")
