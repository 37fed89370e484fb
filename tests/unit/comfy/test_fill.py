"""fill(): typed values, spliced nodes, and nothing dropped."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genyard.comfy import Catalogue, Control, Lora, ProblemKind, check, fill, load_template, template_names
from genyard.errors import Code, GenyardError

SDXL = {
    "prompt": "a fox",
    "negative_prompt": "blurry",
    "width": 832,
    "height": 1216,
    "steps": 20,
    "guidance": 7,
    "sampler": "euler",
    "scheduler": "normal",
    "seed": 2**64 - 1,
    "count": 3,
}
UNION = {"controlnet.union": "union.safetensors"}


def test_values_arrive_typed_at_their_sites() -> None:
    graph = fill(load_template("sdxl-txt2img"), values=SDXL, files={"checkpoint": "other.safetensors"})
    sampler = graph.workflow["3"]["inputs"]
    assert sampler["seed"] == 2**64 - 1
    assert sampler["cfg"] == 7.0 and isinstance(sampler["cfg"], float)
    assert graph.workflow["5"]["inputs"] == {"width": 832, "height": 1216, "batch_size": 3}
    assert graph.workflow["7"]["inputs"]["text"] == "blurry"
    assert graph.workflow["4"]["inputs"]["ckpt_name"] == "other.safetensors"
    assert graph.files == {"checkpoint": "other.safetensors"}
    assert graph.outputs[0].many
    assert graph.facts == {"": {"template": "sdxl-txt2img", "template_version": 1}}
    assert [str(site) for site in graph.prefixes] == ["9.filename_prefix"]


def test_the_template_itself_stays_as_it_was() -> None:
    template = load_template("sdxl-img2img")
    before = copy.deepcopy(template.workflow)
    fill(
        template,
        values=SDXL | {"strength": 0.5},
        loras=[Lora(name="a")],
        controls=[Control(kind="canny")],
        files=UNION,
    )
    assert template.workflow == before


@given(prompt=st.text(min_size=1), seed=st.integers(0, 2**64 - 1))
def test_text_is_never_read_as_a_template(prompt: str, seed: int) -> None:
    graph = fill(load_template("flux-split-txt2img"), values={"prompt": prompt, "seed": seed})
    assert graph.workflow["6"]["inputs"]["text"] == prompt
    assert graph.workflow["31"]["inputs"]["seed"] == seed


@pytest.mark.parametrize("name", template_names())
def test_no_placeholder_is_left(name: str) -> None:
    template = load_template(name)
    values: dict[str, Any] = {"prompt": "ours"} if "prompt" in template.parameters else {}
    graph = fill(template, values=values)
    for node in graph.workflow.values():
        for value in node["inputs"].values():
            assert not (
                isinstance(value, str) and ("{{" in value or value in ("a fox", "example.png", "driving.mp4"))
            )
    assert all(graph.workflow[site.node]["inputs"][site.input] == "" for site in graph.uploads)


def test_products_of_parameters() -> None:
    graph = fill(load_template("pixelate-core"), values={"cells": 48, "colors": 8, "scale": 16})
    assert graph.workflow["2"]["inputs"]["largest_size"] == 48
    assert graph.workflow["4"]["inputs"]["largest_size"] == 48 * 16
    with pytest.raises(GenyardError, match="cells is required"):
        fill(load_template("pixelate-core"), values={"scale": 16})
    graph = fill(load_template("liveportrait-default-motion"), values={"seconds": 12.34})
    assert graph.workflow["35"]["inputs"]["length"] == 308


def test_what_a_template_cannot_honour_is_refused_by_name() -> None:
    flux = load_template("flux-split-txt2img")
    with pytest.raises(GenyardError, match="has no negative_prompt") as caught:
        fill(flux, values={"prompt": "x", "negative_prompt": "blurry"})
    assert (caught.value.code, caught.value.field) == (Code.request_unsupported, "parameters.negative_prompt")
    cutout = load_template("remove-background-core")
    for wish, field in (
        ({"loras": [Lora(name="a")]}, "loras"),
        ({"controls": [Control(kind="canny")]}, "controlnets"),
    ):
        with pytest.raises(GenyardError) as caught:
            fill(cutout, values={}, **wish)
        assert (caught.value.code, caught.value.field) == (Code.request_unsupported, f"parameters.{field}")


def test_neutral_values_are_nothing_to_refuse() -> None:
    fill(
        load_template("flux-split-txt2img"),
        values={"prompt": "x", "negative_prompt": "", "loras": (), "aspect_ratio": None},
    )
    fill(load_template("remove-background-core"), values={"count": 1})
    with pytest.raises(GenyardError, match="has no count; it takes no parameters"):
        fill(load_template("remove-background-core"), values={"count": 2})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seed": "42"}, "seed must be a whole number"),
        ({"width": 64.0}, "width must be a whole number"),
        ({"steps": True}, "steps must be a whole number"),
        ({"guidance": "7"}, "guidance must be a number"),
        ({"prompt": ["a"]}, "prompt must be a text"),
        ({"prompt": ""}, "prompt is required"),
    ],
)
def test_mistyped_values(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(GenyardError, match=words) as caught:
        fill(load_template("sdxl-txt2img"), values={"prompt": "x"} | wrong)
    assert caught.value.code is Code.request_invalid
    assert caught.value.field == f"parameters.{next(iter(wrong))}"


def test_loras_form_a_chain_for_model_and_text_encoder() -> None:
    graph = fill(
        load_template("sdxl-txt2img"), values=SDXL, loras=[Lora(name="a", strength=0.5), Lora(name="b")]
    )
    nodes = graph.workflow
    assert nodes["lora0"]["inputs"]["model"] == ["4", 0]
    assert nodes["lora1"]["inputs"]["model"] == ["lora0", 0]
    assert nodes["lora1"]["inputs"]["clip"] == ["lora0", 1]
    assert nodes["lora0"]["inputs"]["strength_clip"] == 0.5
    assert nodes["3"]["inputs"]["model"] == ["lora1", 0]
    assert nodes["6"]["inputs"]["clip"] == nodes["7"]["inputs"]["clip"] == ["lora1", 1]
    assert nodes["8"]["inputs"]["vae"] == ["4", 2]


def test_flux_loras_change_the_model_alone() -> None:
    graph = fill(load_template("flux-split-txt2img"), values={"prompt": "x"}, loras=[Lora(name="a")])
    assert graph.workflow["lora0"]["class_type"] == "LoraLoaderModelOnly"
    assert graph.workflow["31"]["inputs"]["model"] == ["lora0", 0]
    assert graph.workflow["6"]["inputs"]["clip"] == ["11", 0]


def test_controlnets_form_a_chain() -> None:
    graph = fill(
        load_template("flux-fp8-img2img"),
        values={"prompt": "x"},
        files=UNION | {"controlnet.tile": "tile.safetensors"},
        controls=[Control(kind="canny", strength=0.7), Control(kind="tile")],
    )
    nodes = graph.workflow
    assert nodes["control0.kind"]["inputs"]["type"] == "canny/lineart/anime_lineart/mlsd"
    assert nodes["control0.edges"]["inputs"]["image"] == ["control0.image", 0]
    assert nodes["control0.apply"]["inputs"]["positive"] == ["35", 0]
    assert nodes["control0.apply"]["inputs"]["vae"] == ["30", 2]
    assert nodes["control1.apply"]["inputs"]["negative"] == ["control0.apply", 1]
    assert nodes["control1.apply"]["inputs"]["control_net"] == ["control1.net", 0], "a net of its own kind"
    assert nodes["31"]["inputs"]["positive"] == ["control1.apply", 0]
    assert nodes["31"]["inputs"]["negative"] == ["control1.apply", 1]
    assert set(graph.inputs) == {"image", "control.0", "control.1"}
    assert graph.files["controlnet.tile"] == "tile.safetensors"


def test_a_kind_of_control_without_a_net() -> None:
    with pytest.raises(GenyardError, match="no ControlNet for 'depth': it has nets for canny") as caught:
        fill(
            load_template("sdxl-txt2img"),
            values=SDXL,
            files={"controlnet.canny": "c.safetensors"},
            controls=[Control(kind="canny"), Control(kind="depth")],
        )
    assert caught.value.field == "parameters.controlnets.1.kind"


@pytest.mark.parametrize("name", ["sdxl-txt2img", "sdxl-img2img", "flux-split-txt2img", "flux-fp8-img2img"])
def test_spliced_graphs_lack_nothing_but_files(name: str, catalogue: Catalogue) -> None:
    graph = fill(
        load_template(name),
        values={"prompt": "x"},
        files=UNION,
        loras=[Lora(name="a.safetensors"), Lora(name="b.safetensors")],
        controls=[Control(kind="canny"), Control(kind="depth")],
    )
    problems = check(graph.workflow, catalogue, uploads=graph.uploads)
    assert {p.kind for p in problems} == {ProblemKind.missing_file}
    assert {"lora0", "lora1", "control0.net", "control1.net"} <= {p.node for p in problems}
