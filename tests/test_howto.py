"""The how-tos do what they say: files are taken out of the pages and run on the emulators."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import MakeSettings
from genyard.app import working
from genyard.catalog import load_catalog
from genyard.errors import Code, GenyardError
from genyard.testing.comfyui.catalogue import default_files
from genyard.testing.emulators import Emulators
from genyard.testing.runpod import Setup
from scenarios.places.bench import Bench, made, went_to

HOWTO = Path(__file__).parent.parent / "docs" / "howto"


def files_of(page: str) -> dict[str, str]:
    """The TOML files that a page shows in full: their first line says where they belong."""
    text = (HOWTO / page).read_text()
    shown = re.findall(r"^```toml\n# (\S+\.toml)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return dict(shown)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lay_out(folder: Path, page: str) -> dict[str, str]:
    files = files_of(page)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return files


async def test_a_model_is_added_to_runpod_by_one_file(make_settings: MakeSettings, folder: Path) -> None:
    files = lay_out(folder, "add-a-model.md")
    async with Emulators(runpod={"endpoints": {"abc123xyz": Setup(kind="sdxl")}}) as emulators:
        bench = Bench(make_settings, folder, emulators)
        env = {"RUNPOD_API_KEY": emulators.runpod.key}
        async with bench.start(env, files["genyard.toml"]) as product, working(product):
            drawing = {"operation": "txt2img", "parameters": {"prompt": "a fox", "width": 512, "height": 512}}
            job = await made(product, drawing)
            went_to(job, "house-style")
            assert job.outputs[0].facts["model"] == "house-style"
            [attempt] = job.attempts
            assert attempt.cost is not None
            assert attempt.cost.source == "computed"
            planned = await product.studio.estimate(drawing)
            assert planned.cost is not None
            assert planned.cost.usd == pytest.approx(6.0 * 0.00031)
            for name, wrong in (("width", 520), ("count", 5), ("sampler", "euler")):
                with pytest.raises(GenyardError) as refused:
                    await made(product, {**drawing, "parameters": {**drawing["parameters"], name: wrong}})
                assert (refused.value.code, refused.value.field) == (
                    Code.request_unsupported,
                    f"parameters.{name}",
                )
    assert emulators.runpod.counts.total_runs == 1


async def test_a_checkpoint_is_added_to_comfyui_by_one_file(
    make_settings: MakeSettings, folder: Path
) -> None:
    lay_out(folder, "add-a-model.md")
    there = default_files()
    there["checkpoints"] = (*there["checkpoints"], "juggernautXL_v9.safetensors")
    async with Emulators(comfyui={"files": there}) as emulators:
        bench = Bench(make_settings, folder, emulators)
        env = {"IMAGE_GENERATION_PROVIDER": "comfyui", "COMFYUI_ENDPOINT": emulators.comfyui.url}
        async with bench.start({**env, "GENYARD_BINDINGS": "bindings"}) as product, working(product):
            asked = {"operation": "txt2img", "model": "juggernaut", "parameters": {"prompt": "a fox"}}
            went_to(await made(product, asked), "comfyui")


def test_a_file_of_ones_own_replaces_the_one_that_ships(tmp_path: Path) -> None:
    own = files_of("add-a-model.md")["bindings/runpod/txt2img.house-style.toml"]
    (tmp_path / "runpod").mkdir()
    (tmp_path / "runpod" / "txt2img.sdxl.toml").write_text(own.replace('"house-style"', '"sdxl"'))
    (tmp_path / "runpod" / "txt2img.house-style.toml").write_text(
        own.replace("[defaults]", "default = true\n\n[defaults]", 1)
    )
    catalog = load_catalog(tmp_path)
    assert catalog.bindings["runpod/txt2img.sdxl"].title == "Our house style on RunPod"
    assert [one.model for one in catalog.of("runpod", "txt2img") if one.default] == ["house-style"]
    assert len(catalog.bindings) == len(load_catalog().bindings) + 1


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("runpod/txt2img.other.toml", 'kind = "runpod"', "name and content must agree|Field required"),
        ("runpodd/txt2img.other.toml", "", "not a kind of bindings"),
        ("runpod/paint.house-style.toml", 'operation = "paint"', "unknown operation"),
    ],
)
def test_a_wrong_file_stops_genyard_at_the_start(tmp_path: Path, name: str, text: str, told: str) -> None:
    own = files_of("add-a-model.md")["bindings/runpod/txt2img.house-style.toml"]
    key = text.split(" ", 1)[0]
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(re.sub(rf"^{key} = .*$", text, own, flags=re.MULTILINE) if key else own)
    with pytest.raises(GenyardError, match=told) as wrong:
        load_catalog(tmp_path)
    assert wrong.value.code is Code.settings_invalid
    with pytest.raises(GenyardError, match="GENYARD_BINDINGS"):
        load_catalog(tmp_path / "nowhere")


def python_of(page: Path) -> str:
    [code] = re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return str(code)


async def test_a_request_is_pinned_as_the_page_says(
    make_settings: MakeSettings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [_, toml] = re.findall(
        r"^```toml\n(.*?)^```",
        (HOWTO / "choose-a-place.md").read_text(),
        flags=re.MULTILINE | re.DOTALL,
    )
    endpoints = {name: Setup(kind="flux") for name in ("abc123", "def456")}
    async with Emulators(runpod={"endpoints": endpoints}) as emulators:
        (folder / "genyard.toml").write_text(toml)
        settings = make_settings(RUNPOD_API_KEY=emulators.runpod.key, **emulators.addresses)
        assert settings.database_url is not None
        monkeypatch.setenv("GENYARD_DATA", str(folder))
        monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
        monkeypatch.setenv("RUNPOD_API_KEY", emulators.runpod.key)
        monkeypatch.setenv("RUNPOD_BASE_URL", emulators.addresses["RUNPOD_BASE_URL"])
        page: dict[str, Any] = {}
        exec(python_of(HOWTO / "choose-a-place.md"), page)
        assert await page["on_the_fast_one"]() == "succeeded"
        taken = {name: len(one.jobs) for name, one in emulators.runpod.endpoints.items()}
        assert taken == {"abc123": 1, "def456": 0}


async def test_the_readmes_program_leaves_a_picture(make_settings: MakeSettings, folder: Path) -> None:
    url = make_settings().database_url
    assert url is not None
    environment = {
        "GENYARD_DATA": str(folder),
        "DATABASE_URL": url.get_secret_value(),
        "PATH": "/usr/bin:/bin",
    }
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", python_of(HOWTO.parent.parent / "README.md"), cwd=folder, env=environment
    )
    assert await asyncio.wait_for(program.wait(), 60) == 0
    assert list((folder / "out").glob("*.png"))


async def test_an_owner_pays_as_the_page_says(
    make_settings: MakeSettings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(folder, "credits.md")
    url = make_settings().database_url
    assert url is not None
    monkeypatch.setenv("GENYARD_DATA", str(folder))
    monkeypatch.setenv("DATABASE_URL", url.get_secret_value())
    page: dict[str, Any] = {}
    exec(python_of(HOWTO / "credits.md"), page)
    assert await page["buy_and_spend"]() == 6
