"""An emulator of RunPod Serverless: the cloud's job API, own and public endpoints, with fault switches.

    async with RunPodEmulator() as server:
        server.faults.add(FaultKind.lose_output, endpoint="emu-flux")
        …  # base URL f"{server.url}/v2", key server.key
        assert server.counts.total_runs == 1 and server.billed > 0

`python -m genyard.testing.runpod --port 8189` runs it as a process. Workers of kind comfyui run their graphs in the
emulated ComfyUI (`server.comfyui`, with faults of its own).
"""

from __future__ import annotations

from genyard.testing.runpod.endpoint import Endpoint, Setup
from genyard.testing.runpod.faults import Fault, FaultKind
from genyard.testing.runpod.jobs import Job
from genyard.testing.runpod.server import DEFAULT_ENDPOINTS, KEY, Counts, RunPodEmulator

__all__ = [
    "DEFAULT_ENDPOINTS",
    "KEY",
    "Counts",
    "Endpoint",
    "Fault",
    "FaultKind",
    "Job",
    "RunPodEmulator",
    "Setup",
]
