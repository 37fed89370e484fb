"""Scenario.com: models behind one route for all of them, and the old routes of before 2026 by configuration.

`compile` makes the flat input (pure), `wire` says what goes over HTTP and what an answer contains, `uploading` brings
media there, `reading` says what their words mean, `provider` is the contract.
"""

from __future__ import annotations

from genyard.providers.scenario.provider import ScenarioProvider

__all__ = ["ScenarioProvider"]
