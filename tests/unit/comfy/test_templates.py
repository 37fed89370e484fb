"""Every template that ships: its places exist, and a server like the recorded one can run it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from genyard.catalog import load_catalog
from genyard.comfy import Catalogue, ProblemKind, check, fill, fuse, load_template, template_names
from genyard.comfy.fusing import Part
from genyard.comfy.graph import link_of
from genyard.comfy.template import read_template
from genyard.errors import Code, GenyardError
from genyard.operations import OPERATIONS

TEMPLATES = template_names()
SAMPLE = {"int": 64, "float": 12.0, "text": "a fox"}
CHOICES = {"sampler": "euler", "scheduler": "simple", "colors": 16, "layers": 3, "strength": 0.5, "scale": 4}


def sample_values(name: str) -> dict[str, Any]:
    return {
        key: CHOICES.get(key, SAMPLE[parameter.type])
        for key, parameter in load_template(name).parameters.items()
    }


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_filled_template_lacks_nothing_but_model_files(name: str, catalogue: Catalogue) -> None:
    graph = fuse([Part(name="step", graph=fill(load_template(name), values=sample_values(name)))])
    problems = check(graph.workflow, catalogue, uploads=graph.uploads)
    assert {p.kind for p in problems} <= {ProblemKind.missing_file}, problems


@pytest.mark.parametrize("name", TEMPLATES)
def test_outputs_are_saved_by_the_node_and_from_the_socket_that_the_manifest_names(
    name: str, catalogue: Catalogue
) -> None:
    template = load_template(name)
    for output in template.outputs:
        save = template.workflow[output.save]
        node_class = catalogue.find(save["class_type"])
        giver = catalogue.find(template.workflow[output.socket.node]["class_type"])
        assert node_class is not None and node_class.saves
        assert giver is not None and giver.outputs[output.socket.slot] == output.type
        assert output.socket in {link_of(value) for value in save["inputs"].values()}
        assert "filename_prefix" in save["inputs"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_manifests_speak_the_operations_words(name: str) -> None:
    template = load_template(name)
    operation = OPERATIONS[template.operation]
    assert set(template.parameters) <= set(operation.parameters.model_fields)
    assert set(template.inputs) <= {role.name for role in operation.inputs}
    assert {output.role for output in template.outputs} == {operation.output}


@pytest.mark.parametrize("name", TEMPLATES)
def test_files_are_in_the_list_of_a_loader_and_splices_have_their_types(
    name: str, catalogue: Catalogue
) -> None:
    template = load_template(name)

    def type_of(socket: Any) -> str:
        node_class = catalogue.find(template.workflow[socket.node]["class_type"])
        assert node_class is not None
        return str(node_class.outputs[socket.slot])

    for file in template.files.values():
        choices = catalogue.choices(template.workflow[file.site.node]["class_type"], file.site.input)
        assert choices is not None
    if template.loras:
        assert type_of(template.loras.model) == "MODEL"
        assert template.loras.clip is None or type_of(template.loras.clip) == "CLIP"
    if template.controls:
        assert type_of(template.controls.positive) == type_of(template.controls.negative) == "CONDITIONING"
        assert template.controls.vae is None or type_of(template.controls.vae) == "VAE"


def test_every_binding_finds_its_templates_and_agrees_with_them() -> None:
    bindings = list(load_catalog().of("comfyui"))
    assert {binding.operation for binding in bindings} == set(OPERATIONS)
    used = set()
    for binding in bindings:
        templates = [load_template(name) for name in binding.templates]
        used |= set(binding.templates)
        assert bool(templates) == (binding.operation != "run_workflow")
        names = {key for template in templates for key in template.files}
        assert {key for key in binding.files if not key.startswith("controlnet.")} <= names, binding.key
        for template in templates:
            assert template.operation == binding.operation
            assert set(binding.defaults) <= set(template.parameters)
    assert used == set(TEMPLATES)


def test_one_default_per_operation() -> None:
    for operation in OPERATIONS:
        defaults = [b for b in load_catalog().of("comfyui", operation) if b.default]
        assert len(defaults) == 1, operation


def test_the_default_motion_lasts_as_long_as_its_graph_says() -> None:
    workflow = load_template("liveportrait-default-motion").workflow
    command = workflow["33"]["inputs"]["command"]
    lines = [re.fullmatch(r"(\d)=(\d+):(\d+)", line) for line in command.split("\n")]
    assert all(lines)
    frames = sum(int(line[2]) + int(line[3]) for line in lines if line)
    assert frames == 250
    assert command.splitlines()[0].startswith("0=") and command.splitlines()[-1].startswith("0=")
    longest = fill(load_template("liveportrait-default-motion"), values={"seconds": 20.0}).workflow
    assert longest["35"]["inputs"]["length"] == 500 == frames * longest["34"]["inputs"]["amount"]


MANIFEST = b"""
title = "t"
version = 1
operation = "txt2img"
[parameters]
prompt = { type = "text", sites = ["%s"] }
[[outputs]]
role = "image"
save = "9"
socket = ["9", 0]
"""


@pytest.mark.parametrize(
    ("workflow", "manifest", "words"),
    [
        (b"{}", MANIFEST % b"6.text", "no input 6.text"),
        (b'{"6": {"class_type": "A", "inputs": {"text": ""}}}', MANIFEST % b"6.text", "no node 9"),
        (b"[", MANIFEST % b"6.text", "JSONDecodeError"),
        (b"{}", b"title = 1 =", "TOMLDecodeError"),
        (b"{}", b'title = "t"', "version"),
    ],
)
def test_a_wrong_template_is_told_at_once(workflow: bytes, manifest: bytes, words: str) -> None:
    with pytest.raises(GenyardError, match=words) as caught:
        read_template("broken", workflow, manifest)
    assert caught.value.code is Code.settings_invalid


def test_an_unknown_template() -> None:
    with pytest.raises(GenyardError, match="there is no template 'nope'; there are flux-"):
        load_template("nope")
