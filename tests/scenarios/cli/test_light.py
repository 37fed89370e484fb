"""What needs no product: speed of --help, tables that must be complete, parsing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from genyard.errors import Code, GenyardError
from genyard.frontends.cli import EXIT_STATUS, build_cli
from genyard.frontends.cli import options as o
from genyard.frontends.cli.files import choose_target, slug
from genyard.frontends.cli.making import MAKING, workflow_step
from genyard.frontends.cli.table import COMMANDS
from genyard.operations import OPERATIONS

HEAVY = (
    "numpy",
    "cv2",
    "PIL",
    "av",
    "psycopg",
    "pydantic",
    "rich",
    "asyncio",
    "aiohttp",
    "fastapi",
    "structlog",
)
#: Parameters that are not one option of their own name: they come from several words, or from a file.
COMPOSED = {
    "loras": "lora",
    "controlnets": "control",
    "workflow": "document",
    "values": "set_values",
    "media": "media",
}


def test_help_imports_nothing_heavy() -> None:
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "genyard", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines()}
    assert "typer" in imported
    assert imported.isdisjoint(HEAVY)
    assert "generate" in told.stdout


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_commands_cover_every_parameter_and_input(name: str) -> None:
    operation = OPERATIONS[name]
    making = next(one for one in MAKING.values() if one.operation == name)
    parameters = {o.PARAMETERS[option] for option in making.takes if option in o.PARAMETERS}
    parameters |= {parameter for parameter, option in COMPOSED.items() if option in making.takes}
    assert parameters == set(operation.parameters.model_fields)
    roles = {o.INPUTS[option] for option in making.takes if option in o.INPUTS}
    assert roles | {"control"} == {role.name for role in operation.inputs} | {"control"}


def test_the_table_of_contents_is_true() -> None:
    """Each module has just the commands that the table says are in it."""
    contents: Any = typer.main.get_command(build_cli())
    assert set(contents.commands) == set(COMMANDS)
    for name, (module, summary) in COMMANDS.items():
        built: Any = typer.main.get_command(build_cli(name))
        assert set(built.commands) == {one for one, (other, _) in COMMANDS.items() if other == module}
        assert built.commands[name].help == summary


def test_every_code_has_an_exit_status() -> None:
    assert set(EXIT_STATUS) == set(Code)
    assert all(0 < status < 126 for status in EXIT_STATUS.values())


def test_words_become_parameters() -> None:
    assert o.parse_size("768x512") == o.parse_size("768×512") == (768, 512)
    assert o.parse_lora("pixel.safetensors:0.8") == {"name": "pixel.safetensors", "strength": 0.8}
    assert o.parse_lora("a:b") == {"name": "a:b"}
    assert o.parse_control("canny:edges.png:0.5") == ({"kind": "canny", "strength": 0.5}, "edges.png")
    assert o.parse_control("depth:C:/x.png") == ({"kind": "depth"}, "C:/x.png")
    step = workflow_step({}, ["3.seed=7", "6.text=a cat"], ["photo=a=b@c.png@12.image"])
    assert step["parameters"]["values"] == {"3.seed": 7, "6.text": "a cat"}
    assert step["parameters"]["media"] == {"photo": "12.image"}
    assert step["inputs"] == {"photo": ["a=b@c.png"]}


@pytest.mark.parametrize("text", ["", "512", "x512", "12x", "axb", "-1x5"])
def test_a_size_that_is_none(text: str) -> None:
    with pytest.raises(GenyardError, match="768x512") as told:
        o.parse_size(text)
    assert (told.value.code, told.value.field) == (Code.request_invalid, "--size")


def test_where_results_go(tmp_path: Path) -> None:
    assert choose_target(None).folder == Path()
    assert choose_target(f"{tmp_path}/a.PNG").file == tmp_path / "a.PNG"
    assert choose_target(f"{tmp_path}/new/b").folder == tmp_path / "new" / "b"
    assert choose_target(f"{tmp_path}/all.zip").archive
    (tmp_path / "file").write_text("")
    with pytest.raises(GenyardError, match="cannot write"):
        choose_target(f"{tmp_path}/file/x.png")


def test_names_are_made_of_words() -> None:
    assert slug("A red: dragon / über alles!") == "a-red-dragon-über-alles"
    assert slug("../../etc/passwd") == "etc-passwd"
    assert slug("???") == "picture"
    assert len(slug("word " * 40)) <= 48
