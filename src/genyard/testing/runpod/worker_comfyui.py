"""A handler that behaves as worker-comfyui 5.8.5 does, in front of a ComfyUI (the emulated one, over its own port).

Texts and the order of its steps are those of its source and of recorded exchanges. Its weaknesses are kept on
purpose: names of inputs are global and overwrite each other, history is read once and at once, what is not in
`images` is dropped.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

import aiohttp

from genyard.testing.runpod.endpoint import Setup
from genyard.testing.runpod.faults import OUT_OF_MEMORY, FaultKind
from genyard.testing.runpod.worker import Call

Json = Any

NOT_REACHABLE: Final = "ComfyUI server (127.0.0.1:8188) not reachable after multiple retries."
CONNECTION_LOST: Final = (
    "WebSocket communication error: Connection closed and failed to reconnect. "
    "Last error: [Errno 111] Connection refused"
)


class Refused(Exception):
    """What ends as `{"error": …}`; `details` as the worker would add them."""

    def __init__(self, text: str, details: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.details = tuple(details)


@dataclass(kw_only=True)
class Found:
    """What is collected from the history: files, and reasons why something is missing."""

    files: list[tuple[str, bytes]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


async def comfyui_worker(call: Call, setup: Setup, comfyui: str) -> Json:
    """`comfyui` is the server's URL. Never raises: what goes wrong is `{"error": …, "details": […]}`."""
    try:
        workflow, images, key = validated(call.input)
        if call.take(FaultKind.unreachable):
            raise Refused(NOT_REACHABLE)
        if call.take(FaultKind.connection_lost):
            raise Refused(CONNECTION_LOST)
        await upload(call, comfyui, images)
        return await tell(call, setup, await executed(call, comfyui, workflow, key))
    except Refused as error:
        return {"error": str(error), **({"details": list(error.details)} if error.details else {})}
    except aiohttp.ClientError as error:
        return {"error": f"HTTP communication error with ComfyUI: {error}"}


def validated(given: Json) -> tuple[Json, Sequence[Json], Json]:
    if given is None:
        raise Refused("Please provide input")
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except json.JSONDecodeError:
            raise Refused("Invalid JSON format in input") from None
    workflow = given.get("workflow")
    if workflow is None:
        raise Refused("Missing 'workflow' parameter")
    images = given.get("images")
    if images is not None and (
        not isinstance(images, list)
        or not all(isinstance(one, dict) and "name" in one and "image" in one for one in images)
    ):
        raise Refused("'images' must be a list of objects with 'name' and 'image' keys")
    return workflow, images or [], given.get("comfy_org_api_key")


async def upload(call: Call, comfyui: str, images: Sequence[Json]) -> None:
    problems = []
    for one in images:
        name, text = one["name"], str(one["image"])
        try:
            # Not strict: what is no base64 becomes an empty file, and fails only when the graph reads it.
            data = base64.b64decode(text.split(",", 1)[1] if "," in text else text)
        except binascii.Error as error:
            problems.append(f"Error decoding base64 for {name}: {error}")
            continue
        form = aiohttp.FormData()
        form.add_field("image", data, filename=name, content_type="image/png")
        form.add_field("overwrite", "true")
        async with call.session.post(f"{comfyui}/upload/image", data=form) as answer:
            if answer.status >= 400:
                problems.append(
                    f"Error uploading {name}: {answer.status} Server Error for url: {comfyui}/upload/image"
                )
    if problems:
        raise Refused("Failed to upload one or more input images", problems)


async def executed(call: Call, comfyui: str, workflow: Json, key: Json) -> Found:
    """Waits for the end event, then reads the history, once."""
    client_id = str(uuid.uuid4())
    async with call.session.ws_connect(f"{comfyui}/ws?clientId={client_id}") as socket:
        prompt_id = await queue_prompt(call, comfyui, workflow, client_id, key)
        errors: list[str] = []
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            told = json.loads(message.data)
            data = told.get("data") or {}
            if data.get("prompt_id") != prompt_id:
                continue
            if told["type"] == "executing" and data.get("node") is None:
                break
            if told["type"] == "execution_error":
                where = f"Node Type: {data['node_type']}, Node ID: {data['node_id']}"
                errors.append(f"Workflow execution error: {where}, Message: {data['exception_message']}")
                break
        else:
            raise Refused(CONNECTION_LOST)
    if (fault := call.take(FaultKind.processing_failed)) is not None:
        raise Refused("Job processing failed", [fault.text or OUT_OF_MEMORY])
    return await collected(call, comfyui, prompt_id, errors)


