"""Which pack brings a node class: so that "unknown node" ends with what to install.

Only packs that genyard's own templates use or that people bring along often; class names are as the packs
register them. Core nodes that older servers lack are here too.
"""

from __future__ import annotations

from typing import Final

_LIVEPORTRAIT: Final = "kijai/ComfyUI-LivePortraitKJ (MIT)"
_ADVANCED: Final = "PowerHouseMan/ComfyUI-AdvancedLivePortrait (no licence file)"
_RMBG: Final = "1038lab/ComfyUI-RMBG (GPL-3.0)"
_PIXEL: Final = "dimtoneff/ComfyUI-PixelArt-Detector (MIT)"
_VHS: Final = "Kosinkadink/ComfyUI-VideoHelperSuite (GPL-3.0)"
_CONTROL: Final = "Fannovel16/comfyui_controlnet_aux (Apache-2.0)"
_GGUF: Final = "city96/ComfyUI-GGUF (Apache-2.0)"
_NEWER: Final = "a newer ComfyUI: it is a core node there (0.33 has it)"

_BY_CLASS: Final[dict[str, str]] = {
    "DownloadAndLoadLivePortraitModels": _LIVEPORTRAIT,
    "AdvancedLivePortrait": _ADVANCED,
    "ExpressionEditor": _ADVANCED,
    "RMBG": _RMBG,
    "BiRefNetRMBG": _RMBG,
    "UnetLoaderGGUF": _GGUF,
    "DualCLIPLoaderGGUF": _GGUF,
    "CannyEdgePreprocessor": _CONTROL,
    "DepthAnythingV2Preprocessor": _CONTROL,
    "DWPreprocessor": _CONTROL,
    "OpenposePreprocessor": _CONTROL,
    "LoadBackgroundRemovalModel": _NEWER,
    "RemoveBackground": _NEWER,
    "EmptyQwenImageLayeredLatentImage": _NEWER,
    "LatentCutToBatch": _NEWER,
    "ComfyMathExpression": _NEWER,
    "ResizeImageMaskNode": _NEWER,
    "Video Slice": _NEWER,
}

_BY_PREFIX: Final[dict[str, str]] = {
    "LivePortrait": _LIVEPORTRAIT,
    "PixelArt": _PIXEL,
    "VHS_": _VHS,
}


def pack_of(class_name: str) -> str | None:
    if class_name in _BY_CLASS:
        return _BY_CLASS[class_name]
    return next((pack for prefix, pack in _BY_PREFIX.items() if class_name.startswith(prefix)), None)
