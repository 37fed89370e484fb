"""`make demo-emulated`, as somebody without accounts runs it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from support.processes import outside

pytestmark = pytest.mark.long

PLACES = {
    "comfyui", "replicate", "runpod-bg-removal", "runpod-comfyui", "runpod-flux", "runpod-sdxl", "scenario",
}  # fmt: skip


async def test_one_job_of_each_kind_at_each_place(data_folder: Path, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "genyard.demo",
        "--emulated",
        "out",
        cwd=tmp_path,
        env={**outside(), "GENYARD_DATA": str(data_folder)},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(150):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    report = json.loads((tmp_path / "out" / "jobs.json").read_text())
    assert {one["endpoint"] for one in report["jobs"]} == PLACES
    assert len({one["operation"] for one in report["jobs"]}) == 7
    refused = [one for one in report["jobs"] if one["error"]]
    assert [(one["endpoint"], one["operation"]) for one in refused] == [("runpod-sdxl", "img2img")]
    assert "S3_BUCKET" in refused[0]["error"]["message"]
    assert all((tmp_path / "out" / name).stat().st_size for one in report["jobs"] for name in one["files"])
