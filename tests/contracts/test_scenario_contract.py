"""The contract suite on the Scenario provider, against the emulator: both routes, and a place that cancels."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Final

import pytest

from genyard.testing.contract import Implementation, ProviderContract, Sample, Trouble
from support.scenario import emulated

SAMPLES: Final = frozenset({Sample.quick, Sample.slow, Sample.failing, Sample.edited})
TROUBLES: Final = frozenset(
    {Trouble.dead, Trouble.broken_events, Trouble.missing_output, Trouble.lost_answer}
)

NOT_FOUND_AGAIN: Final = {
    "test_a_lost_answer_is_not_a_lost_submission": (
        "it has no key by which a submission could be found again: the attempt is lost, and not bought twice"
    )
}


class TestScenario(ProviderContract):
    implementation: ClassVar = Implementation(
        kind="scenario",
        open=emulated,
        samples=SAMPLES,
        troubles=TROUBLES,
        deviations={
            **NOT_FOUND_AGAIN,
            "test_cancel_while_it_waits": (
                "it cancels no job of the custom route (HTTP 400): the attempt is detached, its cost booked"
            ),
        },
    )


@pytest.mark.long
class TestScenarioThatCancels(ProviderContract):
    implementation: ClassVar = Implementation(
        kind="scenario",
        open=partial(emulated, cancels=True, workers=1),
        samples=SAMPLES,
        troubles=TROUBLES,
        deviations=NOT_FOUND_AGAIN,
    )


@pytest.mark.long
class TestOldRoutes(ProviderContract):
    implementation: ClassVar = Implementation(
        kind="scenario, by its old routes",
        open=partial(emulated, legacy=True, workers=1),
        samples=SAMPLES,
        troubles=TROUBLES,
        deviations=NOT_FOUND_AGAIN,
    )
