"""What it costs to take over many videos at once: memory and time, from a server on loopback into a folder.

    python bench/fetching.py [--videos 50] [--megabytes 20]

The server is a process of its own, so that only our side is measured. All videos are real MP4s, fetched at the same
time through Outbound and OutputStore: received, counted, stamped with facts, stored. Growth is what the process held
at the peak beyond what it held before, after one video had loaded everything that is loaded once. A fifth as many are
fetched first: flat means that five times as many need about the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from aiohttp import web

from genyard.imaging.video import encode_mp4
from genyard.jobs.outputs import OutputStore
from genyard.media import MediaLimits
from genyard.operations import Role
from genyard.outbound import Outbound
from genyard.providers import Plan, Provider, RemoteOutput
from genyard.settings import load_settings
from genyard.storage import open_storage

MEGABYTE = 1_000_000


def video(size: int) -> bytes:
    """An MP4 of about `size` bytes: noise, played over and over."""
    noise = np.random.default_rng(7)
    frames = [noise.integers(0, 256, (480, 640, 3), np.uint8) for _ in range(3)]
    once = len(encode_mp4(frames, 24))
    return encode_mp4(frames, 24, total=max(3, round(3 * size / once)))


class Urls:
    """As much of a provider as `take_over` needs: outputs are URLs."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    def fetch(self, output: RemoteOutput) -> AsyncIterator[bytes]:
        return self._outbound.stream(output.where["url"])


def serve(folder: Path) -> None:
    """Prints its port and serves until its input ends."""

    async def run() -> None:
        app = web.Application()
        app.router.add_static("/", folder)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await runner.cleanup()

    asyncio.run(run())


@contextmanager
def served(folder: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def held() -> int:
    """Bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def forget_peak() -> bool:
    """Whether the system lets the peak be measured anew."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def measure(videos: int, size: int, folder: Path) -> dict[str, Any]:
    source = folder / "served"
    source.mkdir()
    (source / "video.mp4").write_bytes(await asyncio.to_thread(video, size))
    real = (source / "video.mp4").stat().st_size
    storage = open_storage(load_settings({"GENYARD_DATA": str(folder / "data")}, folder))
    with served(source) as origin:
        outbound = Outbound(trusted=(origin,))
        store = OutputStore(storage, MediaLimits(), folder=folder, pauses=())
        provider = cast(Provider, Urls(outbound))

        async def one(number: int) -> None:
            url = f"{origin}/video.mp4?number={number}"
            output = RemoteOutput(step="animate", role=Role.video, index=0, where={"url": url})
            plan = Plan(payload={}, facts={"animate": {"operation": "animate_photo", "number": number}})
            (taken,) = await store.take_over(provider, plan, (output,), frozenset({"animate"}))
            assert taken.blob.bytes > 0.9 * real
            await storage.delete(taken.blob.object)  # the disk need not hold them all

        await one(0)
        before = held()

        async def at_once(count: int) -> dict[str, Any]:
            exact = forget_peak()
            started = time.perf_counter()
            await asyncio.gather(*(one(number) for number in range(count)))
            return {
                "videos": count,
                "seconds": round(time.perf_counter() - started, 2),
                "megabytes_grown": round((peak() - before) / MEGABYTE, 1),
                "ratio": round((peak() - before) / real, 2),
                "exact": exact,
            }

        rounds = [await at_once(max(1, videos // 5)), await at_once(videos)]
        await outbound.close()
    return {
        "megabytes_each": round(real / MEGABYTE, 2),
        "megabytes_before": round(before / MEGABYTE, 1),
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--videos", type=int, default=50)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--json", action="store_true", help="one line for programs")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
        return
    with tempfile.TemporaryDirectory(prefix="genyard-bench-") as folder:
        told = asyncio.run(measure(given.videos, round(given.megabytes * MEGABYTE), Path(folder)))
    if given.json:
        print(json.dumps(told))
        return
    print(f"videos of {told['megabytes_each']} MB; the process held {told['megabytes_before']} MB before")
    for one in told["rounds"]:
        print(
            f"{one['videos']:4} at once: {one['seconds']:6.2f} s, at the peak {one['megabytes_grown']:6.1f} MB more "
            f"= {one['ratio']:.2f} videos"
        )


if __name__ == "__main__":
    main()
