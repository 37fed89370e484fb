"""Several steps' graphs become one: an intermediate picture passes from node to node and is never uploaded.

What a following step would have seen is kept the same as if it had loaded the saved file: the first picture
of a batch, without transparency. Nodes get the name of their step (`draw.31`); loaders that load the same
thing are shared, so a checkpoint is in memory once. Nothing here knows a server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from genyard.comfy.graph import Graph, GraphOutput, Site, Socket, link_of, links
from genyard.errors import Code, GenyardError

#: Loader of an input → the type of its first output. Only these can be replaced by a socket.
_LOADERS: Final[Mapping[str, str]] = {"LoadImage": "IMAGE", "LoadVideo": "VIDEO", "LoadAudio": "AUDIO"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One step on its way into a fused graph.

    wires  input name of this graph → name of the earlier part whose first output feeds it
    keep   whether its outputs are wanted; else its save nodes are left out
    """

    name: str
    graph: Graph
    wires: Mapping[str, str] = field(default_factory=dict)
    keep: bool = True


def fuse(parts: Sequence[Part]) -> Graph:
    """One graph for all the parts, in the order of the steps; a single part is renamed in the same way.

    Node ids become `STEP.NODE`, names of inputs `STEP.NAME`, and outputs say their step. Raises
    `workflow.invalid` where an input cannot be fed by a socket, and says why.
    """
    names = [part.name for part in parts]
    if not parts or len(set(names)) != len(names):
        raise GenyardError(Code.internal, f"fuse needs parts with different names, not {names}")
    done: dict[str, Graph] = {}
    for part in parts:
        done[part.name] = _join(part, done)
    whole = _merge([_trim(part, done[part.name]) for part in parts])
    if not whole.outputs:
        raise GenyardError(Code.internal, f"none of the steps {', '.join(names)} is kept")
    return _share_loaders(whole)


def _join(part: Part, done: Mapping[str, Graph]) -> Graph:
    graph = _renamed(part.name, part.graph)
    for name, source in part.wires.items():
        if source not in done:
            raise GenyardError(
                Code.internal, f"step {part.name!r} takes from {source!r}, which is not an earlier step"
            )
        graph = _wire(graph, part.name, name, source, done[source])
    return graph


def _renamed(step: str, graph: Graph) -> Graph:
    def node_id(old: str) -> str:
        return f"{step}.{old}"

    nodes = {}
    for old, node in graph.workflow.items():
        inputs = {}
        for name, value in (node.get("inputs") or {}).items():
            socket = link_of(value)
            linked = socket is not None and socket.node in graph.workflow
            inputs[name] = [node_id(socket.node), socket.slot] if socket and linked else value
        nodes[node_id(old)] = {**node, "inputs": inputs}
    return Graph(
        workflow=nodes,
        inputs={
            f"{step}.{name}": tuple(replace(site, node=node_id(site.node)) for site in sites)
            for name, sites in graph.inputs.items()
        },
        outputs=tuple(
            replace(
                output,
                step=step,
                save=node_id(output.save),
                socket=output.socket and replace(output.socket, node=node_id(output.socket.node)),
            )
            for output in graph.outputs
        ),
        prefixes=tuple(replace(site, node=node_id(site.node)) for site in graph.prefixes),
        files={f"{step}.{name}": file for name, file in graph.files.items()},
        facts={step: graph.facts.get("", {})},
    )


def _wire(graph: Graph, step: str, name: str, source: str, giver: Graph) -> Graph:
    key = f"{step}.{name}"
    if key not in graph.inputs:
        known = ", ".join(other.removeprefix(f"{step}.") for other in graph.inputs) or "none"
        raise GenyardError(Code.internal, f"step {step!r} has no input {name!r}; it has: {known}")
    output = giver.outputs[0] if giver.outputs else None
    if output is None or output.socket is None:
        raise _refusal(step, name, source, "nothing that a following node could take comes out of that step")
    nodes = dict(graph.workflow)
    feed = _feed(nodes, f"{step}.{name}", output)
    for site in graph.inputs[key]:
        _replace_loader(nodes, site, feed, output.type, (step, name, source))
    return replace(
        graph,
        workflow=nodes,
        inputs={other: sites for other, sites in graph.inputs.items() if other != key},
    )


