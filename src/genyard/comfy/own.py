"""The caller's own workflow (`run_workflow`) as a Graph: values set, loaders found, outputs listed.

A template knows all this from its manifest; here it is read off the graph, with the server's catalogue where
there is one and the core save nodes by name otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from genyard.comfy._values import nearest
from genyard.comfy.catalogue import Catalogue
from genyard.comfy.graph import Graph, GraphOutput, Site, Workflow, link_of, prefixes_of, put
from genyard.errors import Code, GenyardError

#: Nodes that save files → (the input whose value they save, its type). Previews are not outputs.
SAVE_CLASSES: Final[Mapping[str, tuple[str, str]]] = {
    "SaveImage": ("images", "IMAGE"),
    "SaveImageAdvanced": ("images", "IMAGE"),
    "SaveAnimatedPNG": ("images", "IMAGE"),
    "SaveAnimatedWEBP": ("images", "IMAGE"),
    "SaveWEBM": ("images", "IMAGE"),
    "SaveVideo": ("video", "VIDEO"),
    "SaveAudio": ("audio", "AUDIO"),
    "SaveAudioMP3": ("audio", "AUDIO"),
    "SaveAudioOpus": ("audio", "AUDIO"),
    "SaveAudioAdvanced": ("audio", "AUDIO"),
    "PixelArtDetectorSave": ("images", "IMAGE"),
    "VHS_VideoCombine": ("images", "IMAGE"),
}

#: Saved pictures of these are separate files; the others make one file of a batch.
_ONE_FILE_EACH: Final = frozenset({"SaveImage", "SaveImageAdvanced", "PixelArtDetectorSave"})

_ROLES: Final[Mapping[str, str]] = {"IMAGE": "image", "VIDEO": "video", "AUDIO": "audio"}
_FILMS: Final = frozenset({"SaveWEBM", "VHS_VideoCombine"})


def own_graph(
    workflow: Workflow,
    *,
    values: Mapping[str, Any] | None = None,
    media: Mapping[str, str] | None = None,
    catalogue: Catalogue | None = None,
) -> Graph:
    """The caller's workflow, ready to be fused and checked.

    values  NODE.INPUT → value          media  name of an input → NODE.INPUT of the loader it goes to
    Raises `request.invalid` with the field for a place that is not in the graph.
    """
    changed = {
        find_site(workflow, place, field=f"parameters.values.{place}"): value
        for place, value in (values or {}).items()
    }
    inputs = {
        name: (find_site(workflow, place, field=f"parameters.media.{name}"),)
        for name, place in (media or {}).items()
    }
    for name, (site,) in inputs.items():
        if site in changed:
            raise GenyardError(
                Code.request_invalid,
                f"{site} is given twice: as a value, and for the input {name!r}",
                field=f"parameters.values.{site}",
            )
        changed[site] = ""
    filled = put(workflow, changed)
    return Graph(
        workflow=filled,
        inputs=inputs,
        outputs=tuple(_output(filled, node_id) for node_id in save_nodes(filled, catalogue)),
        prefixes=prefix_sites(filled),
        facts={"": {}},
    )


def find_site(workflow: Workflow, place: str, *, field: str) -> Site:
    """The input that the text NODE.INPUT names. The input must be written in the graph already: in a graph
    from ComfyUI every widget is."""
    fitting = [node_id for node_id in workflow if place.startswith(f"{node_id}.")]
    if not fitting:
        raise GenyardError(
            Code.request_invalid,
            f"{place!r} does not begin with a node of the workflow; write NODE.INPUT, its nodes are "
            f"{', '.join(list(workflow)[:20])}",
            field=field,
        )
    node_id = max(fitting, key=len)
    name = place.removeprefix(f"{node_id}.")
    node = workflow[node_id]
    inputs = node.get("inputs") or {}
    if name not in inputs:
        near = nearest(name, list(inputs), 1)
        hint = f"did you mean {node_id}.{near[0]}?" if near else f"it has {', '.join(inputs) or 'none'}"
        raise GenyardError(
            Code.request_invalid,
            f"node {node_id} ({node.get('class_type')}) has no input {name!r}; {hint}",
            field=field,
        )
    return Site(node=node_id, input=name)


def save_nodes(workflow: Workflow, catalogue: Catalogue | None = None) -> tuple[str, ...]:
    """Nodes that leave something behind, in the graph's order.

    By the catalogue: output nodes that have a `filename_prefix`, or are known to save. Without one: known
    save classes, and whatever has a `filename_prefix`. Previews and nodes that only print do not count.
    """
    found = []
    for node_id, node in workflow.items():
        name = node.get("class_type")
        node_class = catalogue.find(name) if catalogue and isinstance(name, str) else None
        named = "filename_prefix" in (node.get("inputs") or {})
        if name in SAVE_CLASSES or (named and (node_class is None or node_class.saves)):
            found.append(node_id)
    return tuple(found)


def prefix_sites(workflow: Workflow) -> tuple[Site, ...]:
    """Every `filename_prefix` that is a literal: see `Graph.prefixes`."""
    return prefixes_of(workflow)


def _output(workflow: Workflow, node_id: str) -> GraphOutput:
    name = workflow[node_id]["class_type"]
    taken, kind = SAVE_CLASSES.get(name, ("images", "IMAGE"))
    role = _ROLES[kind] if name in SAVE_CLASSES and name not in _FILMS else None
    socket = link_of((workflow[node_id].get("inputs") or {}).get(taken))
    return GraphOutput(
        role="video" if name in _FILMS else role,
        save=node_id,
        socket=socket,
        type=kind,
        # a graph of the caller's may make any number, with or without transparency
        many=name in _ONE_FILE_EACH,
        alpha=name in _ONE_FILE_EACH,
    )
