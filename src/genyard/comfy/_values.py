"""What a problem is, and one literal value against one input. Links and whole graphs: `checking`."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from genyard.comfy.catalogue import NodeInput

#: By these endings a choice is known to be a file in a models folder.
MODEL_SUFFIXES: Final = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx", ".pkl")


#: Core types that only a link can carry. Other types may be filled in by a widget of their own.
SOCKET_TYPES: Final = frozenset(
    {"MODEL", "CLIP", "VAE", "CONDITIONING", "LATENT", "IMAGE", "MASK", "CONTROL_NET"}
    | {"VIDEO", "AUDIO", "SAMPLER", "SIGMAS", "NOISE", "GUIDER"}
)

_WORDS: Final = {"INT": "a whole number", "FLOAT": "a number", "STRING": "a text", "BOOLEAN": "true or false"}

#: As ComfyUI converts before it compares with the limits.
_CONVERT: Final[dict[str, Callable[[Any], Any]]] = {
    "INT": int,
    "FLOAT": float,
    "STRING": str,
    "BOOLEAN": bool,
}


class ProblemKind(StrEnum):
    ui_format = "ui_format"
    bad_node = "bad_node"
    no_output = "no_output"
    cycle = "cycle"
    unknown_class = "unknown_class"
    missing_input = "missing_input"
    missing_file = "missing_file"
    missing_node = "missing_node"
    bad_link = "bad_link"
    bad_slot = "bad_slot"
    type_mismatch = "type_mismatch"
    link_needed = "link_needed"
    bad_value = "bad_value"
    out_of_range = "out_of_range"
    not_in_list = "not_in_list"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing to mend.

    message  a sentence that says what is wrong and what would be right
    nearest  existing names (classes, files, choices) that look most like the one that does not exist
    hint     the pack that brings a class, the choices or example for a missing input
    """

    kind: ProblemKind
    message: str
    node: str | None = None
    class_type: str | None = None
    input: str | None = None
    nearest: tuple[str, ...] = ()
    hint: str | None = None

    def as_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"kind": self.kind.value, "message": self.message}
        for name in ("node", "class_type", "input", "hint"):
            if getattr(self, name) is not None:
                told[name] = getattr(self, name)
        if self.nearest:
            told["nearest"] = list(self.nearest)
        return told


@dataclass(frozen=True, kw_only=True)
class Place:
    """The input that a problem is about."""

    node: str
    class_type: str
    input: str

    def problem(
        self, kind: ProblemKind, text: str, *, nearest: tuple[str, ...] = (), hint: str | None = None
    ) -> Problem:
        return Problem(
            kind=kind,
            message=f"node {self.node} ({self.class_type}): {self.input} {text}",
            node=self.node,
            class_type=self.class_type,
            input=self.input,
            nearest=nearest,
            hint=hint,
        )


def shown(value: Any) -> str:
    """A value in a sentence: as JSON, never a whole prompt."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def nearest(name: str, existing: Sequence[Any], count: int = 2) -> tuple[str, ...]:
    """The existing names that look most like this one; folders and case do not count."""
    plain: dict[str, str] = {}
    for other in existing:
        if isinstance(other, str):
            plain.setdefault(_plain(other), other)
    return tuple(
        plain[match] for match in difflib.get_close_matches(_plain(name), plain, n=count, cutoff=0.5)
    )


def _plain(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2].lower()


def check_literal(place: Place, node_input: NodeInput, value: Any) -> Iterator[Problem]:
    """A value that is written into the graph. ComfyUI converts where it can, and so does this."""
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    if node_input.type == "COMBO":
        for one in value if node_input.many and isinstance(value, list) else [value]:
            if not _chosen(node_input, one):
                yield _not_in_list(place, node_input, one)
        return
    told = _wrong(node_input, value)
    if told is not None:
        yield place.problem(told[0], f"is {shown(value)}, {told[1]}")


def _chosen(node_input: NodeInput, value: Any) -> bool:
    choices = node_input.choices
    if choices is None or value in choices:
        return True
    # the list holds the top of the input folder only; subfolders and `name [output]` are files as well
    return node_input.upload and isinstance(value, str) and ("/" in value or value.endswith("]"))


def _wrong(node_input: NodeInput, value: Any) -> tuple[ProblemKind, str] | None:
    kind, low, high = node_input.type, node_input.minimum, node_input.maximum
    if kind in SOCKET_TYPES:
        return ProblemKind.link_needed, f"but needs a link to a node that gives {kind}"
    if kind not in _WORDS:
        return None
    try:
        number = _CONVERT[kind](value)
    except (TypeError, ValueError, OverflowError):
        return ProblemKind.bad_value, f"which is not {_WORDS[kind]}"
    if not isinstance(number, int | float):
        return None
    if low is not None and number < low:
        return ProblemKind.out_of_range, f"below the smallest allowed, {low}"
    if high is not None and number > high:
        return ProblemKind.out_of_range, f"above the largest allowed, {high}"
    return None


def _not_in_list(place: Place, node_input: NodeInput, value: Any) -> Problem:
    choices = [str(choice) for choice in node_input.choices or ()]
    near = nearest(str(value), choices)
    is_model = isinstance(value, str) and value.lower().endswith(MODEL_SUFFIXES)
    is_file = is_model or node_input.upload
    few = choices[: 5 if is_file else 12]
    if not choices:
        hint = "the folder is empty there" if is_file else "the server offers nothing to choose from"
    elif near and (is_file or len(choices) > len(few)):
        hint = f"the nearest is {' or '.join(map(repr, near))}"
    else:
        hint = f"there is {', '.join(few)}{', …' if len(choices) > len(few) else ''}"
    what = "a file that this server does not have" if is_file else "which is not in the list"
    kind = ProblemKind.missing_file if is_model else ProblemKind.not_in_list
    return place.problem(kind, f"is {shown(value)}, {what}; {hint}", nearest=near, hint=hint)
