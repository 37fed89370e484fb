"""WHAT can be asked: each operation's parameters, input roles and output roles.

One file per operation, one explicit registry (`OPERATIONS`). An operation knows nothing of places, models
or prices: model-dependent defaults (steps, guidance, size) stay None here and are filled from a binding.
"""

from __future__ import annotations

from genyard.operations._generation import ASPECT_SIZES
from genyard.operations._model import (
    MAX_SEED,
    InputRole,
    Operation,
    Parameters,
    Role,
    parse_parameters,
    require_inputs,
)
from genyard.operations.animate_photo import ANIMATE_PHOTO
from genyard.operations.decompose_layers import DECOMPOSE_LAYERS
from genyard.operations.img2img import IMG2IMG
from genyard.operations.pixelate import PIXELATE
from genyard.operations.remove_background import REMOVE_BACKGROUND
from genyard.operations.run_workflow import RUN_WORKFLOW
from genyard.operations.txt2img import TXT2IMG

OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        TXT2IMG,
        IMG2IMG,
        REMOVE_BACKGROUND,
        DECOMPOSE_LAYERS,
        ANIMATE_PHOTO,
        PIXELATE,
        RUN_WORKFLOW,
    )
}

__all__ = [
    "ASPECT_SIZES",
    "MAX_SEED",
    "OPERATIONS",
    "InputRole",
    "Operation",
    "Parameters",
    "Role",
    "parse_parameters",
    "require_inputs",
]
