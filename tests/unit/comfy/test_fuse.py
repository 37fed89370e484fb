"""fuse(): several steps, one graph."""

from __future__ import annotations

from typing import Any

import pytest

from genyard.comfy import (
    Catalogue,
    Graph,
    ProblemKind,
    check,
    fill,
    fuse,
    load_template,
    own_graph,
    put_prefix,
    put_uploads,
)
from genyard.comfy.fusing import Part
from genyard.comfy.graph import links
from genyard.errors import Code, GenyardError


def draw(**values: Any) -> Graph:
    return fill(load_template("sdxl-txt2img"), values={"prompt": "a fox"} | values)


def redraw(**values: Any) -> Graph:
    return fill(load_template("sdxl-img2img"), values={"prompt": "a red fox"} | values)


def cut() -> Graph:
    return fill(load_template("remove-background-core"), values={})


def classes(graph: Graph) -> list[str]:
    return sorted(node["class_type"] for node in graph.workflow.values())


def test_a_single_step_is_renamed_in_the_same_way(catalogue: Catalogue) -> None:
    graph = fuse([Part(name="redraw", graph=redraw())])
    assert "redraw.3" in graph.workflow
    assert {name: [str(site) for site in sites] for name, sites in graph.inputs.items()} == {
        "redraw.image": ["redraw.40.image"]
    }
    assert [(output.step, output.save) for output in graph.outputs] == [("redraw", "redraw.9")]
    assert graph.facts == {"redraw": {"template": "sdxl-img2img", "template_version": 1}}
    assert graph.files == {"redraw.checkpoint": "sd_xl_base_1.0.safetensors"}
    assert all(socket.node in graph.workflow for _, socket in links(graph.workflow))


def test_img2img_then_cutout_is_one_graph_without_upload_or_save_between(catalogue: Catalogue) -> None:
    graph = fuse(
        [
            Part(name="redraw", graph=redraw(), keep=False),
            Part(name="cut", graph=cut(), wires={"image": "redraw"}),
        ]
    )
    assert set(graph.inputs) == {"redraw.image"}
    assert [output.step for output in graph.outputs] == ["cut"]
    assert classes(graph).count("SaveImage") == 1
    assert classes(graph).count("LoadImage") == 1
    assert graph.workflow["cut.13"]["inputs"]["image"] == ["redraw.8", 0]
    assert graph.workflow["cut.16"]["inputs"]["image"] == ["redraw.8", 0]
    assert [site.node for site in graph.prefixes] == ["cut.9"]
    problems = check(graph.workflow, catalogue, uploads=graph.uploads)
    assert {p.kind for p in problems} == {ProblemKind.missing_file}


def test_a_kept_step_keeps_its_save_node() -> None:
    graph = fuse([Part(name="draw", graph=draw()), Part(name="cut", graph=cut(), wires={"image": "draw"})])
    assert [output.step for output in graph.outputs] == ["draw", "cut"]
    assert [site.node for site in graph.prefixes] == ["draw.9", "cut.9"]


def test_an_img2img_is_fed_through_its_scale_node_and_shares_the_checkpoint() -> None:
    graph = fuse(
        [
            Part(name="draw", graph=draw(), keep=False),
            Part(name="redraw", graph=redraw(), wires={"image": "draw"}),
        ]
    )
    assert graph.workflow["redraw.41"]["inputs"]["image"] == ["draw.8", 0]
    assert classes(graph).count("CheckpointLoaderSimple") == 1
    assert graph.workflow["redraw.3"]["inputs"]["model"] == ["draw.4", 0]
    assert graph.workflow["redraw.42"]["inputs"]["vae"] == ["draw.4", 2]


def test_different_checkpoints_and_uploads_are_not_shared() -> None:
    other = fill(load_template("sdxl-img2img"), values={"prompt": "x"}, files={"checkpoint": "other"})
    graph = fuse([Part(name="a", graph=redraw()), Part(name="b", graph=other)])
    assert classes(graph).count("CheckpointLoaderSimple") == 2
    assert classes(graph).count("LoadImage") == 2


