"""Graphs and the places in them: what every other module here speaks of.

A workflow is ComfyUI's API format as plain JSON: node id → {"class_type", "inputs"}. A value in `inputs` is a
literal, or a link `[node id, slot]`. Nothing here changes a workflow in place. What a node's inputs mean is
the catalogue's business, not this module's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Workflow = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, order=True)
class Site:
    """One input of one node: where a value goes. Written `NODE.INPUT`; both halves may contain dots."""

    node: str
    input: str

    def __str__(self) -> str:
        return f"{self.node}.{self.input}"

    def as_json(self) -> list[str]:
        return [self.node, self.input]

    @classmethod
    def from_json(cls, told: list[str]) -> Site:
        return cls(node=told[0], input=told[1])

    @classmethod
    def parse(cls, text: str) -> Site:
        """For manifests, whose node ids contain no dot. A caller's text is read by `find_site`."""
        node, _, name = text.partition(".")
        return cls(node=node, input=name)


@dataclass(frozen=True, kw_only=True, order=True)
class Socket:
    """One output of one node: where a value comes from."""

    node: str
    slot: int

    def as_link(self) -> list[Any]:
        return [self.node, self.slot]


@dataclass(frozen=True, kw_only=True)
class GraphOutput:
    """Something that the graph saves.

    role    genyard's word for it: image, layer, video, …; None where only the caller knows (own workflows)
    save    the node that saves it: the key under `outputs` in ComfyUI's history
    socket  the value that it saves: what a following step takes; None where it is not a link
    type    ComfyUI's type of that value: IMAGE, VIDEO, …
    many    more than one picture comes out (a batch, layers)
    alpha   the pictures have transparency, which a following step's loader would drop
    step    the step it belongs to, once fused
    """

    role: str | None
    save: str
    socket: Socket | None = None
    type: str = "IMAGE"
    many: bool = False
    alpha: bool = False
    step: str = ""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A workflow with its loose ends: complete but for the names of the files that will be uploaded.

    inputs    name → where the uploaded file's name goes: `image`, `video`, `control.0`, `control.1`, …;
              after `fuse`: `STEP.NAME`. These sites hold "" until `put_uploads`.
    outputs   what it saves, in the manifest's order
    prefixes  every `filename_prefix`: to be set unique per attempt, else ComfyUI's cache answers an
              identical graph with the old file, or with a file that is gone
    files     model files in it: the template's name for it → the file name that was put in
    facts     step (or "" before `fuse`) → {"template", "template_version"}
    """

    workflow: Workflow
    inputs: Mapping[str, tuple[Site, ...]] = field(default_factory=dict)
    outputs: tuple[GraphOutput, ...] = ()
    prefixes: tuple[Site, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def uploads(self) -> frozenset[Site]:
        """Sites whose value is not known before the upload: `check` is told to leave them alone."""
        return frozenset(site for sites in self.inputs.values() for site in sites)


def link_of(value: Any) -> Socket | None:
    """The socket that an input's value refers to, if it is a well-formed link."""
    if (
        isinstance(value, list | tuple)
        and len(value) == 2
        and isinstance(value[0], str | int)
        and isinstance(value[1], int)
        and not isinstance(value[1], bool)
    ):
        return Socket(node=str(value[0]), slot=value[1])
    return None


def links(workflow: Workflow) -> Iterator[tuple[Site, Socket]]:
    """Every link: the input that takes, the socket that gives."""
    for node_id, node in workflow.items():
        for name, value in node.get("inputs", {}).items():
            socket = link_of(value)
            if socket is not None:
                yield Site(node=node_id, input=name), socket


def prefixes_of(workflow: Workflow) -> tuple[Site, ...]:
    """Every literal `filename_prefix`."""
    return tuple(
        Site(node=node_id, input="filename_prefix")
        for node_id, node in workflow.items()
        if "filename_prefix" in (node.get("inputs") or {})
        and link_of(node["inputs"]["filename_prefix"]) is None
    )


def put(workflow: Workflow, values: Mapping[Site, Any]) -> dict[str, Any]:
    """A copy of the workflow with typed values set into the tree. The nodes must exist."""
    changed = copy.deepcopy(dict(workflow))
    for site, value in values.items():
        changed[site.node].setdefault("inputs", {})[site.input] = value
    return changed


def put_uploads(graph: Graph, names: Mapping[str, str]) -> Graph:
    """The graph with the names under which the server stored its inputs (`graph.inputs` name → file)."""
    values = {site: names[name] for name, sites in graph.inputs.items() for site in sites}
    return replace(graph, workflow=put(graph.workflow, values))


def put_prefix(graph: Graph, prefix: str) -> Graph:
    """Every save node writes under `PREFIX_NODE`, so that no two attempts and no two nodes share a name."""
    values = {
        site: prefix if len(graph.prefixes) == 1 else f"{prefix}_{site.node.replace('/', '_')}"
        for site in graph.prefixes
    }
    return replace(graph, workflow=put(graph.workflow, values))
