"""Holding a graph against a node catalogue: every problem at once, in words a person can act on.

ComfyUI's own validation stops at the first missing node, and per branch at the first bad input, so a graph
with four mistakes takes four tries. This looks at every node that will run. It is as lenient as ComfyUI is
("42", 3.7 and true are integers), and stricter where ComfyUI lets a graph through that then fails while it
runs: a literal where a link is needed, a choice with inputs of its own that is not among the choices.
Whether the values make a good picture is not judged here. One value against one input: `_values`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from genyard.comfy._packs import pack_of
from genyard.comfy._values import Place, Problem, ProblemKind, check_literal, nearest, shown
from genyard.comfy.catalogue import LITERAL_TYPES, Catalogue, NodeInput
from genyard.comfy.graph import Site, Socket, Workflow, link_of
from genyard.errors import Code, GenyardError

__all__ = ["Problem", "ProblemKind", "check", "error_of"]


def check(workflow: Workflow, catalogue: Catalogue, *, uploads: Collection[Site] = ()) -> tuple[Problem, ...]:
    """Every reason why the server of this catalogue would refuse the graph, or fail on it; () when none.

    uploads  sites whose file will have been uploaded by the time it runs: their value is not looked at
    """
    if isinstance(workflow.get("nodes"), list):
        return (
            Problem(
                kind=ProblemKind.ui_format,
                message="this is a workflow in ComfyUI's UI format; export it with Workflow → Export (API)",
            ),
        )
    found = [*_shape(workflow)]
    bad_shape = {problem.node for problem in found}
    sound = {node_id: node for node_id, node in workflow.items() if node_id not in bad_shape}
    found += [
        _unknown_class(node_id, node["class_type"], catalogue)
        for node_id, node in sound.items()
        if node["class_type"] not in catalogue
    ]
    saving = [node_id for node_id, node in sound.items() if _saves(node["class_type"], catalogue)]
    used = _leading_to(saving, sound) if saving else set(sound)
    of_nodes = _check_nodes(used, sound, workflow, catalogue, uploads)
    if any(problem.kind in _BROKEN for problem in of_nodes):
        # what leads nowhere now may be what the broken place was meant to take
        used = set(sound)
        of_nodes = _check_nodes(used, sound, workflow, catalogue, uploads)
    found += of_nodes
    found += _cycles({node_id: node for node_id, node in sound.items() if node_id in used})
    if not saving and not bad_shape:
        found.append(
            Problem(
                kind=ProblemKind.no_output,
                message="nothing in this graph saves anything; add a node such as SaveImage or SaveVideo",
            )
        )
    return tuple(found)


def error_of(problems: Sequence[Problem], *, field: str | None = None) -> GenyardError:
    """One error that tells all of them.

    `provider.missing` when all that stands in the way is what that server has installed (nodes, model
    files); `workflow.invalid` as soon as the graph itself is wrong.
    """
    missing = all(problem.kind in _MISSING for problem in problems)
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    intro = "the server lacks what this workflow needs" if missing else f"the workflow has {count}"
    return GenyardError(
        Code.provider_missing if missing else Code.workflow_invalid,
        f"{intro}: " + "; ".join(problem.message for problem in problems),
        field=field,
        context={"problems": [problem.as_json() for problem in problems]},
    )


_MISSING = frozenset({ProblemKind.unknown_class, ProblemKind.missing_file})
_BROKEN = frozenset(
    {ProblemKind.missing_node, ProblemKind.missing_input, ProblemKind.bad_link, ProblemKind.bad_slot}
    | {ProblemKind.type_mismatch, ProblemKind.link_needed}
)


def _shape(workflow: Workflow) -> Iterator[Problem]:
    for node_id, node in workflow.items():
        if not isinstance(node, Mapping):
            text = f"node {node_id} is {shown(node)}, not an object with class_type and inputs"
        elif not isinstance(node.get("class_type"), str) or not node["class_type"]:
            text = f"node {node_id} has no class_type: name the node class it is"
        elif not isinstance(node.get("inputs", {}), Mapping):
            text = f"node {node_id} ({node['class_type']}): inputs must be an object"
        else:
            continue
        yield Problem(kind=ProblemKind.bad_node, message=text, node=node_id)


def _saves(name: str, catalogue: Catalogue) -> bool:
    node_class = catalogue.find(name)
    # a class that is not installed may well be the one that saves: its absence is told already
    return node_class is None or node_class.saves


def _leading_to(saving: Sequence[str], workflow: Workflow) -> set[str]:
    """The nodes that will run. ComfyUI takes no notice of left-over nodes that lead nowhere, unless their
    class is unknown."""
    reached: set[str] = set()
    waiting = list(saving)
    while waiting:
        node_id = waiting.pop()
        if node_id not in reached:
            reached.add(node_id)
            waiting += _givers(workflow[node_id], workflow)
    return reached


def _givers(node: Mapping[str, Any], workflow: Workflow) -> list[str]:
    sockets = map(link_of, (node.get("inputs") or {}).values())
    return [socket.node for socket in sockets if socket is not None and socket.node in workflow]


def _check_nodes(
    used: Collection[str],
    sound: Workflow,
    workflow: Workflow,
    catalogue: Catalogue,
    uploads: Collection[Site],
) -> list[Problem]:
    return [
        problem
        for node_id, node in sound.items()
        if node_id in used
        for problem in _check_node(node_id, node, workflow, catalogue, uploads)
    ]


def _check_node(
    node_id: str,
    node: Mapping[str, Any],
    workflow: Workflow,
    catalogue: Catalogue,
    uploads: Collection[Site],
) -> Iterator[Problem]:
    name, values = node["class_type"], node.get("inputs") or {}
    node_class = catalogue.find(name)
    inputs = node_class.inputs(values) if node_class is not None else {}
    # ComfyUI follows links of inputs that no class declares, unchecked: a wrong slot there ends its executor
    for key, value in values.items():
        socket = link_of(value)
        if key not in inputs and socket is not None:
            place = Place(node=node_id, class_type=name, input=key)
            yield from _check_value(
                place, NodeInput(name=key, type="*", required=False), value, workflow, catalogue
            )
    for node_input in inputs.values():
        place = Place(node=node_id, class_type=name, input=node_input.name)
        if node_input.name not in values:
            if node_input.required:
                hint = _example(node_input)
                yield place.problem(ProblemKind.missing_input, f"is required: {hint}", hint=hint)
        elif Site(node=node_id, input=node_input.name) not in uploads:
            yield from _check_value(place, node_input, values[node_input.name], workflow, catalogue)


def _unknown_class(node_id: str, name: str, catalogue: Catalogue) -> Problem:
    pack = pack_of(name)
    near = nearest(name, catalogue.names)
    if pack is not None:
        hint = f"it comes with {pack}"
    elif near:
        hint = f"did you mean {' or '.join(near)}?"
    else:
        hint = "the custom node pack that brings it is not installed there"
    return Problem(
        kind=ProblemKind.unknown_class,
        message=f"node {node_id}: this server has no node class {name!r}; {hint}",
        node=node_id,
        class_type=name,
        nearest=near,
        hint=pack,
    )


def _example(node_input: NodeInput) -> str:
    if node_input.choices:
        listed = ", ".join(map(str, node_input.choices[:6]))
        return f"one of {listed}{', …' if len(node_input.choices) > 6 else ''}"
    if node_input.type not in LITERAL_TYPES:
        return f"a link to a node that gives {node_input.type}"
    if node_input.default is not None:
        return f"for example {shown(node_input.default)}"
    return f"a value of type {node_input.type}"


def _check_value(
    place: Place, node_input: NodeInput, value: Any, workflow: Workflow, catalogue: Catalogue
) -> Iterator[Problem]:
    socket = link_of(value)
    if not isinstance(value, list | tuple) or (node_input.many and socket is None):
        yield from check_literal(place, node_input, value)
    elif socket is None or not isinstance(value[0], str):
        yield place.problem(
            ProblemKind.bad_link,
            f'is {shown(value)}; a link is [node id as text, output number], like ["4", 0]',
        )
    elif socket.node not in workflow:
        yield _no_such_node(place, socket.node, workflow)
    else:
        yield from _check_link(place, node_input.type, socket, workflow[socket.node], catalogue)


def _check_link(
    place: Place, wanted: str, socket: Socket, giver: Any, catalogue: Catalogue
) -> Iterator[Problem]:
    name = giver.get("class_type") if isinstance(giver, Mapping) else None
    giving = catalogue.find(name) if isinstance(name, str) else None
    if giving is None:
        return  # the giver's own problem is told with the giver
    listed = ", ".join(f"{slot} {kind}" for slot, kind in enumerate(giving.outputs))
    has = f"which has {f'the outputs {listed}' if listed else 'no outputs'}"
    source = f"output {socket.slot} of node {socket.node} ({giving.name})"
    if not 0 <= socket.slot < len(giving.outputs):
        yield place.problem(ProblemKind.bad_slot, f"takes {source}, {has}")
    elif not fits(giving.outputs[socket.slot], wanted):
        given = giving.outputs[socket.slot]
        yield place.problem(
            ProblemKind.type_mismatch, f"needs {wanted}, but takes {given} from {source}, {has}"
        )


def _no_such_node(place: Place, missing: str, workflow: Workflow) -> Problem:
    nodes = ", ".join(list(workflow)[:20])
    return place.problem(
        ProblemKind.missing_node, f"is linked to node {missing}, which is not in the graph; it has {nodes}"
    )


def fits(given: str, wanted: str) -> bool:
    """ComfyUI's own rule: some type in common; `*` and types that the page resolves fit everything."""
    loose = {"*", "COMFY_MATCHTYPE_V3"}
    givens = {part.strip() for part in given.split(",")}
    wanteds = {part.strip() for part in wanted.split(",")}
    return bool(givens & wanteds or (givens | wanteds) & loose)


def _cycles(workflow: Workflow) -> Iterator[Problem]:
    feeds = {node_id: _givers(node, workflow) for node_id, node in workflow.items()}
    done: set[str] = set()
    for start in feeds:
        cycle = _walk(start, feeds, done)
        if cycle:
            names = " → ".join(f"{node} ({workflow[node]['class_type']})" for node in cycle)
            yield Problem(
                kind=ProblemKind.cycle,
                message=f"these nodes feed each other in a circle: {names}; remove one of the links",
                node=cycle[0],
                class_type=workflow[cycle[0]]["class_type"],
            )


def _walk(start: str, feeds: Mapping[str, Sequence[str]], done: set[str]) -> list[str]:
    """Depth first without recursion: graphs may be longer than Python's stack. One cycle, or []."""
    path: list[str] = []
    stack = [(start, False)]
    while stack:
        node, leaving = stack.pop()
        if leaving:
            path.pop()
            done.add(node)
        elif node in path:
            # what is on the path stays unfinished; marking it done tells this cycle once
            cycle = [*path[path.index(node) :], node]
            done.update(path)
            return cycle
        elif node not in done:
            path.append(node)
            stack.append((node, True))
            stack += [(giver, False) for giver in feeds[node]]
    return []
