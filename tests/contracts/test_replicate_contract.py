"""The contract suite on the Replicate provider, against the emulator."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from genyard.testing.contract import Implementation, ProviderContract, Sample, Trouble
from support.replicate import emulated


class TestReplicate(ProviderContract):
    """No `fused` (one model per prediction), no `broken_events` (it is polled), and no `lost_answer`: a submission
    cannot be found again, so it is `provider.lost` (tested with the faults). One worker: whoever comes second waits.
    """

    implementation: ClassVar = Implementation(
        kind="replicate",
        open=partial(emulated, workers=1),
        samples=frozenset(Sample) - {Sample.fused},
        troubles=frozenset({Trouble.dead, Trouble.restart, Trouble.missing_output}),
    )
