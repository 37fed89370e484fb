"""RunPod Serverless: one queue endpoint, own or public, in one of two protocols.

    comfyui   worker-comfyui: a workflow and its images in, files out; graphs come from `genyard.comfy`
    model     one model behind a flat input, by the binding's field map; RunPod's public endpoints, too

`wire` talks HTTP, `health` reads the endpoint's counters, `comfyui` and `model` make inputs and say which files are
expected, `files` finds them in an output, `outcome` says what a job's end means, `provider` is the contract.
"""

from genyard.providers.runpod.provider import RunPodProvider

__all__ = ["RunPodProvider"]
