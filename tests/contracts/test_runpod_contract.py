"""The contract suite on the RunPod provider, against the emulator: both protocols, results as links and as data."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Final

import pytest

from genyard.testing.contract import Implementation, ProviderContract, Sample, Trouble
from genyard.testing.runpod import Setup
from support.runpod import COMFYUI, FLUX, emulated

LINKED: Final = frozenset(Trouble)
#: Data in the answer is not gone before the job is.
INLINE: Final = frozenset(Trouble) - {Trouble.missing_output}
SINGLE: Final = frozenset(Sample) - {Sample.fused}

DEVIATIONS: Final = {
    "test_a_lost_answer_is_not_a_lost_submission": (
        "it has no key by which a submission could be found again: the attempt is lost, and not bought twice"
    )
}


class TestComfyUIOnRunPod(ProviderContract):
    implementation: ClassVar = Implementation(
        kind="runpod",
        open=partial(emulated, COMFYUI, Setup(kind="comfyui", workers_max=1)),
        troubles=INLINE,
        deviations=DEVIATIONS,
    )


@pytest.mark.long
class TestComfyUIOnRunPodWithABucket(ProviderContract):
    implementation: ClassVar = Implementation(
        kind="runpod",
        open=partial(emulated, COMFYUI, Setup(kind="comfyui", workers_max=1, delivery="url")),
        troubles=LINKED,
        deviations=DEVIATIONS,
    )


@pytest.mark.long
class TestOldComfyUIOnRunPod(ProviderContract):
    """Before 5.0.0 the result was one text in `message`."""

    implementation: ClassVar = Implementation(
        kind="runpod",
        open=partial(emulated, COMFYUI, Setup(kind="comfyui", workers_max=1, shape="message")),
        troubles=INLINE,
        deviations=DEVIATIONS,
    )


class TestOneModelOnRunPod(ProviderContract):
    implementation: ClassVar = Implementation(
        kind="runpod",
        open=partial(emulated, FLUX, Setup(kind="flux", workers_max=1)),
        samples=SINGLE,
        troubles=INLINE,
        deviations=DEVIATIONS,
    )


@pytest.mark.long
class TestOneModelOnRunPodWithLinks(ProviderContract):
    implementation: ClassVar = Implementation(
        kind="runpod",
        open=partial(
            emulated, FLUX, Setup(kind="flux", workers_max=1, shape="image_url", delivery="url", steps=4)
        ),
        samples=SINGLE,
        troubles=LINKED,
        deviations=DEVIATIONS,
    )
