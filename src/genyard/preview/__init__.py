"""The renderer that draws without a model: pictures from words by geometry and light, honestly labelled.

    draw(prompt, width=…, height=…, seed=…)   a picture from words
    shade(image, prompt, seed=…, strength=…)  a silhouette lit and coloured, or a picture restyled

Pure and deterministic: the same arguments give the same bits on one machine (`RENDERER_VERSION` names the
drawing rules). Nothing here knows providers, jobs or files.
"""

from __future__ import annotations

from typing import Final

from genyard.preview.drawing import RENDERER_VERSION, Drawing, draw
from genyard.preview.mark import MARK_TEXT
from genyard.preview.silhouette import shade

__all__: Final = ["MARK_TEXT", "RENDERER_VERSION", "Drawing", "draw", "shade"]
