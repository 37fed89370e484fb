"""How the cases of `failures` are run: one product beside all emulators, and what is done to a place or a job there.

`World` is what every case shares. Below: what surrounds a job (`prepare`), what is done with it (`play`), what must be
true of it afterwards (`check`). What must come of which case is in `failures`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import io
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import numpy as np
from PIL import Image

from genyard.app import Product, build, serve, working
from genyard.app.places import PROVIDERS
from genyard.jobs.model import AttemptState, Job, JobState
from genyard.providers import Provider, State
from genyard.providers.comfyui import ComfyUIProvider
from genyard.settings import EndpointSettings, Settings, load_settings
from genyard.testing.comfyui.bench import QUICK_LIMITS, chain
from genyard.testing.comfyui.catalogue import set_choices
from genyard.testing.comfyui.nodes_video import write_video
from genyard.testing.emulators import Emulators
from genyard.testing.runpod import Setup
from scenarios.places.bench import QUICK, ended, picture, until
from support.processes import free_port

Json = Any
DAY = 86_400.0
PUBLIC = "black-forest-labs-flux-1-dev"
COMFYUI_KEY = "comfyui-proxy-key-0123456789"

EMULATED: Mapping[str, Mapping[str, Any]] = {
    "comfyui": {"api_key": COMFYUI_KEY},
    "runpod": {
        "endpoints": {
            "emu-flux": Setup(kind="flux"),
            "emu-sleeping": Setup(kind="flux"),
            "emu-links": Setup(kind="flux", shape="image_url", delivery="url"),
            "emu-background": Setup(kind="background", shape="image"),
            "emu-worker": Setup(kind="comfyui"),
            "emu-dark": Setup(kind="comfyui", shows_output_on_failure=False),
            "emu-bucket": Setup(kind="comfyui", delivery="url"),
            PUBLIC: Setup(kind="public", delivery="url"),
        }
    },
}

_POLL = "timeouts = { poll = 0.06 }"
_HASTY = "timeouts = { poll = 0.06, queue = 0.8, image = 0.4 }"
_PAID = "usd_per_second = 0.001\ndaily_cap_usd = 1000"


def _runpod(name: str, endpoint_id: str, *more: str, timeouts: str = _POLL) -> str:
    return "\n".join(
        (f"[endpoints.{name}]", 'kind = "runpod"', f'endpoint_id = "{endpoint_id}"', timeouts, _PAID, *more)
    )


_COMFYUI_THERE = 'protocol = "comfyui"'
TOML = "\n".join(
    (
        _runpod("flux", "emu-flux"),
        _runpod("flux-impatient", "emu-flux", timeouts=_HASTY),
        _runpod("sleeping", "emu-sleeping", timeouts=_HASTY),
        _runpod("links", "emu-links"),
        _runpod("background", "emu-background", 'operations = ["remove_background"]'),
        _runpod("public", PUBLIC),
        _runpod("worker", "emu-worker", _COMFYUI_THERE),
        _runpod("worker-impatient", "emu-worker", _COMFYUI_THERE, timeouts=_HASTY),
        _runpod("worker-dark", "emu-dark", _COMFYUI_THERE),
        _runpod("worker-bucket", "emu-bucket", _COMFYUI_THERE),
        f'[endpoints.scenario]\nkind = "scenario"\n{_POLL}\nusd_per_unit = 0.01\ndaily_cap_usd = 1000',
        f'[endpoints.replicate]\nkind = "replicate"\n{_POLL}\ndaily_cap_usd = 1000',
    )
)


def _workflow(**nodes: Json) -> dict[str, Json]:
    return {"operation": "run_workflow", "parameters": {"workflow": {**chain(("ImageInvert", {})), **nodes}}}


#: The first file is saved, then a node fails; two files are saved.
SAVES_THEN_FAILS = _workflow(
    broken={"class_type": "GenyardRaise", "inputs": {"image": ["2", 0], "kind": "value"}},
    second={"class_type": "SaveImage", "inputs": {"images": ["broken", 0], "filename_prefix": "second"}},
)
SAVES_TWICE = _workflow(
    second={"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "second"}}
)


@dataclass(kw_only=True)
class World:
    """`inputs`: what `@name` in a request stands for."""

    product: Product
    emulators: Emulators
    inputs: dict[str, UUID] = field(default_factory=dict)

    @property
    def secrets(self) -> tuple[str, ...]:
        here = self.emulators
        pair = f"{here.scenario.key}:{here.scenario.secret}"
        return (
            COMFYUI_KEY,
            here.runpod.key,
            here.scenario.secret,
            here.scenario.key,
            base64.b64encode(pair.encode()).decode(),
            here.replicate.key,
            here.replicate.webhook_secret,
        )

    def emulator(self, endpoint: str) -> Any:
        return getattr(self.emulators, endpoint, self.emulators.runpod)

    def bought(self, endpoint: str) -> int:
        """Runs that the place took in."""
        counts = self.emulator(endpoint).counts
        for name in ("submitted", "jobs", "created", "total_runs"):
            if hasattr(counts, name):
                return int(getattr(counts, name))
        raise AssertionError("it counts nothing")

    def runs(self, endpoint: str) -> int:
        return int(self.emulator(endpoint).counts.total_runs)

    def clear(self) -> None:
        for emulator in (self.emulators.comfyui, self.emulators.scenario, self.emulators.replicate):
            emulator.faults.clear()
        self.emulators.runpod.faults.clear()

    async def until_idle(self, endpoint: str) -> None:
        """Until nothing waits or runs at the place."""
        emulator = self.emulator(endpoint)
        open_now: Mapping[str, Callable[[], int]] = {
            "comfyui": lambda: self.emulators.comfyui.queue.remaining,
            "scenario": lambda: self.emulators.scenario.open_jobs,
            "replicate": lambda: sum(not one.ended for one in self.emulators.replicate.predictions.values()),
        }
        left = open_now.get(endpoint, lambda: sum(not one.is_over for one in self.emulators.runpod.jobs))
        await emulator.changes.until(lambda: not left(), timeout=10.0)

    def body(self, request: Mapping[str, Json]) -> dict[str, Json]:
        given = {
            role: str(self.inputs[name.removeprefix("@")]) for role, name in request.get("inputs", {}).items()
        }
        return {**request, **({"inputs": given} if given else {})}

    async def submit(self, request: Mapping[str, Json], endpoint: str) -> Job:
        return (await self.product.studio.submit(self.body(request), endpoint=endpoint)).job

    async def make(self, request: Mapping[str, Json], endpoint: str) -> Job:
        return await ended(self.product, (await self.submit(request, endpoint)).id)

    async def refs(self, job: Job) -> list[dict[str, Json]]:
        rows = await self.product.jobs.database.rows(
            "SELECT a.ref FROM attempts a JOIN stages s ON s.id = a.stage_id WHERE s.job_id = %(id)s "
            "ORDER BY a.number",
            id=job.id,
        )
        return [row["ref"] for row in rows]

    async def there(self, job: Job) -> Any:
        """The job as its place knows it: of its newest attempt."""
        ref = (await self.refs(job))[-1]
        endpoint, name = job.attempts[-1].endpoint, ref["id"]
        if endpoint == "scenario":
            return self.emulators.scenario.jobs[name]
        if endpoint == "replicate":
            return self.emulators.replicate.predictions[name]
        return self.emulators.runpod.job(name)


def _quick_comfyui(endpoint: EndpointSettings, settings: Settings) -> Provider:
    assert endpoint.api_key is not None
    return ComfyUIProvider(url=endpoint.url, key=endpoint.api_key.get_secret_value(), limits=QUICK_LIMITS)


def _quick_runpod(endpoint: EndpointSettings, settings: Settings) -> Provider:
    """As the product makes it; a job that is unknown is too new to be known for less than ten seconds."""
    provider: Any = PROVIDERS["runpod"](endpoint, settings)
    provider._grace = 0.8
    return provider  # type: ignore[no-any-return]


@contextlib.asynccontextmanager
async def world_of(database_url: str, folder: Path) -> AsyncIterator[World]:
    """One product with all places, which they can reach by webhook, and a worker."""
    port = free_port()
    (folder / "genyard.toml").write_text(TOML)
    async with contextlib.AsyncExitStack() as stack:
        emulators = await stack.enter_async_context(Emulators(**EMULATED))
        environ = {
            **{name: value for name, value in emulators.environment.items() if "_ENDPOINT_ID" not in name},
            "COMFYUI_API_KEY": COMFYUI_KEY,
            "IMAGE_GENERATION_PROVIDER": "comfyui",
            "GENYARD_DATA": str(folder),
            "GENYARD_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "DATABASE_URL": database_url,
        }
        settings = load_settings(environ, folder)
        kinds = {"comfyui": _quick_comfyui, "runpod": _quick_runpod}
        product = await stack.enter_async_context(build(settings, pace=QUICK, providers=kinds))
        product.worker._runner._outputs._pauses = (0.02, 0.02)
        await stack.enter_async_context(_served(product, port))
        await stack.enter_async_context(working(product))
        await product.studio.health()  # what is changed at a place afterwards is not known yet
        world = World(product=product, emulators=emulators)
        for name, data in {"picture": picture(64), "large": _noise(1280), "clip": _clip(folder)}.items():
            world.inputs[name] = (await product.studio.upload(data)).id
        yield world


@contextlib.asynccontextmanager
async def _served(product: Product, port: int) -> AsyncIterator[None]:
    up = asyncio.Event()
    task = asyncio.create_task(serve(product, "127.0.0.1", port, lambda _: up.set()))
    await asyncio.wait_for(up.wait(), 10)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _noise(side: int) -> bytes:
    """Some megabytes: noise does not shrink."""
    pixels = np.random.default_rng(1).integers(0, 255, (side, side, 3)).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", compress_level=0)
    return data.getvalue()


def _clip(folder: Path) -> bytes:
    path = folder / "clip.mp4"
    write_video(path, np.random.default_rng(1).integers(0, 255, (16, 64, 64, 3)).astype(np.uint8), 8)
    return path.read_bytes()


# --- prepare: the place is not as it was when it was looked at --------------------------------------


@contextlib.contextmanager
def _changed(server: Any, class_type: str, change: Callable[[dict[str, Json]], None]) -> Iterator[None]:
    """A node of a ComfyUI server is another one, as after an update."""
    before = copy.deepcopy(server.catalogue[class_type])
    change(server.catalogue)
    try:
        yield
    finally:
        server.catalogue[class_type] = before


def _forget_node(catalogue: dict[str, Json]) -> None:
    del catalogue["VAEDecode"]


def _forget_files(catalogue: dict[str, Json]) -> None:
    set_choices(catalogue, "CheckpointLoaderSimple", "ckpt_name", ())


def _exchange_files(catalogue: dict[str, Json]) -> None:
    set_choices(catalogue, "CheckpointLoaderSimple", "ckpt_name", ("a.safetensors", "b.safetensors"))


def _lower_maximum(catalogue: dict[str, Json]) -> None:
    catalogue["KSampler"]["input"]["required"]["steps"][1]["max"] = 1


def _add_input(catalogue: dict[str, Json]) -> None:
    catalogue["KSampler"]["input"]["required"]["genyard_new"] = ["INT", {"default": 1}]


def without_node(world: World) -> contextlib.AbstractContextManager[None]:
    return _changed(world.emulators.comfyui, "VAEDecode", _forget_node)


def without_files(world: World) -> contextlib.AbstractContextManager[None]:
    return _changed(world.emulators.comfyui, "CheckpointLoaderSimple", _forget_files)


def with_other_files(world: World) -> contextlib.AbstractContextManager[None]:
    return _changed(world.emulators.comfyui, "CheckpointLoaderSimple", _exchange_files)


def with_lower_maximum(world: World) -> contextlib.AbstractContextManager[None]:
    return _changed(world.emulators.comfyui, "KSampler", _lower_maximum)


def with_another_input(world: World) -> contextlib.AbstractContextManager[None]:
    return _changed(world.emulators.comfyui, "KSampler", _add_input)


def worker_without_node(world: World) -> contextlib.AbstractContextManager[None]:
    return _changed(world.emulators.runpod.comfyui, "VAEDecode", _forget_node)


def worker_without_files(world: World) -> contextlib.AbstractContextManager[None]:
    return _changed(world.emulators.runpod.comfyui, "CheckpointLoaderSimple", _forget_files)


def worker_with_another_input(world: World) -> contextlib.AbstractContextManager[None]:
    return _changed(world.emulators.runpod.comfyui, "KSampler", _add_input)


@contextlib.contextmanager
def while_it_hangs(world: World) -> Iterator[None]:
    """It would never end by itself, however far it comes."""
    world.emulators.comfyui.faults.add("hang")
    yield


@contextlib.contextmanager
def with_late_history(world: World) -> Iterator[None]:
    server = world.emulators.comfyui
    before, server.history_gap = server.history_gap, 0.15
    try:
        yield
    finally:
        server.history_gap = before


@contextlib.contextmanager
def with_a_taken_name(world: World) -> Iterator[None]:
    """The server keeps the upload under another name, and says so."""
    server = world.emulators.comfyui
    (server.files.folder("input") / "u (1).png").write_bytes(picture(64))
    told = '{"name": "u (1).png", "subfolder": "", "type": "input"}'
    server.faults.add(
        "answer", route="POST /upload/image", status=200, body=told, content_type="application/json"
    )
    yield


@contextlib.contextmanager
def delivered_from_a_private_address(world: World) -> Iterator[None]:
    server = world.emulators.replicate
    server._delivery_url = "http://169.254.169.254/latest"
    try:
        yield
    finally:
        server._delivery_url = None


# --- play: what is done besides submitting and waiting ----------------------------------------------


async def plainly(world: World, case: Any) -> Job:
    return await world.make(case.request, case.at)


async def and_looked_at(world: World, case: Any) -> Job:
    """The operator sees it, too: in what `doctor` and /health tell."""
    waiting = await world.submit(case.request, case.at)
    health = await world.product.studio.health_of(case.at, max_age=0.0)
    told = str(dict(health.problems))
    assert all(word in told for word in case.says), told
    return await ended(world.product, waiting.id)


async def scaled_down(world: World, case: Any) -> Job:
    """That nothing starts is told as a cold start at first; to whoever looks, the endpoint is named at once."""
    waiting = await world.submit(case.request, case.at)
    runpod = world.emulators.runpod
    await runpod.changes.until(lambda: any(job.status == "IN_QUEUE" for job in runpod.jobs))
    health = await world.product.studio.health_of(case.at, max_age=0.0)
    assert "workers max" in str(dict(health.problems))
    return await ended(world.product, waiting.id)


async def until_it_tries_again(world: World, case: Any) -> Job:
    """What is wrong is over once the first attempt has failed."""
    job = await world.submit(case.request, case.at)
    async with asyncio.timeout(20):
        async for event in world.product.studio.watch(job.id):
            if event.kind == "retrying":
                world.clear()
                break
    return await ended(world.product, job.id)


async def twice_with_files_deleted(world: World, case: Any) -> Job:
    """The same request, when the files of the first run are gone from the server, where its nodes are cached."""
    body = {**case.request, "parameters": {**case.request["parameters"], "seed": 7}}
    first = await world.make(body, case.at)
    assert first.state is JobState.succeeded, first.error
    for path in world.emulators.comfyui.files.folder("output").rglob("*.png"):
        path.unlink()
    return await world.make(body, case.at)


async def canceled_while_running(world: World, case: Any) -> Job:
    job = await world.submit(case.request, case.at)
    await until(world.product, job.id, State.running)
    await world.product.studio.cancel(job.id)
    return await ended(world.product, job.id)


async def canceled_and_detached(world: World, case: Any) -> Job:
    """It goes on at its place; what it costs is known at its end."""
    job = await canceled_while_running(world, case)
    assert [one.state for one in job.attempts] == [AttemptState.detached]
    async with asyncio.timeout(20):
        while job.attempts[0].finished_at is None:
            await asyncio.sleep(0.02)
            job = await world.product.studio.get(job.id)
    assert world.emulators.scenario.counts.canceled == 0
    return job


async def two_clients_at_once(world: World, case: Any) -> Job:
    """Another product at the same server has a client id of its own: neither loses its events."""
    server = world.emulators.comfyui
    slow = server.faults.add("slow", node="KSampler", seconds=0.1)
    mine = await world.submit(case.request, case.at)
    stranger = ComfyUIProvider(url=server.url, key=COMFYUI_KEY, limits=QUICK_LIMITS)
    other = ComfyUIProvider(url=server.url, key=COMFYUI_KEY, limits=QUICK_LIMITS)
    try:
        assert len({stranger._client_id, other._client_id}) == 2
        await stranger._observer.ready()
        assert stranger._client_id in server.sockets.connected
        assert len(server.sockets.connected) >= 2
        job = await ended(world.product, mine.id)
    finally:
        await stranger.close()
        await other.close()
    assert slow
    assert job.state is JobState.succeeded
    return await world.make(case.request, case.at)


async def deleted_while_it_waits(world: World, case: Any) -> Job:
    """Somebody clears the line of the server."""
    server = world.emulators.comfyui
    server.faults.add("hang", node="KSampler")
    first = await world.submit(case.request, case.at)
    await until(world.product, first.id, State.running)
    second = await world.submit(case.request, case.at)
    await server.changes.until(lambda: bool(server.queue.pending))
    headers = {"Authorization": f"Bearer {COMFYUI_KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        await session.post(f"{server.url}/queue", json={"clear": True})
    async with asyncio.timeout(20):
        async for event in world.product.studio.watch(second.id):
            if event.kind == "retrying":
                break
    await world.product.studio.cancel(first.id)
    return await ended(world.product, second.id)


async def forgotten_at_runpod(world: World, case: Any) -> Job:
    """Its record is gone. That it could be too new to be known is believed for a while only."""
    job = await world.submit(case.request, case.at)
    await until(world.product, job.id, State.running)
    world.emulators.runpod.faults.add("forget")
    return await ended(world.product, job.id)


async def three_at_once(world: World, case: Any) -> Job:
    waiting = [await world.submit(case.request, case.at) for _ in range(3)]
    made = [await ended(world.product, one.id) for one in waiting]
    assert {one.state for one in made} == {JobState.succeeded}
    assert len({(await world.there(one)).worker for one in made}) == 1
    return made[-1]


async def two_inputs_of_one_name(world: World, case: Any) -> Job:
    body = {
        "operation": "img2img",
        "model": "sdxl",
        "parameters": {"prompt": "the same", "strength": 0.5, "steps": 1, "seed": 3},
        "inputs": {"image": "@picture"},
    }
    if "inverted" not in world.inputs:
        data = io.BytesIO()
        Image.new("RGB", (64, 64), (10, 200, 40)).save(data, "PNG")
        world.inputs["inverted"] = (await world.product.studio.upload(data.getvalue(), name="a.png")).id
    waiting = [
        await world.submit(body, case.at),
        await world.submit({**body, "inputs": {"image": "@inverted"}}, case.at),
    ]
    first, second = [await ended(world.product, one.id) for one in waiting]
    assert first.state is JobState.succeeded, first.error
    assert first.outputs[0].sha256 != second.outputs[0].sha256
    names = [image["name"] for job in (first, second) for image in (await world.there(job)).input["images"]]
    assert len(set(names)) == 2
    return second


async def estimated_first(world: World, case: Any) -> Job:
    counts = world.emulators.scenario.counts
    before = (counts.jobs, counts.dry_runs)
    planned = await world.product.studio.estimate(world.body(case.request), endpoint=case.at)
    assert planned.cost is not None
    assert planned.cost.usd > 0
    assert counts.jobs == before[0]
    assert counts.dry_runs > before[1]
    job = await world.make(case.request, case.at)
    cost = job.attempts[0].cost
    assert cost is not None
    assert abs(cost.usd - planned.cost.usd) < 1e-9
    return job


async def a_day_passes(world: World, case: Any) -> Job:
    """The place's own deadline comes before ours: its clock is a day ahead."""
    job = await world.submit(case.request, case.at)
    await until(world.product, job.id, State.running)
    world.emulators.replicate.clock.advance(DAY)
    try:
        return await ended(world.product, job.id)
    finally:
        world.emulators.replicate.clock.advance(-DAY)


