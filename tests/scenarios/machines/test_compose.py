"""compose.yaml and the Dockerfile: what they say is true, and the same processes work together without containers."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
import yaml

from conftest import MakeSettings
from genyard.settings import load_settings
from support.processes import environment, running, stopped

ROOT = Path(__file__).parents[3]
GIVEN = {
    "POSTGRES_PASSWORD": "hush",
    "AWS_ACCESS_KEY_ID": "GKhush",
    "AWS_SECRET_ACCESS_KEY": "hush-hush",
    "GARAGE_RPC_SECRET": "hush",
}
DRAGON = {"operation": "txt2img", "parameters": {"prompt": "a red dragon", "width": 64, "height": 64}}


def composed(given: Mapping[str, str]) -> dict[str, Any]:
    """As `docker compose config` fills it in; a variable that must be given and is not raises KeyError."""

    def fill(found: re.Match[str]) -> str:
        name, operator, default = found.groups()
        return given.get(name, default) if operator == ":-" else given[name]

    text = re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", fill, (ROOT / "compose.yaml").read_text())
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


def example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z0-9_]+=", line))


@pytest.mark.parametrize("name", GIVEN)
def test_no_secret_has_a_default(name: str) -> None:
    assert example()[name] == ""
    with pytest.raises(KeyError, match=name):
        composed({one: value for one, value in GIVEN.items() if one != name})


def test_all_of_genyard_has_the_same_settings_and_they_are_known(tmp_path: Path) -> None:
    services = composed(GIVEN)
    api, worker = services["api"], services["worker"]
    assert api["environment"] == worker["environment"]
    assert set(api["environment"]) <= set(example())
    settings = load_settings(api["environment"], tmp_path)
    assert settings.storage.bucket == services["store"]["environment"]["GARAGE_DEFAULT_BUCKET"]
    assert f's3_region = "{settings.storage.region}"' in (ROOT / "deploy" / "garage.toml").read_text()


def test_the_image_has_what_it_needs_and_nothing_else() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if re.match(r"COPY (?!--from)", line) for word in line.split()[1:-1]]
    let_in = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line[:1] == "!"
    }
    assert set(copied) == let_in
    assert all((ROOT / name).exists() for name in copied)
    assert (
        "USER genyard"
        in lines[next(n for n, line in enumerate(lines) if line.startswith("FROM python", 0)) :]
    )


async def test_the_databases_options_are_known(postgres: str) -> None:
    command = composed(GIVEN)["postgres"]["command"]
    named = {word.partition("=")[0] for word in command if "=" in word}
    async with await psycopg.AsyncConnection.connect(postgres) as connection:
        rows = await connection.execute("SELECT name FROM pg_settings WHERE name = ANY(%s)", (list(named),))
        assert {row[0] for row in await rows.fetchall()} == named


def test_docker_compose_understands_it(tmp_path: Path) -> None:
    command = next((found for found in (["docker", "compose"], ["docker-compose"]) if works(found)), None)
    if command is None:
        pytest.skip("no docker compose here")
    shutil.copy(ROOT / "compose.yaml", tmp_path)
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in GIVEN.items()))
    told = subprocess.run([*command, "config", "--quiet"], cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


def works(command: list[str]) -> bool:
    with contextlib.suppress(OSError):
        told = subprocess.run([*command, "version", "--short"], capture_output=True, text=True)
        return told.returncode == 0 and told.stdout.startswith(("2", "v2", "3", "4", "5"))
    return False


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """The bucket of compose.yaml, by another server of the same protocol."""
    service = composed(GIVEN)["store"]["environment"]
    (tmp_path / "store" / service["GARAGE_DEFAULT_BUCKET"]).mkdir(parents=True)
    keys = f"{service['GARAGE_DEFAULT_ACCESS_KEY']},{service['GARAGE_DEFAULT_SECRET_KEY']}"
    program = Path(sys.executable).with_name("rclone")
    process = subprocess.Popen(
        [program, "serve", "s3", tmp_path / "store", "--addr", "127.0.0.1:0", "--auth-key", keys],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        url = next(
            found[0] for line in process.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line))
        )
        yield url
    finally:
        process.terminate()
        process.stderr.close()
        process.wait(10)


@pytest.mark.long
async def test_the_same_processes_work_together_without_containers(
    make_settings: MakeSettings, store: str, tmp_path: Path
) -> None:
    """The very commands and environment of compose.yaml; the addresses alone are others."""
    services = composed(GIVEN)
    api, worker = services["api"], services["worker"]
    here = {
        "S3_ENDPOINT": store,
        "GENYARD_DATA": str(tmp_path),
        "GENYARD_HOST": "127.0.0.1",
        "GENYARD_PORT": "0",
    }
    base = environment(make_settings())
    environ = {
        **base,
        **api["environment"],
        **here,
        "DATABASE_URL": base["DATABASE_URL"],
        "GENYARD_LOG_JSON": "",
    }
    assert worker["deploy"]["replicas"] == 2
    async with (
        running("keys", "create", "me", "--admin", environ=environ, until="gy_") as keys,
        running(*worker["command"], environ=environ, until="worker ready") as first,
        running(*worker["command"], environ=environ, until="worker ready"),
        running(*api["command"], environ=environ, until="is up at") as served,
        aiohttp.ClientSession() as session,
    ):
        key = re.search(r"gy_\S+", keys.first_words)[0]  # type: ignore[attr-defined,index]
        url = re.search(r"http://\S+", served.first_words)[0]  # type: ignore[attr-defined,index]
        headers = {"Authorization": f"Bearer {key}"}
        for way in ("both", "one"):
            async with session.post(f"{url}/v1/jobs?wait=30", json=DRAGON, headers=headers) as answer:
                job = await answer.json()
            assert job["state"] == "succeeded", job
            async with session.get(f"{url}{job['outputs'][0]['url'].removeprefix(url)}") as answer:
                assert (await answer.read()).startswith(b"\x89PNG")
            if way == "both":
                assert await stopped(first) == 0
    assert list((tmp_path / "store").rglob("*/*")), "it lies in the bucket"
