"""A ComfyUI server, talked to directly (0.3.x and newer).

    provider = ComfyUIProvider(url="http://127.0.0.1:8188")

`compile` makes the workflow (pure), `wire` speaks HTTP, `watching` keeps what events tell, `observing` decides
when to ask and when to give up, `outcome` says what the server's words mean, `provider` is the contract.
"""

from __future__ import annotations

from genyard.providers.comfyui.observing import Limits
from genyard.providers.comfyui.provider import ComfyUIProvider

__all__ = ["ComfyUIProvider", "Limits"]
