"""An emulator of Scenario's generation API, with real pictures in and out, creative units and fault switches.

    async with ScenarioEmulator() as server:
        server.faults.add(FaultKind.cooldown, seconds=12)
        ...
        assert server.counts.total_runs == 1

`python -m genyard.testing.scenario --port 8124` runs it as a process. No model runs in it; shapes are those that the
vendor's SDK 2.4.0 validates.
"""

from __future__ import annotations

from genyard.testing.scenario.faults import FaultKind, ScenarioFault
from genyard.testing.scenario.models import MODELS, Model
from genyard.testing.scenario.server import Counts, ScenarioEmulator

__all__ = ["MODELS", "Counts", "FaultKind", "Model", "ScenarioEmulator", "ScenarioFault"]
