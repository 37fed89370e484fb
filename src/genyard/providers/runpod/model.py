"""The `model` protocol: one step becomes the flat input of a single-model endpoint, by its binding. Pure, but for
reading media."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from genyard.catalog import Binding
from genyard.catalog.binding import MappedInput
from genyard.errors import Code, GenyardError
from genyard.operations import OPERATIONS
from genyard.providers import BoundStep, Media, Plan, PlanInput, PlanOutput
from genyard.providers._fields import field_of, flat_input, put_media, slots
from genyard.providers.runpod.comfyui import too_large
from genyard.providers.runpod.files import Encoding
from genyard.providers.runpod.wire import MOST_BYTES

Json = Any

#: A text field of this many bytes is said by its address instead, where there is one.
_INLINE: Final = 256 * 1024


class Call(BaseModel):
    """A binding's `wire`, as this provider reads it.

    endpoint_id  of a public endpoint: whom to call; else the endpoint of the settings is
    output       dotted paths to the files, tried in order ("images", "result.0.url"); without, the usual names are
    error        dotted paths within the output to a text that means failure, though the job is COMPLETED
    encoding     how files are told; auto: an address, a data URI, or base64 that begins like a picture
    links        field that takes the file itself → field that takes its address, for files too large for a request
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint_id: str | None = None
    output: tuple[str, ...] = ()
    error: tuple[str, ...] = ()
    encoding: Encoding = "auto"
    links: dict[str, str] = {}


def call_of(binding: Binding) -> Call:
    try:
        return Call.model_validate(binding.wire)
    except ValidationError as wrong:
        raise GenyardError(Code.settings_invalid, f"binding {binding.key}: wire: {wrong}") from wrong


def compile_step(step: BoundStep, endpoint: str) -> Plan:
    call = call_of(step.binding)
    wanted = list(slots(step))
    operation = OPERATIONS[step.operation]
    return Plan(
        payload={
            "endpoint": call.endpoint_id or endpoint,
            "input": flat_input(step),
            "slots": [one.as_json() for one in wanted],
            "links": call.links,
            "read": {"paths": list(call.output), "errors": list(call.error), "encoding": call.encoding},
            "rows": [
                {
                    "step": step.name,
                    "role": operation.output,
                    "prefix": None,
                    "least": int(step.parameters.get("count") or 1),
                }
            ],
        },
        inputs=tuple(PlanInput(name=one.name, source=one.source) for one in wanted),
        outputs=(PlanOutput(step=step.name, role=operation.output, where="output"),),
        facts={step.name: {"runpod": call.endpoint_id} if call.endpoint_id else {}},
        video=operation.output == "video",
        needs_links=any(one.field.form == "url" for one in wanted),
    )


async def input_of(plan: Plan, media: Mapping[str, Media]) -> dict[str, Json]:
    """The request's `input`: files by their address where the field wants one, or where they are too large."""
    told = plan.payload
    given: dict[str, Json] = dict(told["input"])
    room = MOST_BYTES - 100_000
    for slot in told["slots"]:
        one = media[slot["name"]]
        field = field_of(slot)
        other = told["links"].get(field.to)
        if field.form == "url":
            put_media(given, field, await _address(one))
        elif other is not None and one.link is not None and one.size > _INLINE:
            put_media(given, MappedInput(to=other, form="url", many=field.many), await one.link())
        else:
            room -= one.size * 4 // 3
            if room < 0:
                raise too_large(one.name, "the model takes no address" if other is None else _NO_STORAGE)
            text = base64.b64encode(b"".join([piece async for piece in one.open()])).decode()
            put_media(
                given, field, text if field.form == "base64" else f"data:{one.media_type};base64,{text}"
            )
    return given


_NO_STORAGE: Final = "genyard's own storage cannot be reached from outside (set R2_BUCKET and its keys)"


async def _address(media: Media) -> str:
    if media.link is None:
        raise GenyardError(
            Code.request_unsupported,
            f"this model fetches its input from an address, and {_NO_STORAGE}",
            field=f"inputs.{media.name}",
        )
    return await media.link()
