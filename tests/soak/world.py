"""Everything that runs during a soak: database, places, workers, an API; and the settings that join them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from genyard.app import Product, build
from genyard.settings import Settings, load_settings
from soak.machines import Given, Machine, Place, Postgres
from soak.place import PUBLIC
from soak.plan import PRICES, PRO_TXT2IMG
from support.processes import free_port

Json = Any
KINDS = ("comfyui", "comfyui-old", "runpod", "scenario", "replicate")

_TIMES = "timeouts = { poll = 0.5, image = 6, queue = 40, connect = 4, download = 5 }"
_PAID = "daily_cap_usd = 100000\nusd_per_second = 0.001\ncalls_per_second = 200"


def _runpod(name: str, endpoint_id: str, *more: str) -> str:
    head = (f"[endpoints.{name}]", 'kind = "runpod"', f'endpoint_id = "{endpoint_id}"')
    return "\n".join((*head, "concurrency = 12", _TIMES, _PAID, *more))


def _prices() -> str:
    rows = [
        f'[[credits.prices]]\noperation = "{operation}"\ncredits = {credits}\nper = "{per}"'
        for operation, (credits, per) in PRICES.items()
    ]
    rows.append(
        f'[[credits.prices]]\noperation = "txt2img"\ntier = "pro"\ncredits = {PRO_TXT2IMG}\nper = "output"'
    )
    rows.append('[[credits.prices]]\noperation = "*"\ncredits = 1')
    return "\n".join(["[credits]", "enabled = true", *rows])


def _comfyui(name: str, url: str) -> str:
    return f'[endpoints.{name}]\nkind = "comfyui"\nurl = "{url}"\nconcurrency = 6\n{_TIMES}'


def _endpoints(places: Mapping[str, Place]) -> dict[str, str]:
    """By name; of the places that there are."""
    cloud = f"concurrency = 12\n{_TIMES}\ndaily_cap_usd = 100000\ncalls_per_second = 200"
    made = {name: _comfyui(name, places[name].url) for name in ("comfyui", "comfyui-old") if name in places}
    if "runpod" in places:
        made |= {
            "flux": _runpod("flux", "emu-flux", 'models = ["flux.1-dev"]'),
            "links": _runpod("links", "emu-links", 'models = ["sdxl"]'),
            "background": _runpod("background", "emu-background", 'operations = ["remove_background"]'),
            "worker": _runpod("worker", "emu-worker", 'protocol = "comfyui"'),
            "public": _runpod("public", PUBLIC),
        }
    if "scenario" in places:
        made["scenario"] = f'[endpoints.scenario]\nkind = "scenario"\nusd_per_unit = 0.01\n{cloud}'
    if "replicate" in places:
        made["replicate"] = f'[endpoints.replicate]\nkind = "replicate"\n{cloud}'
    return {**made, "preview": '[endpoints.preview]\nkind = "preview"\nconcurrency = 2'}


def toml(places: Mapping[str, Place], receiver: str) -> str:
    """genyard.toml of every process."""
    endpoints = _endpoints(places)
    routes = {"txt2img": "flux", "remove_background": "background"} if "flux" in endpoints else {}
    return "\n\n".join(
        (
            'provider = "preview"',
            "\n".join(["[routes]", *(f'{name} = "{target}"' for name, target in routes.items())]),
            f'[webhooks]\nhosts = ["{receiver}"]',
            "[tiers.standard]\nat_once = 40\nqueue = 400",
            "[tiers.pro]\nat_once = 60\nqueue = 1000\npriority = 10",
            "[tiers.free]\nat_once = 6\nqueue = 60\npriority = -10\nmax_priority = 10",
            "[budgets]\ndaily_usd = 100000",
            _prices(),
            *endpoints.values(),
        )
    )


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How large a world is. `database`: None for a PostgreSQL of its own; `api`: with `genyard serve`, which works,
    too; `apart`: places are processes of their own."""

    workers: int = 3
    kinds: Sequence[str] = KINDS
    api: bool = True
    apart: bool = True
    database: str | None = None


@dataclass(kw_only=True)
class World:
    """`door`: the product as a Python program has it, without a worker. `steady` is never killed. `api`: None where
    nobody asks over HTTP."""

    setting: Setting
    folder: Path
    postgres: Postgres | Given
    places: Mapping[str, Place]
    environment: Mapping[str, str]
    settings: Settings
    door: Product
    session: aiohttp.ClientSession
    api: Machine | None
    workers: Sequence[Machine]

    @property
    def steady(self) -> Machine:
        return self.workers[0]

    @property
    def machines(self) -> Sequence[Machine]:
        return (*self.workers, self.api) if self.api else self.workers

    @property
    def api_url(self) -> str:
        return str(self.settings.server.public_url)


@contextlib.asynccontextmanager
async def world_of(folder: Path, receiver: str, setting: Setting) -> AsyncIterator[World]:
    """Starts all of it; ends all of it, however the soak ends."""
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        postgres: Postgres | Given
        if setting.database is not None:
            postgres = Given(url=setting.database)
        else:
            postgres = await stack.enter_async_context(Postgres(folder))
        open_place = Place.start if setting.apart else Place.here
        places = {
            kind: await stack.enter_async_context(open_place(kind, folder, session)) for kind in setting.kinds
        }
        port = free_port()
        environment = {name: value for one in places.values() for name, value in one.environment.items()} | {
            "DATABASE_URL": postgres.url,
            "GENYARD_DATA": str(folder / "data"),
            "GENYARD_PORT": str(port),
            "GENYARD_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "GENYARD_LOG_JSON": "1",
        }
        (folder / "genyard.toml").write_text(toml(places, receiver))
        settings = load_settings(environment, folder)
        door = await stack.enter_async_context(build(settings))
        told = {"folder": folder, "environment": environment}
        api = Machine(name="api", arguments=("serve",), **told) if setting.api else None
        crew = [Machine(name=f"worker-{number}", **told) for number in range(1, setting.workers + 1)]
        for machine in (*([api] if api else []), *crew):
            await machine.start()
            stack.push_async_callback(machine.stop)
        yield World(
            setting=setting,
            folder=folder,
            postgres=postgres,
            places=places,
            environment=environment,
            settings=settings,
            door=door,
            session=session,
            api=api,
            workers=crew,
        )


#: What a command tells people, who read no JSON; the last ones where it finds no database at its start, and ends.
_WORDS = ("worker ready", "worker stopped", "stopping:", "genyard is up")
_NO_DATABASE = ("genyard: DATABASE_URL: PostgreSQL does not answer", "genyard: genyard's database broke off")
_MORE = ("DETAIL:", "HINT:", "\t", "  change the setting", "  needs a change on this side")


def logged(machine: Machine, *levels: str) -> list[dict[str, Json]]:
    """What a process wrote at these levels; what is no JSON (a traceback) counts as a defect. A server that is stopped
    while requests wait for a database that is away cuts them off, and says so: that is no defect."""
    found = []
    for line in machine.log.splitlines():
        if line.startswith((*_WORDS, *_NO_DATABASE, *_MORE)):
            continue
        try:
            told = json.loads(line)
        except ValueError:
            told = {"level": "defect", "event": line}
        if not isinstance(told, dict) or told.get("level") not in levels:
            continue
        cut_off = "CancelledError" in told.get("exception", "") or "graceful shutdown" in told["event"]
        if not (told.get("logger") == "uvicorn.error" and cut_off):
            found.append(told)
    return found


def ended_by_itself(machine: Machine) -> int:
    """How often, though it had found its database."""
    return len(machine.exits) - sum(machine.log.count(words) for words in _NO_DATABASE)