# --- check: what else must be true ------------------------------------------------------------------


async def was_stopped(world: World, job: Job) -> None:
    assert world.emulators.comfyui.counts.cancels


async def was_freed(world: World, job: Job) -> None:
    assert world.emulators.comfyui.counts.freed


async def delivers_nothing(world: World, job: Job) -> None:
    assert job.outputs == ()


async def used_the_returned_name(world: World, job: Job) -> None:
    graphs = [entry["prompt"][2] for entry in world.emulators.comfyui.queue.history.values()]
    loaded = [node["inputs"]["image"] for node in graphs[-1].values() if node["class_type"] == "LoadImage"]
    assert loaded == ["u (1).png"]


async def uploaded_no_mask(world: World, job: Job) -> None:
    assert world.emulators.comfyui.counts.requests["POST /upload/image"]
    assert not world.emulators.comfyui.counts.requests["POST /upload/mask"]


async def is_canceled_there(world: World, job: Job) -> None:
    assert (await world.there(job)).status == "CANCELLED"


async def still_has_it_after_a_week(world: World, job: Job) -> None:
    runpod = world.emulators.runpod
    runpod.clock.advance(8 * DAY)
    try:
        assert (await world.product.studio.read(job.outputs[0])).startswith(b"\x89PNG")
    finally:
        runpod.clock.advance(-8 * DAY)
    assert "127.0.0.1" not in str(job.as_json())


