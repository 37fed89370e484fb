"""A server's node catalogue: what `GET /object_info` says, read on demand.

ComfyUI tells an input's choices in three ways, and all three mean the same here:

    [["a", "b"], {…}]                               the list in place of the type
    ["COMBO", {"options": ["a", "b"]}]              the list among the options
    ["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "a", "inputs": {…}}, …]}]
                                                    each choice brings inputs of its own, sent flat beside
                                                    it: `format`, `format.codec`, `format.codec.encoding`

A fourth form grows: COMFY_AUTOGROW_V3 `values` is sent as `values.a`, `values.b`, … Entries that are not of
these shapes are read as inputs of an unknown type: custom packs write all sorts of things.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: Types whose value may be written into the graph; every other type comes through a link.
LITERAL_TYPES: Final = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"})

_DYNAMIC: Final = "COMFY_DYNAMICCOMBO_V3"
_AUTOGROW: Final = "COMFY_AUTOGROW_V3"

#: Flags by which a loader says that its list is the folder of uploads, not of models.
_UPLOADS: Final = ("image_upload", "video_upload", "audio_upload", "file_upload", "animated_image_upload")


@dataclass(frozen=True, kw_only=True)
class NodeInput:
    """One input as a graph writes it: dynamic ones are already expanded to their flat names.

    type     INT, FLOAT, STRING, BOOLEAN, COMBO, or the type of a link (MODEL, `INT,FLOAT`, `*`, …)
    choices  for COMBO: what is allowed; empty when the server has nothing to choose from
    upload   the choices are uploaded files, which come and go
    many     a list of choices is a value too
    socket   takes links only, whatever its type
    """

    name: str
    type: str
    required: bool
    choices: tuple[Any, ...] | None = None
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    upload: bool = False
    many: bool = False
    socket: bool = False


@dataclass(frozen=True, kw_only=True)
class NodeClass:
    """One node class. `module` says where it comes from: `nodes`, `comfy_extras.…`, `custom_nodes.PACK`."""

    name: str
    outputs: tuple[str, ...]
    saves: bool
    module: str = ""
    _inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def inputs(self, values: Mapping[str, Any]) -> dict[str, NodeInput]:
        """The inputs that a node of this class has, given its values: choices bring further inputs."""
        found: dict[str, NodeInput] = {}
        for section in ("required", "optional"):
            entries = self._inputs.get(section) or {}
            for name, entry in entries.items():
                for node_input in _expand(name, entry, section == "required", values, nested=False):
                    found.setdefault(node_input.name, node_input)
        return found


class Catalogue:
    """Node classes by name. Holds the server's answer as it came; parses a class when it is asked for."""

    def __init__(self, object_info: Mapping[str, Any]) -> None:
        self._object_info = object_info
        self._parsed: dict[str, NodeClass] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._object_info

    def __len__(self) -> int:
        return len(self._object_info)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._object_info)

    def find(self, name: str) -> NodeClass | None:
        if name not in self._parsed:
            entry = self._object_info.get(name)
            if not isinstance(entry, Mapping):
                return None
            self._parsed[name] = _read_class(name, entry)
        return self._parsed[name]

    def choices(self, class_name: str, input_name: str) -> tuple[Any, ...] | None:
        """What an input may be: for loaders, the model files there. None: not a list, or no such class."""
        node_class = self.find(class_name)
        node_input = node_class.inputs({}).get(input_name) if node_class else None
        return node_input.choices if node_input else None


def _read_class(name: str, entry: Mapping[str, Any]) -> NodeClass:
    return NodeClass(
        name=name,
        # an old custom node may give its list of choices as the type of an output
        outputs=tuple(t if isinstance(t, str) else "COMBO" for t in entry.get("output") or ()),
        saves=bool(entry.get("output_node")),
        module=str(entry.get("python_module") or ""),
        _inputs=entry.get("input") or {},
    )


def _expand(
    name: str, entry: Any, required: bool, values: Mapping[str, Any], *, nested: bool
) -> Iterator[NodeInput]:
    kind, options = _type_and_options(entry)
    if kind == _AUTOGROW:
        yield from _grown(name, options, values)
    elif kind == _DYNAMIC:
        yield from _chosen(name, options, required, values, nested=nested)
    else:
        yield _plain(name, kind, options, required)


def _type_and_options(entry: Any) -> tuple[Any, Mapping[str, Any]]:
    if isinstance(entry, list | tuple) and entry:
        options = entry[1] if len(entry) > 1 and isinstance(entry[1], Mapping) else {}
        return entry[0], options
    return "*", {}


def _plain(name: str, kind: Any, options: Mapping[str, Any], required: bool) -> NodeInput:
    choices: tuple[Any, ...] | None = None
    if isinstance(kind, list | tuple):
        kind, choices = "COMBO", tuple(kind)
    elif kind == "COMBO":
        # a list that the server fetches from elsewhere comes without its options: anything may be right
        choices = tuple(options["options"]) if "options" in options else None
    return NodeInput(
        name=name,
        type=kind if isinstance(kind, str) else "*",
        required=required,
        choices=choices,
        default=options.get("default"),
        minimum=_number(options.get("min")),
        maximum=_number(options.get("max")),
        upload=any(options.get(flag) for flag in _UPLOADS),
        many=bool(options.get("multiselect")),
        socket=bool(options.get("forceInput")),
    )


def _number(value: Any) -> float | None:
    # an int stays an int: the largest seed is not exact as a float
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _chosen(
    name: str, options: Mapping[str, Any], required: bool, values: Mapping[str, Any], *, nested: bool
) -> Iterator[NodeInput]:
    rows = {row.get("key"): row for row in options.get("options", ()) if isinstance(row, Mapping)}
    # ComfyUI itself takes a graph without a nested choice (SaveVideo's old `codec` beside `format` lives on
    # that); without the outer one the node cannot run
    yield NodeInput(
        name=name,
        type="COMBO",
        required=required and not nested,
        choices=tuple(rows),
        default=options.get("default"),
    )
    if name not in values or not isinstance(values[name], str) or values[name] not in rows:
        return
    for section in ("required", "optional"):
        for inner, entry in ((rows[values[name]].get("inputs") or {}).get(section) or {}).items():
            yield from _expand(f"{name}.{inner}", entry, section == "required", values, nested=True)


def _grown(name: str, options: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[NodeInput]:
    template = options.get("template") or {}
    names = template.get("names") or [
        f"{template.get('prefix', '')}{i}" for i in range(template.get("max", 0))
    ]
    for section in ("required", "optional"):
        for entry in list(((template.get("input") or {}).get(section) or {}).values())[:1]:
            for index, inner in enumerate(names):
                required = section == "required" and index < template.get("min", 0)
                if required or f"{name}.{inner}" in values:
                    yield from _expand(f"{name}.{inner}", entry, required, values, nested=True)
