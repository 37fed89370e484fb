"""`make demo`, as a newcomer runs it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from pathlib import Path

from .conftest import Cli


async def test_the_demonstration(cli: Cli, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "genyard.demo",
        "out",
        cwd=tmp_path,
        env=cli.environment,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        said, _ = await process.communicate()
    assert process.returncode == 0
    out = tmp_path / "out"
    assert str(Path("out") / "contact-sheet.png") in said.decode()
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("*.png")}
    assert len(digests) == len(list(out.glob("*.png"))) > 12
    assert len(list(out.glob("*.mp4"))) == 1
    report = json.loads((out / "jobs.json").read_text())
    assert all(one["as_meant"] for one in report["jobs"]), report["jobs"]
    assert {name for one in report["jobs"] for name in one["files"]} <= {path.name for path in out.iterdir()}
    assert all(one["job"]["attempts"][0]["endpoint"] == "preview" for one in report["jobs"])
