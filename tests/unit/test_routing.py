"""Which place serves a step, and what is said when none can."""

from __future__ import annotations

from typing import Any

import pytest

from genyard.catalog import Binding, Catalog, Licence
from genyard.errors import Code, GenyardError
from genyard.pipelines import parse_steps
from genyard.routing import choose

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
        )
    }
)
NEEDS = {"preview": (), "comfyui": ("COMFYUI_ENDPOINT",)}


def pick(kind: str, operation: str = "txt2img", model: str | None = None, **endpoints: str) -> Any:
    parameters = {"workflow": {"1": {"class_type": "X"}}} if operation == "run_workflow" else {"prompt": "x"}
    [step] = parse_steps([{"operation": operation, "parameters": parameters, "model": model}])
    known = endpoints or {"preview": "preview", "gpu": "comfyui"}
    return choose(step, endpoints=known, preferred=kind, catalog=CATALOG, needs=NEEDS)


def test_the_default_model_of_the_preferred_kind() -> None:
    choice = pick("comfyui")
    assert (choice.endpoint, choice.binding.model) == ("gpu", "flux.1-dev")


def test_a_named_model() -> None:
    assert pick("comfyui", model="sdxl").binding.model == "sdxl"


def test_the_renderer_stands_in_for_any_known_model() -> None:
    assert pick("preview", model="sdxl").binding.model == "preview"


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(GenyardError, match=r"flux\.1-dev") as caught:
        pick("preview", model="sd4")
    assert (caught.value.code, caught.value.field) == (Code.request_invalid, "model")


def test_the_refusal_names_the_setting_that_would_help() -> None:
    with pytest.raises(GenyardError, match="COMFYUI_ENDPOINT") as caught:
        pick("preview", "run_workflow")
    assert caught.value.code is Code.request_unsupported


def test_a_kind_without_an_endpoint_names_its_variable() -> None:
    with pytest.raises(GenyardError, match="COMFYUI_ENDPOINT") as caught:
        pick("comfyui", preview="preview")
    assert caught.value.code is Code.settings_invalid
