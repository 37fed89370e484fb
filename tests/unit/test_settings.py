"""The plans' environment names work as they are; wrong values name the variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from genyard.errors import Code, GenyardError
from genyard.settings import load_settings


def test_nothing_configured_means_the_built_in_renderer(tmp_path: Path) -> None:
    settings = load_settings({}, tmp_path)
    assert settings.provider == "preview"
    assert list(settings.endpoints) == ["preview"]


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"COMFYUI_ENDPOINT": "http://127.0.0.1:8188/"}, "http://127.0.0.1:8188"),
        (
            {"COMFYUI_ENDPOINT": "https://abc-8188.proxy.runpod.net/api"},
            "https://abc-8188.proxy.runpod.net/api",
        ),
        ({"COMFYUI_API_URL": "http://gpu", "COMFYUI_API_PORT": "8188"}, "http://gpu:8188"),
        ({"COMFYUI_API_URL": "gpu:9000"}, "http://gpu:9000"),
    ],
)
def test_comfyui_addresses(environ: dict[str, str], url: str, tmp_path: Path) -> None:
    assert load_settings(environ, tmp_path).endpoints["comfyui"].url == url


def test_the_plans_time_limits(tmp_path: Path) -> None:
    default = load_settings({"COMFYUI_ENDPOINT": "http://gpu"}, tmp_path).endpoints["comfyui"].timeouts
    assert (default.connect, default.image, default.video, default.download, default.poll) == (
        10,
        200,
        400,
        60,
        3,
    )
    environ = {"COMFYUI_ENDPOINT": "http://gpu", "COMFYUI_TIMEOUT": "90", "COMFYUI_POLL_INTERVAL": "0.5"}
    changed = load_settings(environ, tmp_path).endpoints["comfyui"].timeouts
    assert (changed.image, changed.video, changed.poll) == (90, 90, 0.5)


def test_secrets_do_not_show(tmp_path: Path) -> None:
    environ = {
        "COMFYUI_ENDPOINT": "http://gpu",
        "COMFYUI_API_KEY": "hush-hush",
        "DATABASE_URL": "postgresql://u:hush-hush@db/x",
        "R2_BUCKET": "pictures",
        "R2_SECRET_ACCESS_KEY": "hush-hush",
    }
    assert "hush" not in repr(load_settings(environ, tmp_path))


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"IMAGE_GENERATION_PROVIDER": "dalle"}, "IMAGE_GENERATION_PROVIDER"),
        ({"GENYARD_PORT": "eighty"}, "GENYARD_PORT"),
        ({"GENYARD_PORT": "99999"}, "GENYARD_PORT"),
        ({"COMFYUI_ENDPOINT": "http://gpu", "COMFYUI_POLL_INTERVAL": "-1"}, "COMFYUI_POLL_INTERVAL"),
    ],
)
def test_a_wrong_value_names_its_variable(environ: dict[str, str], named: str, tmp_path: Path) -> None:
    with pytest.raises(GenyardError) as caught:
        load_settings(environ, tmp_path)
    assert caught.value.code is Code.settings_invalid
    assert caught.value.field == named


def test_a_broken_or_unknown_file(tmp_path: Path) -> None:
    (tmp_path / "genyard.toml").write_text("this is not toml")
    with pytest.raises(GenyardError, match=r"genyard\.toml"):
        load_settings({}, tmp_path)
    (tmp_path / "genyard.toml").write_text("[endpoints.gpu]\nkind = 'comfyui'\nspeed = 'fast'\n")
    with pytest.raises(GenyardError, match=r"endpoints\.gpu\.speed"):
        load_settings({}, tmp_path)


def test_the_file_configures_more_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / "genyard.toml").write_text(
        "[endpoints.big]\nkind = 'comfyui'\nurl = 'http://big:8188'\nconcurrency = 2\n"
        "files = { 'a.safetensors' = 'b.safetensors' }\n[server]\nport = 9000\n"
    )
    settings = load_settings({"GENYARD_PORT": "9001"}, tmp_path)
    assert settings.endpoints["big"].files == {"a.safetensors": "b.safetensors"}
    assert settings.server.port == 9001
