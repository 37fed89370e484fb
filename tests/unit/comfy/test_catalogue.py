"""The three ways in which a server tells choices, and the one that grows."""

from __future__ import annotations

import pytest

from genyard.comfy import Catalogue


def test_all_three_encodings_of_choices_mean_the_same(catalogue: Catalogue) -> None:
    assert catalogue.choices("ImageScale", "crop") == ("disabled", "center")
    assert catalogue.choices("ImageQuantize", "dither")[:2] == ("none", "floyd-steinberg")  # type: ignore[index]
    assert catalogue.choices("SaveImageAdvanced", "format") == ("png", "exr")
    assert catalogue.choices("ImageScale", "width") is None
    assert catalogue.choices("NoSuchNode", "x") is None


def test_a_choice_brings_its_own_inputs_flat(catalogue: Catalogue) -> None:
    node = catalogue.find("SaveImageAdvanced")
    assert node is not None
    assert "format.bit_depth" not in node.inputs({})
    png = node.inputs({"format": "png"})
    assert png["format.bit_depth"].choices == ("8-bit", "16-bit")
    assert png["format.bit_depth"].required
    assert node.inputs({"format": "exr"})["format.bit_depth"].choices == ("32-bit float",)
    assert set(node.inputs({"format": "jpeg"})) == {"images", "filename_prefix", "format"}


def test_choices_nest(catalogue: Catalogue) -> None:
    node = catalogue.find("SaveVideo")
    assert node is not None
    deep = node.inputs({"format": "mp4", "format.codec": "h264", "format.codec.encoding": "re-encode"})
    assert deep["format"].required
    assert not deep["format.codec"].required, "ComfyUI runs a SaveVideo that gives the old `codec` instead"
    assert deep["format.codec.encoding.crf"].maximum == 51.0
    assert deep["format.codec.encoding.crf"].required


def test_growing_inputs_are_named_by_what_the_graph_gives(catalogue: Catalogue) -> None:
    node = catalogue.find("ComfyMathExpression")
    assert node is not None
    inputs = node.inputs({"expression": "a * c", "values.c": 1})
    assert [name for name in inputs if name.startswith("values.")] == ["values.a", "values.c"]
    assert inputs["values.a"].required
    assert not inputs["values.c"].required
    assert inputs["values.a"].type == "FLOAT,INT,BOOLEAN"


def test_limits_stay_exact_and_uploads_are_known(catalogue: Catalogue) -> None:
    sampler, loader = catalogue.find("KSampler"), catalogue.find("LoadVideo")
    assert sampler is not None and loader is not None
    assert sampler.inputs({})["seed"].maximum == 2**64 - 1
    assert sampler.outputs == ("LATENT",)
    assert not sampler.saves
    assert loader.inputs({})["file"].upload


@pytest.mark.parametrize(
    "entry", [{}, {"input": None}, {"input": {"required": {"x": []}}}, {"output": [["a"]]}]
)
def test_odd_entries_of_custom_packs_are_read_as_far_as_they_go(entry: dict[str, object]) -> None:
    node = Catalogue({"Odd": entry}).find("Odd")
    assert node is not None
    assert node.inputs({}).keys() <= {"x"}