async def queue_prompt(call: Call, comfyui: str, workflow: Json, client_id: str, key: Json) -> str:
    body: dict[str, Json] = {"prompt": workflow, "client_id": client_id}
    if key:
        body["extra_data"] = {"api_key_comfy_org": key}
    async with call.session.post(f"{comfyui}/prompt", json=body) as answer:
        if answer.status == 400:
            raise Refused(await why_refused(call, comfyui, await answer.json()))
        if answer.status >= 400:
            raise Refused(
                f"Error queuing workflow: {answer.status} Server Error for url: http://127.0.0.1:8188/prompt"
            )
        return str((await answer.json())["prompt_id"])


async def why_refused(call: Call, comfyui: str, body: Json) -> str:
    """Python's repr of ComfyUI's node errors, line by line, as the real worker tells them."""
    lines = [
        f"Node {node_id} ({name}): {value}"
        for node_id, node in (body.get("node_errors") or {}).items()
        for name, value in node.items()
    ]
    if not lines:
        return f"{body['error'].get('message')}. Raw response: {json.dumps(body)}"
    known = body["error"].get("type") == "prompt_outputs_failed_validation"
    head = "Workflow validation failed" if known else body["error"].get("message")
    text = f"{head}:\n" + "\n".join(f"• {line}" for line in lines)
    if any("not in list" in line.lower() and "ckpt_name" in line for line in lines):
        async with call.session.get(f"{comfyui}/models/checkpoints") as answer:
            names = await answer.json()
        text += (
            f"\n\nAvailable checkpoint models: {', '.join(names)}"
            if names
            else "\n\nNo checkpoint models appear to be available. Please check your model installation."
        )
    return text


async def collected(call: Call, comfyui: str, prompt_id: str, errors: list[str]) -> Found:
    async with call.session.get(f"{comfyui}/history/{prompt_id}") as answer:
        history = await answer.json()
    missing = f"Prompt ID {prompt_id} not found in history after execution."
    if (fault := call.take(FaultKind.race)) is not None:
        errors = errors or [fault.text or OUT_OF_MEMORY]
        history = {}
    if prompt_id not in history:
        if errors:
            raise Refused("Job processing failed, prompt ID not found in history.", [*errors, missing])
        raise Refused(missing)
    outputs = history[prompt_id].get("outputs") or {}
    found = Found(errors=errors)
    if not outputs and not errors:
        found.errors.append(f"No outputs found in history for prompt {prompt_id}.")
    for output in outputs.values():
        for row in output.get("images", ()):  # `gifs`, `audio`, `latents` are dropped, with a line in the log
            if row.get("type") == "temp":
                continue
            async with call.session.get(f"{comfyui}/view", params=row) as answer:
                if answer.status == 200:
                    found.files.append((row["filename"], await answer.read()))
                else:
                    found.errors.append(
                        f"Failed to fetch image data for {row['filename']} from /view endpoint."
                    )
    return found


async def tell(call: Call, setup: Setup, found: Found) -> Json:
    files, errors = found.files, list(found.errors)
    if call.take(FaultKind.no_images):
        files, errors = [], []
    if call.take(FaultKind.fewer_images):
        files = files[:-1]
    if (fault := call.take(FaultKind.partial)) is not None:
        errors.append(fault.text or OUT_OF_MEMORY)
    rows = []
    for name, data in await call.spoil(files):
        try:
            rows.append(delivered(call, setup, name, data))
        except Refused as error:
            errors.append(str(error))
    if not rows and errors:
        raise Refused("Job processing failed", errors)
    if not rows:
        return {"status": "success_no_images", "images": []}
    if setup.shape == "message":  # before 5.0.0: one file, as text
        return {"message": rows[0]["data"], "status": "success"}
    return {"images": rows, **({"errors": errors} if errors else {})}


def delivered(call: Call, setup: Setup, name: str, data: bytes) -> dict[str, str]:
    stored = f"{uuid.uuid4().hex[:8]}{PurePosixPath(name).suffix}"
    if call.take(FaultKind.upload_failed):
        raise Refused(
            f"Error uploading {name} to S3: An error occurred (403) when calling the PutObject operation: Forbidden"
        )
    if call.take(FaultKind.simulated_upload):
        return {"filename": name, "type": "s3_url", "data": f"simulated_uploaded/{stored}"}
    if setup.delivery == "url":
        return {"filename": name, "type": "s3_url", "data": call.link(f"{call.job.id}/{stored}", data)}
    return {"filename": name, "type": "base64", "data": base64.b64encode(data).decode()}
