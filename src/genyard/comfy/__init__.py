"""ComfyUI workflows as values: templates, filling, fusing, checking. Nothing here talks to a server.

How a provider's `compile` uses it, step by step:

    templates = [load_template(name) for name in binding.templates]
    catalogue = Catalogue(facts.catalogue) if facts and facts.catalogue else None
    choice = choose(templates, catalogue, files=binding.files | endpoint_files, inputs={"image"})
        Raises `provider.missing` listing, template by template, which nodes and files are not there.
        `inputs`: the roles that were given (without "control"); only templates that take exactly these
        are considered. catalogue None: the first such template. `choice.files` = resolved file names.
    graph = fill(choice.template, values={...}, files=choice.files,
                 loras=[Lora(name=…, strength=…)], controls=[Control(kind=…, strength=…)])
        Pure. `values`: the operation's parameters less `loras`, `controlnets`, `aspect_ratio`; a value that
        is None or empty counts as not given. `request.unsupported` (field parameters.NAME) where the template
        has no such parameter. -> Graph, whose `inputs` are named by role: image, video, control.0, control.1
    graph = own_graph(workflow, values={"3.seed": 1}, media={"photo": "10.image"}, catalogue=catalogue)
        the same for run_workflow; `inputs` are named by the caller
    fused = fuse([Part(name="draw", graph=graph), Part(name="cut", graph=next, wires={"image": "draw"})])
        Also for a single step. Node ids become STEP.NODE, `inputs` STEP.NAME; `wires`: input → earlier part.
        Part(keep=False): its save nodes are dropped (at least one part must be kept).
    problems = check(fused.workflow, catalogue, uploads=fused.uploads)
    if problems: raise error_of(problems)
        every problem at once; `workflow.invalid`, or `provider.missing` when only nodes or files are missing

and its `submit`, once the inputs are stored on the server:

    ready = put_prefix(put_uploads(fused, {"draw.image": "3f2c.png"}), f"genyard/{key}")
    POST /prompt {"prompt": ready.workflow}; outputs: history[...]["outputs"][output.save] per fused.outputs

A Graph is JSON-able by its parts: `workflow`, `Site.as_json()`/`Site.from_json()`.

`genyard.comfy` imports the standard library, `genyard.errors` and `genyard.media` only: the RunPod worker
image carries it too.
"""

from __future__ import annotations

from genyard.comfy.catalogue import Catalogue, NodeClass, NodeInput
from genyard.comfy.checking import Problem, ProblemKind, check, error_of
from genyard.comfy.choosing import Choice, Unfit, choose, unfit
from genyard.comfy.filling import Control, Lora, fill
from genyard.comfy.fusing import Part, fuse
from genyard.comfy.graph import Graph, GraphOutput, Site, Socket, Workflow, put, put_prefix, put_uploads
from genyard.comfy.own import find_site, own_graph, prefix_sites, save_nodes
from genyard.comfy.template import Template, load_template, template_names

__all__ = [
    "Catalogue",
    "Choice",
    "Control",
    "Graph",
    "GraphOutput",
    "Lora",
    "NodeClass",
    "NodeInput",
    "Part",
    "Problem",
    "ProblemKind",
    "Site",
    "Socket",
    "Template",
    "Unfit",
    "Workflow",
    "check",
    "choose",
    "error_of",
    "fill",
    "find_site",
    "fuse",
    "load_template",
    "own_graph",
    "prefix_sites",
    "put",
    "put_prefix",
    "put_uploads",
    "save_nodes",
    "template_names",
    "unfit",
]
