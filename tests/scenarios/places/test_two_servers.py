"""A pipeline over two places of one kind: what the first made is given to the second."""

from __future__ import annotations

from genyard.app import working
from genyard.jobs.model import JobState
from genyard.testing.emulators import Emulators
from scenarios.places.bench import Bench, made


async def test_two_comfyui_servers_share_a_pipeline(bench: Bench, emulators: Emulators) -> None:
    toml = "\n".join(
        (
            *(
                f'[endpoints.{name}]\nkind = "comfyui"\nurl = "{emulators.comfyui.url}"'
                for name in ("draws", "cuts")
            ),
            '[routes]\ntxt2img = "draws"\nremove_background = "cuts"',
        )
    )
    steps = [
        {
            "name": "draw",
            "operation": "txt2img",
            "model": "sdxl",
            "parameters": {"prompt": "a fox", "steps": 1},
        },
        {"name": "cut", "operation": "remove_background", "inputs": {"image": "step:draw"}},
    ]
    async with bench.start({}, toml) as product, working(product):
        job = await made(product, {"steps": steps})
    assert job.state is JobState.succeeded, job.error
    assert [attempt.endpoint for attempt in job.attempts] == ["draws", "cuts"]
    assert emulators.comfyui.counts.uploads == 1
