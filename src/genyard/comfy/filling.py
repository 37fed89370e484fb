"""A template and values make a graph: typed values are set into the tree, nodes are spliced in. Pure.

Nothing is replaced in text, nothing is dropped: what the template cannot honour is refused by name.
Whether a server can run the graph is `check`'s question.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from genyard.comfy.graph import Graph, GraphOutput, Site, Socket, link_of, prefixes_of
from genyard.comfy.template import ControlPoint, LoraPoint, Template, TemplateOutput, TemplateParameter
from genyard.errors import Code, GenyardError


@dataclass(frozen=True, kw_only=True)
class Lora:
    """`name` is the file name as the server knows it, in its loras folder."""

    name: str
    strength: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Control:
    """The i-th control uses the graph's input `control.i`.

    canny      an ordinary picture: its edges are found on the server, by a core node
    any other  the finished map (depth, pose, …): core ComfyUI has no preprocessors for them
    """

    kind: str
    strength: float = 1.0


#: Kind of control → what SetUnionControlNetType calls it.
UNION_TYPES: Final[Mapping[str, str]] = {
    "canny": "canny/lineart/anime_lineart/mlsd",
    "lineart": "canny/lineart/anime_lineart/mlsd",
    "scribble": "hed/pidi/scribble/ted",
    "depth": "depth",
    "openpose": "openpose",
    "normal": "normal",
    "segment": "segment",
    "tile": "tile",
}

#: One of something is what a template without that parameter makes anyway.
_NEUTRAL: Final[Mapping[str, Any]] = {"count": 1}

_TYPES: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "text": ((str,), "a text"),
}


def fill(
    template: Template,
    *,
    values: Mapping[str, Any],
    files: Mapping[str, str] | None = None,
    loras: Sequence[Lora] = (),
    controls: Sequence[Control] = (),
) -> Graph:
    """The template's graph with these values.

    values    parameter → value; None and empty ones count as not given, for which the workflow's own stays
    files     the template's names for model files → file names (see `choose`); `controlnet.KIND` or
              `controlnet.union` name the nets for `controls`. Names of other templates are ignored.
    Raises `request.unsupported` for what the template cannot honour (field `parameters.NAME`),
    `request.invalid` for a missing or mistyped value.
    """
    files = files or {}
    draft = _Draft(nodes=copy.deepcopy(dict(template.workflow)))
    _set_values(draft, template, values)
    used = _set_files(draft, template, files)
    if loras:
        _splice_loras(draft, template, loras)
    if controls:
        used |= _splice_controls(draft, template, controls, files)
    for role, sites in template.inputs.items():
        draft.inputs[role] = sites
    for site in (site for sites in draft.inputs.values() for site in sites):
        draft.nodes[site.node]["inputs"][site.input] = ""
    return Graph(
        workflow=draft.nodes,
        inputs=draft.inputs,
        outputs=tuple(_output(output, values) for output in template.outputs),
        prefixes=prefixes_of(draft.nodes),
        files=used,
        facts={"": {"template": template.name, "template_version": template.version}},
    )


@dataclass(kw_only=True)
class _Draft:
    """The only thing here that changes: the copy being worked on."""

    nodes: dict[str, Any]
    inputs: dict[str, tuple[Site, ...]] = field(default_factory=dict)

    def add(self, name: str, class_type: str, inputs: dict[str, Any]) -> Socket:
        self.nodes[name] = {"class_type": class_type, "inputs": inputs}
        return Socket(node=name, slot=0)

    def move(self, old: Socket, new: Socket) -> None:
        """What took `old` takes `new`; called before the nodes that lead from old to new are added."""
        for node in self.nodes.values():
            for name, value in node["inputs"].items():
                if link_of(value) == old:
                    node["inputs"][name] = new.as_link()


def _given(value: Any) -> bool:
    return not (value is None or value == "" or value == () or value == [] or value == {})


def _set_values(draft: _Draft, template: Template, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if not _given(value) or _NEUTRAL.get(name) == value:
            continue
        if name not in template.parameters:
            takes = ", ".join(template.parameters) or "no parameters"
            raise GenyardError(
                Code.request_unsupported,
                f"{template.title} has no {name}; it takes {takes}",
                field=f"parameters.{name}",
                context={"template": template.name},
            )
        _require_type(name, value, template.parameters[name])
    for name, parameter in template.parameters.items():
        value = values.get(name)
        if not _given(value):
            if parameter.required:
                raise GenyardError(Code.request_invalid, f"{name} is required", field=f"parameters.{name}")
            if parameter.type != "text" or value is None:
                continue
        for site in parameter.sites:
            draft.nodes[site.node]["inputs"][site.input] = _times(value, parameter, values)


def _require_type(name: str, value: Any, parameter: TemplateParameter) -> None:
    types, words = _TYPES[parameter.type]
    if parameter.times != 1:
        types = (int, float)  # seconds become frames: the product is what must be whole, and is made so
    if not isinstance(value, types) or isinstance(value, bool):
        raise GenyardError(
            Code.request_invalid, f"{name} must be {words}, not {value!r}", field=f"parameters.{name}"
        )


def _times(value: Any, parameter: TemplateParameter, values: Mapping[str, Any]) -> Any:
    if parameter.type == "text":
        return value
    factor = values.get(parameter.times) if isinstance(parameter.times, str) else parameter.times
    if factor is None:
        raise GenyardError(
            Code.request_invalid, f"{parameter.times} is required", field=f"parameters.{parameter.times}"
        )
    product = value * factor
    # seeds reach 2**64: they must not pass through a float
    return round(product) if parameter.type == "int" else float(product)


def _set_files(draft: _Draft, template: Template, files: Mapping[str, str]) -> dict[str, str]:
    used = {name: files.get(name, file.default) for name, file in template.files.items()}
    for name, file in template.files.items():
        draft.nodes[file.site.node]["inputs"][file.site.input] = used[name]
    return used


def _splice_loras(draft: _Draft, template: Template, loras: Sequence[Lora]) -> None:
    point = template.loras
    if point is None:
        raise GenyardError(
            Code.request_unsupported, f"{template.title} takes no LoRAs", field="parameters.loras"
        )
    last = f"lora{len(loras) - 1}"
    draft.move(point.model, Socket(node=last, slot=0))
    if point.clip is not None:
        draft.move(point.clip, Socket(node=last, slot=1))
    model, clip = point.model, point.clip
    for index, lora in enumerate(loras):
        model, clip = _add_lora(draft, f"lora{index}", LoraPoint(model=model, clip=clip), lora)


def _add_lora(draft: _Draft, name: str, point: LoraPoint, lora: Lora) -> tuple[Socket, Socket | None]:
    inputs: dict[str, Any] = {"model": point.model.as_link(), "lora_name": lora.name}
    inputs["strength_model"] = float(lora.strength)
    if point.clip is None:
        return draft.add(name, "LoraLoaderModelOnly", inputs), None
    inputs |= {"clip": point.clip.as_link(), "strength_clip": float(lora.strength)}
    return draft.add(name, "LoraLoader", inputs), Socket(node=name, slot=1)


def _splice_controls(
    draft: _Draft, template: Template, controls: Sequence[Control], files: Mapping[str, str]
) -> dict[str, str]:
    point = template.controls
    if point is None:
        raise GenyardError(
            Code.request_unsupported, f"{template.title} takes no ControlNets", field="parameters.controlnets"
        )
    last = f"control{len(controls) - 1}.apply"
    draft.move(point.positive, Socket(node=last, slot=0))
    draft.move(point.negative, Socket(node=last, slot=1))
    used = {}
    for index, control in enumerate(controls):
        key = _net_for(control.kind, files, index, template)
        used[key] = files[key]
        applied = _add_control(draft, index, control, point, net=files[key], union=key == "controlnet.union")
        point = ControlPoint(positive=applied, negative=Socket(node=applied.node, slot=1), vae=point.vae)
    return used


def _net_for(kind: str, files: Mapping[str, str], index: int, template: Template) -> str:
    for key in (f"controlnet.{kind}", "controlnet.union"):
        if files.get(key) and (key != "controlnet.union" or kind in UNION_TYPES):
            return key
    known = sorted(key.removeprefix("controlnet.") for key in files if key.startswith("controlnet."))
    has = f"it has nets for {', '.join(known)}" if known else "no net is named for it"
    raise GenyardError(
        Code.request_unsupported,
        f"{template.title} has no ControlNet for {kind!r}: {has}",
        field=f"parameters.controlnets.{index}.kind",
    )


def _add_control(
    draft: _Draft, index: int, control: Control, point: ControlPoint, *, net: str, union: bool
) -> Socket:
    name = f"control{index}"
    picture = draft.add(f"{name}.image", "LoadImage", {"image": ""})
    draft.inputs[f"control.{index}"] = (Site(node=picture.node, input="image"),)
    if control.kind == "canny":
        thresholds = {"low_threshold": 0.4, "high_threshold": 0.8}
        picture = draft.add(f"{name}.edges", "Canny", {"image": picture.as_link(), **thresholds})
    loaded = draft.add(f"{name}.net", "ControlNetLoader", {"control_net_name": net})
    if union:
        kind = {"control_net": loaded.as_link(), "type": UNION_TYPES[control.kind]}
        loaded = draft.add(f"{name}.kind", "SetUnionControlNetType", kind)
    inputs: dict[str, Any] = {
        "positive": point.positive.as_link(),
        "negative": point.negative.as_link(),
        "control_net": loaded.as_link(),
        "image": picture.as_link(),
        "strength": float(control.strength),
        "start_percent": 0.0,
        "end_percent": 1.0,
    }
    if point.vae is not None:
        inputs["vae"] = point.vae.as_link()
    return draft.add(f"{name}.apply", "ControlNetApplyAdvanced", inputs)


def _output(output: TemplateOutput, values: Mapping[str, Any]) -> GraphOutput:
    many = output.many if isinstance(output.many, bool) else (values.get(output.many) or 1) > 1
    return GraphOutput(
        role=output.role,
        save=output.save,
        socket=output.socket,
        type=output.type,
        many=many,
        alpha=output.alpha,
    )
