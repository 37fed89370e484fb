"""The `comfyui` protocol: bound steps become a workflow for worker-comfyui, and its request.

The worker cannot be asked for its nodes and files. Where the endpoint's settings declare the model files of its image,
only templates whose files are all among them are taken; else the first one is.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from genyard import comfy
from genyard.catalog import Binding
from genyard.errors import Code, GenyardError
from genyard.media import suffix_of
from genyard.providers import BoundStep, Media, Plan
from genyard.providers.comfyui.compile import compile_steps, endpoint_files
from genyard.providers.runpod.wire import MOST_BYTES

Json = Any

#: [ran] worker-comfyui returns what a node leaves under `images`, and drops the rest.
_DROPPED: Final[Mapping[str, str]] = {
    "VHS_VideoCombine": "SaveVideo",
    "SaveAudio": "an image or video node",
    "SaveAudioMP3": "an image or video node",
    "SaveAudioOpus": "an image or video node",
    "SaveAudioAdvanced": "an image or video node",
}


def compile_workflow(
    steps: Sequence[BoundStep], *, renamed: Mapping[str, str], declared: Collection[str]
) -> Plan:
    """The ComfyUI plan, with how many files each output must have at least."""
    chosen = [_among_declared(step, renamed, declared) for step in steps] if declared else list(steps)
    plan = compile_steps(chosen, None, renamed=renamed)
    _require_returned(plan)
    if declared:
        _require_declared(plan, declared)
    prefixed = [site[0] for site in plan.payload["prefixes"]]
    counts = {step.name: int(step.parameters.get("count") or 1) for step in steps}
    rows = [
        {
            "step": one.step,
            "role": one.role,
            "prefix": prefixed.index(one.where) if one.where in prefixed else None,
            "least": counts[one.step],
        }
        for one in plan.outputs
    ]
    return replace(plan, payload={**plan.payload, "rows": rows})


def _among_declared(step: BoundStep, renamed: Mapping[str, str], declared: Collection[str]) -> BoundStep:
    """The step with only those templates that the endpoint's image has the files for, and with these files."""
    if not step.binding.templates:
        return step
    fitting, files, lacking = _fitting(step.binding, renamed, declared)
    if not fitting:
        raise _missing(step.binding, lacking)
    return replace(step, binding=step.binding.model_copy(update={"templates": fitting, "files": files}))


def _fitting(
    binding: Binding, renamed: Mapping[str, str], declared: Collection[str]
) -> tuple[tuple[str, ...], dict[str, str], list[str]]:
    """(templates, file of each of their names, what the others lack)."""
    templates = [comfy.load_template(name) for name in binding.templates]
    decided = endpoint_files(binding, templates, renamed)
    fitting, files, lacking = [], dict(decided), []
    for template in templates:
        found: dict[str, str] = {}
        for name, file in template.files.items():
            wanted = (decided[name],) if name in decided else (file.default, *file.alternatives)
            there = next((one for one in wanted if one in declared), None)
            if there is None:
                lacking.append(f"{file.folder}/{' or '.join(wanted)} (for {template.name})")
            else:
                found[name] = there
        if len(found) == len(template.files):
            fitting.append(template.name)
            files |= found
    return tuple(fitting), files, lacking


def problems_of(binding: Binding, renamed: Mapping[str, str], declared: Collection[str]) -> tuple[str, ...]:
    """What keeps the binding from running there; () without declared files: nothing is known then."""
    if not declared or not binding.templates:
        return ()
    fitting, _, lacking = _fitting(binding, renamed, declared)
    return (
        ()
        if fitting
        else tuple(f"model file {one} is not among the endpoint's model_files" for one in lacking)
    )


def _missing(binding: Binding, lacking: Sequence[str]) -> GenyardError:
    return GenyardError(
        Code.provider_missing,
        f"the endpoint's image lacks model files for {binding.title}: {'; '.join(lacking)}; "
        "its model_files in genyard.toml say what it has",
        context={"binding": binding.key, "files": list(lacking)},
    )


def _require_declared(plan: Plan, declared: Collection[str]) -> None:
    """ControlNets and LoRAs, too, which no template lists."""
    used = {file for told in plan.facts.values() for file in (told.get("files") or {}).values()}
    for node in plan.payload["workflow"].values():
        name = node["inputs"].get("lora_name")
        used |= {name} if isinstance(name, str) and node["class_type"].startswith("LoraLoader") else set()
    if lacking := sorted(used - set(declared)):
        raise GenyardError(
            Code.provider_missing,
            f"the endpoint's image lacks {', '.join(lacking)}; its model_files in genyard.toml say what it has",
            context={"files": lacking},
        )


def _require_returned(plan: Plan) -> None:
    for one in plan.outputs:
        name = plan.payload["workflow"][one.where]["class_type"]
        if name in _DROPPED:
            raise GenyardError(
                Code.workflow_invalid,
                f"worker-comfyui does not return what {name} saves; use {_DROPPED[name]}",
                field="parameters.workflow",
                context={"node": one.where, "node_type": name},
            )


async def input_of(plan: Plan, key: str, media: Mapping[str, Media]) -> dict[str, Json]:
    """The request's `input`. Images are named after the attempt: names are global on a worker, and files of the same
    name overwrite each other. So are the results, by which they are told apart."""
    workflow = {
        node_id: {**node, "inputs": dict(node["inputs"])}
        for node_id, node in plan.payload["workflow"].items()
    }
    _require_room(plan, media)
    images = []
    for number, wanted in enumerate(plan.inputs):
        one = media[wanted.name]
        name = f"genyard-{key}-{number}{suffix_of(one.media_type)}"
        data = b"".join([piece async for piece in one.open()])
        images.append({"name": name, "image": base64.b64encode(data).decode()})
        for node_id, input_name in plan.payload["uploads"][wanted.name]:
            workflow[node_id]["inputs"][input_name] = name
    for place, (node_id, input_name) in enumerate(plan.payload["prefixes"]):
        workflow[node_id]["inputs"][input_name] = prefix_of(key, place)
    return {"workflow": workflow, **({"images": images} if images else {})}


def prefix_of(key: str, place: int) -> str:
    return f"genyard-{key}-{place}"


def _require_room(plan: Plan, media: Mapping[str, Media]) -> None:
    """Before megabytes are read: worker-comfyui takes pictures within the request only."""
    sizes = {wanted.name: media[wanted.name].size for wanted in plan.inputs}
    if sum(sizes.values()) * 4 // 3 > MOST_BYTES:
        largest = max(sizes, key=lambda name: sizes[name])
        raise too_large(largest, "worker-comfyui takes no addresses")


def too_large(name: str | None, why: str) -> GenyardError:
    return GenyardError(
        Code.request_unsupported,
        f"a request to RunPod holds {MOST_BYTES // 10**6} MB, which is about {MOST_BYTES * 3 // 4 / 10**6:g} MB of "
        f"pictures, and {why}; give a smaller file (a JPEG or WebP instead of a PNG), or use another place",
        field=f"inputs.{name}" if name else None,
        context={"most_bytes": MOST_BYTES},
    )
