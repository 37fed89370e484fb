"""The contract suite on the ComfyUI provider, against the emulator in both of its versions."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from genyard.testing.comfyui.bench import emulated
from genyard.testing.contract import Implementation, ProviderContract, Trouble


class TestComfyUI(ProviderContract):
    implementation: ClassVar = Implementation(
        kind="comfyui", open=partial(emulated, "/api"), troubles=frozenset(Trouble)
    )


class TestOldComfyUI(ProviderContract):
    implementation: ClassVar = Implementation(
        kind="comfyui", open=partial(emulated, version="0.3.64"), troubles=frozenset(Trouble)
    )