async def loras_arrived_as_a_list(world: World, job: Job) -> None:
    given = (await world.there(job)).input
    assert (given["loras"], given["lorasScale"]) == (["model_mine"], [0.5])


async def the_picture_is_no_control_image(world: World, job: Job) -> None:
    given = (await world.there(job)).given
    assert given["image"] in world.emulators.scenario.assets
    assert "controlImage" not in given


async def hooks_were_refused(world: World, job: Job) -> None:
    replicate = world.emulators.replicate
    name = (await world.refs(job))[-1]["key"]

    def told() -> list[int]:
        return [status for url, status in replicate.counts.webhooks if name in url]

    await replicate.changes.until(lambda: len(told()) >= 2)
    assert set(told()) == {403}


async def is_a_png(world: World, job: Job) -> None:
    assert job.outputs[0].media_type == "image/png"
    assert job.outputs[0].name.endswith(".png")


async def tells_no_prompt(world: World, job: Job) -> None:
    data = await world.product.studio.read(job.outputs[0])
    assert b"zebra-quartz-lantern" not in data
    assert b"KSampler" not in data


async def tells_the_true_size(world: World, job: Job) -> None:
    """What was asked for is in the job's steps, and noted beside the file that differs from it."""
    asked = job.steps[0]["parameters"]["width"]
    [output] = job.outputs
    assert (output.width, output.height) == (asked // 2, asked // 2)
    assert (output.facts["requested_width"], output.facts["requested_height"]) == (asked, asked)


async def says_that_alpha_is_missing(world: World, job: Job) -> None:
    assert job.outputs[0].facts["alpha"] is False
