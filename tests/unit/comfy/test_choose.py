"""choose(): by what is known of the endpoint."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from genyard.comfy import Catalogue, choose, load_template, unfit
from genyard.errors import Code, GenyardError

FLUX = [load_template("flux-split-txt2img"), load_template("flux-fp8-txt2img")]


def with_choices(object_info: dict[str, Any], **files: list[str]) -> Catalogue:
    changed = copy.deepcopy(object_info)
    for name, choices in files.items():
        for entry in changed.values():
            if name in entry["input"].get("required", {}):
                entry["input"]["required"][name][0] = choices
    return Catalogue(changed)


def test_without_facts_the_first_one_with_its_defaults() -> None:
    choice = choose(FLUX, None, files={"vae": "mine.safetensors"})
    assert choice.template.name == "flux-split-txt2img"
    assert choice.files["vae"] == "mine.safetensors"
    assert choice.files["t5xxl"] == "t5xxl_fp16.safetensors"


def test_an_alternative_file_is_taken_where_the_default_is_not_there(catalogue: Catalogue) -> None:
    choice = choose(FLUX, catalogue)
    assert choice.template.name == "flux-split-txt2img"
    assert choice.files["t5xxl"] == "t5xxl_fp8_e4m3fn.safetensors"


def test_the_second_template_where_only_its_files_exist(object_info: dict[str, Any]) -> None:
    server = with_choices(object_info, unet_name=[], ckpt_name=["flux1-dev-fp8.safetensors"])
    assert choose(FLUX, server).template.name == "flux-fp8-txt2img"


def test_none_fits_and_each_says_why_with_the_nearest_file(object_info: dict[str, Any]) -> None:
    server = with_choices(object_info, unet_name=[], ckpt_name=["FLUX/Flux1-dev-FP8.safetensors"])
    with pytest.raises(GenyardError) as caught:
        choose(FLUX, server)
    assert caught.value.code is Code.provider_missing
    message = caught.value.message
    assert "diffusion_models/flux1-dev.safetensors does not exist; the folder is empty" in message
    assert "the nearest is 'FLUX/Flux1-dev-FP8.safetensors'" in message
    assert [row["template"] for row in caught.value.context["templates"]] == [t.name for t in FLUX]


def test_a_decided_file_has_no_alternatives(catalogue: Catalogue) -> None:
    lacks = unfit(FLUX[0], catalogue, files={"t5xxl": "t5xxl_q8.gguf"})
    assert lacks is not None and set(lacks.files or {}) == {"t5xxl"}


def test_missing_nodes_are_named_with_their_pack(object_info: dict[str, Any]) -> None:
    core = Catalogue({name: entry for name, entry in object_info.items() if "RMBG" not in name})
    lacks = unfit(load_template("remove-background-birefnet-rmbg"), core)
    assert lacks is not None and lacks.classes == ("BiRefNetRMBG",)
    assert "1038lab/ComfyUI-RMBG" in str(lacks)
    old = Catalogue({name: e for name, e in object_info.items() if name != "RemoveBackground"})
    both = [load_template("remove-background-core"), load_template("remove-background-birefnet-rmbg")]
    assert choose(both, old).template.name == "remove-background-birefnet-rmbg"


def test_the_inputs_that_are_given_decide(catalogue: Catalogue) -> None:
    both = [load_template("liveportrait-driven"), load_template("liveportrait-default-motion")]
    assert choose(both, catalogue, inputs={"image", "video"}).template.name == "liveportrait-driven"
    assert choose(both, catalogue, inputs={"image"}).template.name == "liveportrait-default-motion"
    with pytest.raises(GenyardError, match="they take image or image and video") as caught:
        choose(both, catalogue, inputs={"video"})
    assert caught.value.code is Code.request_unsupported
