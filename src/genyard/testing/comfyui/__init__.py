"""An emulator of a ComfyUI server (0.33, or 0.3.64), faithful to recorded exchanges, with fault switches.

    async with ComfyUIEmulator(version="0.3.64") as server:
        server.faults.add(FaultKind.restart, node="KSampler")
        ...
        assert server.counts.total_runs == 1

`python -m genyard.testing.comfyui --port 8188` runs it as a process. No model runs in it: pictures are made
from a hash of seed and prompt, but files, events, errors, caching and races are those of the real server.
"""

from __future__ import annotations

from genyard.testing.comfyui.faults import Fault, FaultKind, Faults
from genyard.testing.comfyui.server import ComfyUIEmulator, Counts

__all__ = ["ComfyUIEmulator", "Counts", "Fault", "FaultKind", "Faults"]
