"""check(): all problems in one report, agreeing with what ComfyUI refused and what it ran."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from genyard.comfy import Catalogue, ProblemKind, Site, check, error_of
from genyard.errors import Code

FILES = {ProblemKind.missing_file}


def _graph() -> dict[str, Any]:
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {
            "class_type": "ImageScale",
            "inputs": {
                "image": ["2", 0],
                "upscale_method": "area",
                "width": 32,
                "height": 32,
                "crop": "disabled",
            },
        },
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
    }


def _kinds(workflow: dict[str, Any], catalogue: Catalogue, **options: Any) -> list[tuple[str, Any, Any]]:
    return [(p.kind.value, p.node, p.input) for p in check(workflow, catalogue, **options)]


def test_the_naive_flux_workflow_gets_all_its_errors_in_one_report(
    catalogue: Catalogue, recorded: dict[str, Any]
) -> None:
    problems = check(recorded["naive"], catalogue)
    assert [(p.kind, p.node, p.input) for p in problems] == [
        (ProblemKind.missing_node, "6", "clip"),
        (ProblemKind.missing_input, "10", "weight_dtype"),
        (ProblemKind.missing_input, "11", "type"),
        (ProblemKind.bad_value, "17", "seed"),
    ]
    assert "node 4, which is not in the graph" in problems[0].message
    assert "one of default, fp8_e4m3fn" in problems[1].message
    assert "flux" in problems[2].message
    assert '"{{SEED}}", which is not a whole number' in problems[3].message


def test_the_naive_flux_workflow_on_a_server_without_its_files(
    object_info: dict[str, Any], recorded: dict[str, Any]
) -> None:
    bare = copy.deepcopy(object_info)
    bare["UNETLoader"]["input"]["required"]["unet_name"][0] = []
    bare["VAELoader"]["input"]["required"]["vae_name"][0] = ["AE.safetensors"]
    problems = check(recorded["naive"], Catalogue(bare))
    assert len(problems) == 6
    told = {p.node: p for p in problems if p.kind is ProblemKind.missing_file}
    assert "the folder is empty" in told["10"].message
    assert told["12"].nearest == ("AE.safetensors",)


def test_what_comfyui_refused_is_reported_at_the_same_place(
    catalogue: Catalogue, recorded: dict[str, Any]
) -> None:
    for name, row in recorded["refused"].items():
        problems = check(row["prompt"], catalogue)
        assert problems, name
        assert {p.node for p in problems if p.node} >= {
            node for node, errors in row["node_errors"].items() for error in errors if error["input"]
        } - ({"6"} if name == "naive_flux_error_1" else set()), name
        for node, errors in row["node_errors"].items():
            for error in errors:
                # what ComfyUI says of the node behind ("inner validation") is told where it is wrong
                if error["input"] and error["type"] != "exception_during_inner_validation":
                    assert (node, error["input"]) in {(p.node, p.input) for p in problems}, name


def test_what_comfyui_ran_has_no_problems_but_file_names(
    catalogue: Catalogue, recorded: dict[str, Any]
) -> None:
    for name, graph in recorded["ran"].items():
        texts = {Site(node=node, input="image") for node in graph}  # two load an uploaded text file
        problems = check(graph, catalogue, uploads=texts)
        assert {p.kind for p in problems} <= FILES, (name, problems)


@pytest.mark.parametrize("value", ["42", 3.7, True, " 7 ", 64])
def test_values_that_comfyui_converts_are_left_alone(catalogue: Catalogue, value: object) -> None:
    graph = _graph()
    graph["3"]["inputs"]["width"] = value
    assert check(graph, catalogue) == ()


@pytest.mark.parametrize(
    ("place", "value", "kind", "words"),
    [
        ("3.width", None, "bad_value", "not a whole number"),
        ("3.width", "{{W}}", "bad_value", "not a whole number"),
        ("3.width", 99999999, "out_of_range", "above the largest allowed, 16384"),
        ("3.width", -5, "out_of_range", "below the smallest allowed, 0"),
        ("3.crop", "centre", "not_in_list", "disabled, center"),
        ("3.image", "foo", "link_needed", "needs a link to a node that gives IMAGE"),
        ("3.image", ["2"], "bad_link", '["4", 0]'),
        ("3.image", [2, 0], "bad_link", "node id as text"),
        ("3.image", ["2", 1], "bad_slot", "the outputs 0 IMAGE"),
        ("3.image", ["99", 0], "missing_node", "1, 2, 3, 4"),
        ("3.image", ["4", 0], "cycle", "circle"),
    ],
)
def test_one_wrong_value(catalogue: Catalogue, place: str, value: object, kind: str, words: str) -> None:
    graph = _graph()
    node, name = place.split(".")
    graph[node]["inputs"][name] = value
    problems = check(graph, catalogue)
    assert [p.kind.value for p in problems] == [kind]
    assert words in problems[0].message
    assert problems[0].message.isprintable()


@pytest.mark.parametrize(
    ("link", "kind"), [(["1", 5], "bad_slot"), (["99", 0], "missing_node"), (["1", 0], None)]
)
def test_links_of_inputs_that_nobody_declares_are_looked_at(
    catalogue: Catalogue, link: list[Any], kind: str | None
) -> None:
    """ComfyUI 0.33 accepts these, and its executor thread dies of the first (IndexError): seen on a real one."""
    graph = _graph()
    graph["3"]["inputs"]["undeclared"] = link
    assert [p.kind.value for p in check(graph, catalogue)] == ([kind] if kind else [])


def test_link_types(catalogue: Catalogue) -> None:
    graph = _graph()
    graph["5"] = {"class_type": "CLIPTextEncode", "inputs": {"text": "x", "clip": ["1", 0]}}
    graph["6"] = {"class_type": "PreviewAny", "inputs": {"source": ["5", 0]}}  # takes *
    problems = check(graph, catalogue)
    assert [(p.kind.value, p.node, p.input) for p in problems] == [("type_mismatch", "5", "clip")]
    assert "needs CLIP, but takes IMAGE from output 0 of node 1 (EmptyImage)" in problems[0].message
    graph["5"] = {"class_type": "GetImageSize", "inputs": {"image": ["1", 0]}}
    graph["7"] = {
        "class_type": "ComfyMathExpression",
        "inputs": {"expression": "a", "values.a": ["5", 0]},  # INT into FLOAT,INT,BOOLEAN
    }
    graph["3"]["inputs"]["width"] = ["7", 1]
    assert check(graph, catalogue) == ()


def test_every_missing_node_is_named_with_its_pack(catalogue: Catalogue) -> None:
    graph = _graph()
    graph["2"]["class_type"] = "ImageInvrt"
    graph["3"]["class_type"] = "VHS_LoadVideo"
    graph["9"] = {"class_type": "Qzzzz", "inputs": {}}
    problems = check(graph, catalogue)
    assert [p.kind for p in problems] == [ProblemKind.unknown_class] * 3
    assert "did you mean ImageInvert" in problems[0].message
    assert "ComfyUI-VideoHelperSuite" in problems[1].message
    assert "not installed" in problems[2].message
    assert error_of(problems).code is Code.provider_missing


def test_left_over_nodes_do_not_matter_unless_something_is_broken(catalogue: Catalogue) -> None:
    graph = _graph()
    graph["8"] = {"class_type": "KSampler", "inputs": {}}
    assert check(graph, catalogue) == ()
    del graph["3"]["inputs"]["image"]
    assert {p.node for p in check(graph, catalogue)} == {"3", "8"}


@pytest.mark.parametrize(
    ("graph", "kind"),
    [
        ({}, "no_output"),
        ({"1": {"class_type": "EmptyImage", "inputs": _graph()["1"]["inputs"]}}, "no_output"),
        ({"nodes": [], "links": []}, "ui_format"),
        ({"1": {"inputs": {}}}, "bad_node"),
        ({"1": "x"}, "bad_node"),
        ({"1": {"class_type": "SaveImage", "inputs": []}}, "bad_node"),
    ],
)
def test_graphs_that_are_none(catalogue: Catalogue, graph: dict[str, Any], kind: str) -> None:
    assert [p.kind.value for p in check(graph, catalogue)] == [kind]


def test_a_long_chain_and_a_long_circle_do_not_exhaust_the_stack(catalogue: Catalogue) -> None:
    graph = _graph()
    for index in range(10, 3010):
        giver = str(index - 1) if index > 10 else "1"
        graph[str(index)] = {"class_type": "ImageInvert", "inputs": {"image": [giver, 0]}}
    graph["2"]["inputs"]["image"] = ["3009", 0]
    assert check(graph, catalogue) == ()
    graph["10"]["inputs"]["image"] = ["2", 0]
    assert [p.kind.value for p in check(graph, catalogue)] == ["cycle"]


def test_uploads_are_not_looked_for(catalogue: Catalogue) -> None:
    graph = _graph()
    graph["2"] = {"class_type": "LoadImage", "inputs": {"image": "not-there-yet.png"}}
    assert _kinds(graph, catalogue) == [("not_in_list", "2", "image")]
    assert _kinds(graph, catalogue, uploads={Site(node="2", input="image")}) == []
    for known in ("sub/folder.png", "made.png [output]"):
        graph["2"]["inputs"]["image"] = known
        assert _kinds(graph, catalogue) == []


def test_dynamic_choices(catalogue: Catalogue) -> None:
    graph = _graph()
    graph["4"] = {"class_type": "SaveImageAdvanced", "inputs": {"images": ["3", 0], "filename_prefix": "x"}}
    assert _kinds(graph, catalogue) == [("missing_input", "4", "format")]
    graph["4"]["inputs"]["format"] = "png"
    assert _kinds(graph, catalogue) == [
        ("missing_input", "4", "format.bit_depth"),
        ("missing_input", "4", "format.input_color_space"),
    ]
    graph["4"]["inputs"] |= {"format.bit_depth": "12-bit", "format.input_color_space": "sRGB"}
    assert _kinds(graph, catalogue) == [("not_in_list", "4", "format.bit_depth")]
    graph["4"]["inputs"]["format"] = "jpeg"
    assert _kinds(graph, catalogue) == [("not_in_list", "4", "format")]


def test_the_error_tells_all_and_who_must_act(catalogue: Catalogue, recorded: dict[str, Any]) -> None:
    error = error_of(check(recorded["naive"], catalogue), field="parameters.workflow")
    assert error.code is Code.workflow_invalid
    assert error.field == "parameters.workflow"
    assert error.message.startswith("the workflow has 4 problems: ")
    assert len(error.context["problems"]) == 4
    assert error.context["problems"][3]["node"] == "17"
