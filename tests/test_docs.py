"""What the docs say is what the code does: generated pages are current, links lead somewhere, commands are understood,
settings are valid."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer

from genyard.frontends.cli import build_cli
from genyard.settings import load_settings

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["errors.md", "operations.md", "models.md", "providers.md", "http.md"])
def test_generated_pages_are_current(name: str) -> None:
    module = generator()
    written = (ROOT / "docs" / "reference" / name).read_text()
    assert written == module.NOTE + module.PAGES[name](), "run python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


COMMANDS = [
    pytest.param(line, id=f"{page.stem}: {line[:60]}")
    for page in PAGES
    for block in blocks(page, "sh")
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("genyard ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_understood(line: str) -> None:
    """As far as their words go: nothing is run."""
    _, name, *_ = words = shlex.split(line, comments=True)
    command = typer.main.get_command(build_cli(name))
    left = words[1:]
    while True:
        context = command.make_context(command.name, [*left])
        if not hasattr(command, "resolve_command"):
            return
        left = [*context._protected_args, *context.args]
        if not left:
            return
        _, command, left = command.resolve_command(context, left)
        assert command is not None, line


SETTINGS = [
    pytest.param(block, id=f"{page.stem} {number}")
    for page in PAGES
    for number, block in enumerate(blocks(page, "toml"))
    if not block.startswith("# bindings/")
]


@pytest.mark.parametrize("block", SETTINGS)
def test_settings_in_the_pages_are_valid(block: str, tmp_path: Path) -> None:
    (tmp_path / "genyard.toml").write_text(block)
    assert load_settings({}, tmp_path).endpoints


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_environment_names_in_the_pages_are_known(page: Path) -> None:
    known = {line.partition("=")[0] for line in (ROOT / ".env.example").read_text().splitlines()}
    prefixes = ("RUNPOD_", "SCENARIO_", "REPLICATE_", "COMFYUI_", "GENYARD_", "R2_", "S3_", "IMAGE_")
    named = {
        name
        for name in re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)", page.read_text())
        if name.startswith(prefixes) and not name.endswith("_")
    }
    for block in blocks(page, "sh"):
        named |= {line.partition("=")[0] for line in block.splitlines() if re.match(r"[A-Z0-9_]+=", line)}
    assert named - known - {"KEY"} <= {"GENYARD_LIVE_COMFYUI", "GENYARD_LIVE_COMFYUI_START"}


def test_every_environment_name_is_among_the_settings() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text()
    names = re.findall(r"^([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE)
    assert names
    assert [name for name in names if f"`{name}`" not in page] == []
