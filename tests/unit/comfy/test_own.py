"""The caller's own workflow."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from genyard.comfy import Catalogue, Site, check, find_site, fuse, own_graph, save_nodes
from genyard.comfy.fusing import Part
from genyard.errors import Code, GenyardError

GRAPH: dict[str, Any] = {
    "10": {"class_type": "LoadImage", "inputs": {"image": "old.png"}},
    "10.1": {
        "class_type": "ImageScale",
        "inputs": {"image": ["10", 0], "upscale_method": "area", "width": 8, "height": 8, "crop": "disabled"},
    },
    "3": {"class_type": "SaveImage", "inputs": {"images": ["10.1", 0], "filename_prefix": "x"}},
    "4": {"class_type": "PreviewImage", "inputs": {"images": ["10.1", 0]}},
    "5": {
        "class_type": "SaveImageAdvanced",
        "inputs": {
            "images": ["10.1", 0],
            "filename_prefix": "y",
            "format": "png",
            "format.bit_depth": "8-bit",
            "format.input_color_space": "sRGB",
        },
    },
}


def test_values_media_and_outputs(catalogue: Catalogue) -> None:
    before = copy.deepcopy(GRAPH)
    own = own_graph(
        GRAPH,
        values={"10.1.width": 128, "5.format.bit_depth": "16-bit"},
        media={"photo": "10.image"},
        catalogue=catalogue,
    )
    assert before == GRAPH
    assert own.workflow["10.1"]["inputs"]["width"] == 128
    assert own.workflow["5"]["inputs"]["format.bit_depth"] == "16-bit"
    assert own.inputs == {"photo": (Site(node="10", input="image"),)}
    assert [output.save for output in own.outputs] == ["3", "5"]
    assert {str(site) for site in own.prefixes} == {"3.filename_prefix", "5.filename_prefix"}
    graph = fuse([Part(name="own", graph=own)])
    assert check(graph.workflow, catalogue, uploads=graph.uploads) == ()


def test_an_own_workflow_feeds_the_next_step(catalogue: Catalogue) -> None:
    own = own_graph(GRAPH, media={"photo": "10.image"})
    graph = fuse([Part(name="a", graph=own), Part(name="b", graph=own, wires={"photo": "a"})])
    assert set(graph.inputs) == {"a.photo"}
    assert check(graph.workflow, catalogue, uploads=graph.uploads) == ()


def test_save_nodes_by_catalogue_and_by_name(catalogue: Catalogue) -> None:
    graph = {
        "1": {"class_type": "SaveVideo", "inputs": {"filename_prefix": "v"}},
        "2": {"class_type": "PreviewAny", "inputs": {}},
        "3": {"class_type": "SomePackSaver", "inputs": {"filename_prefix": "p"}},
        "4": {"class_type": "SaveLatent", "inputs": {"filename_prefix": "p"}},
    }
    assert save_nodes(graph) == ("1", "3", "4")
    assert save_nodes(graph, catalogue) == ("1", "3", "4")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("99.seed", "does not begin with a node of the workflow.*10, 10.1, 3"),
        ("seed", "write NODE.INPUT"),
        ("10.imag", "did you mean 10.image"),
        ("10.1.zzz", "it has image, upscale_method"),
    ],
)
def test_places_that_are_not_there(place: str, words: str) -> None:
    with pytest.raises(GenyardError, match=words) as caught:
        own_graph(GRAPH, values={place: 1})
    assert caught.value.code is Code.request_invalid
    assert caught.value.field == f"parameters.values.{place}"


def test_a_place_is_given_once() -> None:
    with pytest.raises(GenyardError, match="given twice"):
        own_graph(GRAPH, values={"10.image": "x.png"}, media={"photo": "10.image"})


def test_the_longest_node_id_wins() -> None:
    assert find_site(GRAPH, "10.1.width", field="f") == Site(node="10.1", input="width")