def _feed(nodes: dict[str, Any], name: str, output: GraphOutput) -> Socket:
    """The socket that gives what a loader would have given for the first saved file."""
    assert output.socket is not None
    feed = output.socket
    if output.type != "IMAGE":
        return feed
    if output.many:
        inputs = {"image": feed.as_link(), "batch_index": 0, "length": 1}
        nodes[f"{name}.first"] = {"class_type": "ImageFromBatch", "inputs": inputs}
        feed = Socket(node=f"{name}.first", slot=0)
    if output.alpha:
        nodes[f"{name}.opaque"] = {"class_type": "SplitImageWithAlpha", "inputs": {"image": feed.as_link()}}
        feed = Socket(node=f"{name}.opaque", slot=0)
    return feed


def _replace_loader(
    nodes: dict[str, Any], site: Site, feed: Socket, given: str, about: tuple[str, str, str]
) -> None:
    loader = nodes.pop(site.node, None)
    if loader is None:
        return  # two inputs of one loader: it is gone already
    wanted = _LOADERS.get(loader["class_type"])
    if wanted is None:
        raise _refusal(
            *about, f"node {site.node} ({loader['class_type']}) is not one of {', '.join(_LOADERS)}"
        )
    if wanted != given:
        raise _refusal(*about, f"it gives {given}, and node {site.node} stands for {wanted}")
    for taker, socket in list(links(nodes)):
        if socket.node != site.node:
            continue
        if socket.slot != 0:
            raise _refusal(
                *about,
                f"node {taker.node} uses output {socket.slot} of {loader['class_type']} "
                "(a mask, for LoadImage), which a picture inside the graph does not have; "
                "run the two steps one after the other",
            )
        node = nodes[taker.node]
        nodes[taker.node] = {**node, "inputs": {**node["inputs"], taker.input: feed.as_link()}}


def _refusal(step: str, name: str, source: str, why: str) -> GenyardError:
    return GenyardError(
        Code.workflow_invalid,
        f"step {step!r} cannot take its input {name!r} from step {source!r} inside one workflow: {why}",
        field=f"steps.{step}.inputs.{name}",
    )


def _trim(part: Part, graph: Graph) -> Graph:
    """Without its save nodes, if nobody wants what they save. Previews and other side effects stay."""
    if part.keep:
        return graph
    gone = {output.save for output in graph.outputs}
    return replace(
        graph,
        workflow={node_id: node for node_id, node in graph.workflow.items() if node_id not in gone},
        outputs=(),
        prefixes=tuple(site for site in graph.prefixes if site.node not in gone),
    )


def _merge(graphs: Sequence[Graph]) -> Graph:
    return Graph(
        workflow={node_id: node for graph in graphs for node_id, node in graph.workflow.items()},
        inputs={name: sites for graph in graphs for name, sites in graph.inputs.items()},
        outputs=tuple(output for graph in graphs for output in graph.outputs),
        prefixes=tuple(site for graph in graphs for site in graph.prefixes),
        files={name: file for graph in graphs for name, file in graph.files.items()},
        facts={step: facts for graph in graphs for step, facts in graph.facts.items()},
    )


def _share_loaders(graph: Graph) -> Graph:
    """Later loaders with the same class and inputs give way to the first one, LoRA chains included."""
    nodes = dict(graph.workflow)
    uploads = {site.node for site in graph.uploads}
    saves = {output.save for output in graph.outputs}
    while True:
        first: dict[str, str] = {}
        twins: dict[str, str] = {}
        for node_id, node in nodes.items():
            if "Load" not in node["class_type"] or node_id in uploads | saves:
                continue
            same = json.dumps([node["class_type"], node["inputs"]], sort_keys=True)
            if first.setdefault(same, node_id) != node_id:
                twins[node_id] = first[same]
        if not twins:
            return replace(graph, workflow=nodes)
        nodes = {
            node_id: {**node, "inputs": {key: _moved(value, twins) for key, value in node["inputs"].items()}}
            for node_id, node in nodes.items()
            if node_id not in twins
        }


def _moved(value: Any, twins: Mapping[str, str]) -> Any:
    socket = link_of(value)
    return [twins[socket.node], socket.slot] if socket and socket.node in twins else value
