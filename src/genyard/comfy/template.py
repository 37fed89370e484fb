"""Templates: an exported workflow as it came, beside a manifest that says where things go in it.

    data/templates/NAME/workflow.json   API format, untouched
    data/templates/NAME/template.toml   the manifest:

    title = "…"            version = 1            operation = "txt2img"
    note = "…"             what a person should know: packs, licences, limits        (optional)

    [parameters]           operation's parameter → where it goes
    width = { type = "int", sites = ["27.width"] }
        type       int | float | text
        required   true: there is no sensible value in the workflow (a prompt)
        times      a number, or the name of another parameter: what is put in is the product

    [inputs]               input role → the loader that takes the uploaded file's name
    image = ["40.image"]

    [[outputs]]            in the order in which the step returns them
    role = "image"   save = "9"   socket = ["8", 0]
    type = "IMAGE"         type of the value saved
    many = "count"         the parameter that says how many come out, or true
    alpha = true           the pictures have transparency

    [files.NAME]           model files, named alike in templates that use the same file
    site = "12.unet_name"   folder = "diffusion_models"   default = "…"   alternatives = ["…"]

    [loras]                where LoRAs are spliced in: the sockets whose consumers are moved behind them
    model = ["12", 0]      clip = ["4", 1]  (without: the model alone)
    [controls]             likewise for ControlNets
    positive = ["26", 0]   negative = ["33", 0]   vae = ["10", 0]  (where the nets need it: Flux)

`version` goes up whenever the graph or the meaning of a parameter changes: it is kept with every output.
Filling is in `filling`, choosing between templates in `choosing`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

from genyard.comfy.graph import Site, Socket, Workflow, link_of
from genyard.errors import Code, GenyardError


@dataclass(frozen=True, kw_only=True)
class TemplateParameter:
    type: Literal["int", "float", "text"]
    sites: tuple[Site, ...]
    required: bool = False
    times: float | str = 1


@dataclass(frozen=True, kw_only=True)
class TemplateOutput:
    role: str
    save: str
    socket: Socket
    type: str = "IMAGE"
    many: bool | str = False
    alpha: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """`alternatives` do the same job and are taken, in order, where the default is not installed."""

    site: Site
    folder: str
    default: str
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LoraPoint:
    model: Socket
    clip: Socket | None = None


@dataclass(frozen=True, kw_only=True)
class ControlPoint:
    positive: Socket
    negative: Socket
    vae: Socket | None = None


@dataclass(frozen=True, kw_only=True)
class Template:
    name: str
    title: str
    version: int
    operation: str
    workflow: Workflow
    note: str = ""
    parameters: Mapping[str, TemplateParameter] = field(default_factory=dict)
    inputs: Mapping[str, tuple[Site, ...]] = field(default_factory=dict)
    outputs: tuple[TemplateOutput, ...] = ()
    files: Mapping[str, ModelFile] = field(default_factory=dict)
    loras: LoraPoint | None = None
    controls: ControlPoint | None = None

    @property
    def classes(self) -> frozenset[str]:
        return frozenset(node["class_type"] for node in self.workflow.values())

    def sites(self) -> Iterator[Site]:
        for parameter in self.parameters.values():
            yield from parameter.sites
        for sites in self.inputs.values():
            yield from sites
        for file in self.files.values():
            yield file.site


def template_names() -> tuple[str, ...]:
    root = resources.files("genyard.comfy") / "data" / "templates"
    return tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir()))


@cache
def load_template(name: str) -> Template:
    """A template that ships with genyard. Wrong data is a defect: it raises `settings.invalid`."""
    if name not in template_names():
        raise GenyardError(
            Code.settings_invalid, f"there is no template {name!r}; there are {', '.join(template_names())}"
        )
    folder = resources.files("genyard.comfy") / "data" / "templates" / name
    return read_template(
        name, (folder / "workflow.json").read_bytes(), (folder / "template.toml").read_bytes()
    )


def read_template(name: str, workflow: bytes, manifest: bytes) -> Template:
    """From the two files' contents; `settings.invalid` names what is wrong in them."""
    try:
        template = _read(name, json.loads(workflow), tomllib.loads(manifest.decode()))
    except (KeyError, TypeError, ValueError) as wrong:
        raise GenyardError(Code.settings_invalid, f"template {name}: {wrong!r}") from wrong
    _require_places(template)
    return template


def _read(name: str, workflow: dict[str, Any], manifest: dict[str, Any]) -> Template:
    loras, controls = manifest.get("loras"), manifest.get("controls")
    return Template(
        name=name,
        title=manifest["title"],
        version=int(manifest["version"]),
        operation=manifest["operation"],
        note=manifest.get("note", ""),
        workflow=workflow,
        parameters={
            key: TemplateParameter(**{**row, "sites": _sites(row["sites"])})
            for key, row in manifest.get("parameters", {}).items()
        },
        inputs={role: _sites(sites) for role, sites in manifest.get("inputs", {}).items()},
        outputs=tuple(
            TemplateOutput(**{**row, "socket": _socket(row["socket"])}) for row in manifest["outputs"]
        ),
        files={
            key: ModelFile(
                site=Site.parse(row["site"]),
                folder=row["folder"],
                default=row["default"],
                alternatives=tuple(row.get("alternatives", ())),
            )
            for key, row in manifest.get("files", {}).items()
        },
        loras=LoraPoint(**{key: _socket(link) for key, link in loras.items()}) if loras else None,
        controls=ControlPoint(**{key: _socket(link) for key, link in controls.items()}) if controls else None,
    )


def _sites(texts: list[str]) -> tuple[Site, ...]:
    return tuple(Site.parse(text) for text in texts)


def _socket(link: list[Any]) -> Socket:
    socket = link_of(link)
    if socket is None:
        raise ValueError(f"{link!r} is not [node id, slot]")
    return socket


def _require_places(template: Template) -> None:
    for site in template.sites():
        node = template.workflow.get(site.node)
        if node is None or site.input not in node["inputs"]:
            raise GenyardError(
                Code.settings_invalid, f"template {template.name}: no input {site} in its graph"
            )
    nodes = {output.save for output in template.outputs} | {output.socket.node for output in template.outputs}
    for point in (template.loras, template.controls):
        nodes |= {socket.node for socket in vars(point).values() if socket} if point else set()
    for node_id in nodes - set(template.workflow):
        raise GenyardError(Code.settings_invalid, f"template {template.name}: no node {node_id} in its graph")