def test_only_the_first_of_several_pictures_goes_on(catalogue: Catalogue) -> None:
    graph = fuse(
        [
            Part(name="draw", graph=draw(count=4), keep=False),
            Part(name="cut", graph=cut(), wires={"image": "draw"}),
        ]
    )
    assert graph.workflow["cut.13"]["inputs"]["image"] == ["cut.image.first", 0]
    assert graph.workflow["cut.image.first"]["inputs"] == {
        "image": ["draw.8", 0],
        "batch_index": 0,
        "length": 1,
    }
    assert {p.kind for p in check(graph.workflow, catalogue)} == {ProblemKind.missing_file}


def test_transparency_goes_on_as_a_loader_would_drop_it(catalogue: Catalogue) -> None:
    graph = fuse([Part(name="cut", graph=cut()), Part(name="redraw", graph=redraw(), wires={"image": "cut"})])
    assert graph.workflow["redraw.41"]["inputs"]["image"] == ["redraw.image.opaque", 0]
    assert graph.workflow["redraw.image.opaque"]["class_type"] == "SplitImageWithAlpha"
    problems = check(graph.workflow, catalogue, uploads=graph.uploads)
    assert {p.kind for p in problems} == {ProblemKind.missing_file}


def test_three_steps_in_a_row(catalogue: Catalogue) -> None:
    pixel = fill(load_template("pixelate-core"), values={"cells": 64, "colors": 8, "scale": 2})
    graph = fuse(
        [
            Part(name="draw", graph=draw(), keep=False),
            Part(name="cut", graph=cut(), wires={"image": "draw"}, keep=False),
            Part(name="pixel", graph=pixel, wires={"image": "cut"}),
        ]
    )
    assert not graph.inputs
    assert classes(graph).count("SaveImage") == 1
    assert {p.kind for p in check(graph.workflow, catalogue)} == {ProblemKind.missing_file}


MASKED = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
    "2": {"class_type": "JoinImageWithAlpha", "inputs": {"image": ["1", 0], "alpha": ["1", 1]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
}


def test_the_mask_of_a_loader_cannot_come_from_inside() -> None:
    own = own_graph(MASKED, media={"photo": "1.image"})
    with pytest.raises(GenyardError, match="mask") as caught:
        fuse([Part(name="draw", graph=draw()), Part(name="own", graph=own, wires={"photo": "draw"})])
    assert caught.value.code is Code.workflow_invalid
    assert caught.value.field == "steps.own.inputs.photo"


def test_a_video_is_not_a_picture() -> None:
    film = fill(load_template("liveportrait-default-motion"), values={"seconds": 10.0})
    with pytest.raises(GenyardError, match=r"gives VIDEO, and node cut\.17 stands for IMAGE"):
        fuse([Part(name="film", graph=film), Part(name="cut", graph=cut(), wires={"image": "film"})])


def test_uploads_and_prefixes_are_put_in_last() -> None:
    graph = fuse([Part(name="draw", graph=draw()), Part(name="cut", graph=cut())])
    ready = put_prefix(put_uploads(graph, {"cut.image": "in.png"}), "genyard/k1")
    assert ready.workflow["cut.17"]["inputs"]["image"] == "in.png"
    assert ready.workflow["draw.9"]["inputs"]["filename_prefix"] == "genyard/k1_draw.9"
    assert ready.workflow["cut.9"]["inputs"]["filename_prefix"] == "genyard/k1_cut.9"
    assert graph.workflow["cut.17"]["inputs"]["image"] == ""


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [Part(name="a", graph=draw()), Part(name="a", graph=draw())],
        [Part(name="a", graph=draw(), keep=False)],
        [Part(name="a", graph=cut(), wires={"image": "later"}), Part(name="later", graph=draw())],
        [Part(name="a", graph=draw()), Part(name="b", graph=cut(), wires={"nope": "a"})],
    ],
)
def test_parts_that_make_no_sense_are_a_defect_of_the_caller(parts: list[Part]) -> None:
    with pytest.raises(GenyardError) as caught:
        fuse(parts)
    assert caught.value.code is Code.internal
