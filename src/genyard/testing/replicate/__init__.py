"""An emulator of Replicate's predictions API, with real pictures in and out, signed webhooks and fault switches.

    async with ReplicateEmulator() as server:
        server.faults.add(FaultKind.moderated)
        ...
        assert server.counts.total_runs == 1

`python -m genyard.testing.replicate --port 8125` runs it as a process. No model runs in it; statuses, headers and
bodies follow exchanges with the real API.
"""

from __future__ import annotations

from genyard.testing.replicate.faults import ERRORS, FLAGGED, FaultKind, ReplicateFault
from genyard.testing.replicate.server import Counts, ReplicateEmulator
from genyard.testing.replicate.webhooks import sign

__all__ = ["ERRORS", "FLAGGED", "Counts", "FaultKind", "ReplicateEmulator", "ReplicateFault", "sign"]
