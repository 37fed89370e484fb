"""`make demo-emulated`, as somebody without accounts runs it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

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
        env={**_bare(os.environ), "GENYARD_DATA": str(data_folder)},  # noqa: TID251 (a child gets one)
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


def _bare(environ: Mapping[str, str]) -> dict[str, str]:
    """Nothing that would lead to a real place."""
    ours = ("GENYARD_", "COMFYUI_", "RUNPOD_", "SCENARIO_", "REPLICATE_", "IMAGE_", "DATABASE_", "S3_", "R2_")
    return {name: value for name, value in environ.items() if not name.startswith(ours)}
