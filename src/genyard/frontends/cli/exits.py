"""How a command ends: its exit status, and what it says about an error on stderr and in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import typer

from genyard.errors import Code, GenyardError, Remedy

INTERRUPTED: Final = 130
#: `genyard admin --check` found something to look at.
ALERTS: Final = 10

#: 1 a defect · 2 the request · 3 nothing there · 4 not allowed · 5 later · 6 the place failed ·
#: 7 settings, keys, disk, models · 8 content refused · 9 canceled or expired · 10 alerts · 130 interrupted
EXIT_STATUS: Final[Mapping[Code, int]] = {
    Code.internal: 1,
    Code.request_invalid: 2,
    Code.request_unsupported: 2,
    Code.request_conflict: 2,
    Code.media_invalid: 2,
    Code.workflow_invalid: 2,
    Code.no_face: 2,
    Code.not_found: 3,
    Code.unauthorized: 4,
    Code.forbidden: 4,
    Code.limit_exceeded: 5,
    Code.provider_unreachable: 5,
    Code.provider_timeout: 5,
    Code.provider_busy: 5,
    Code.provider_no_capacity: 5,
    Code.spend_capped: 5,
    Code.credits_insufficient: 5,
    Code.provider_failed: 6,
    Code.provider_interrupted: 6,
    Code.provider_out_of_memory: 6,
    Code.provider_lost: 6,
    Code.provider_lost_output: 6,
    Code.provider_bad_output: 6,
    Code.provider_protocol: 6,
    Code.provider_rejected: 7,
    Code.provider_missing: 7,
    Code.storage_failed: 7,
    Code.settings_invalid: 7,
    Code.content_rejected: 8,
    Code.policy_unavailable: 5,
    Code.canceled: 9,
    Code.expired: 9,
}

_REMEDY_WORDS: Final[Mapping[Remedy, str]] = {
    Remedy.fix_request: "correct it and try again",
    Remedy.retry_here: "try again: it may pass by itself",
    Remedy.try_elsewhere: "try again, or another place (IMAGE_GENERATION_PROVIDER)",
    Remedy.operator: "needs a change on this side: `genyard doctor` shows what",
}
_OWN_WORDS: Final[Mapping[Code, str]] = {
    Code.request_unsupported: "change the request, or the place (IMAGE_GENERATION_PROVIDER)",
    Code.settings_invalid: "change the setting and try again",
    Code.not_found: "`genyard jobs`, `genyard assets`, `genyard owners` and `genyard admin` show what is there",
    Code.canceled: "`genyard rerun` asks for it again",
    Code.expired: "`genyard rerun` asks for it again",
    Code.policy_unavailable: "try again later; [before_submit] in genyard.toml says who is asked",
    Code.limit_exceeded: "try again later, or with less",
    Code.spend_capped: "raise the endpoint's cap in genyard.toml, or wait for the next day or month (UTC)",
    Code.credits_insufficient: "ask for less, or add credits (`genyard credits --help`)",
    Code.internal: "a defect of genyard: please report it with the trace id",
}

#: Where the field says more than the code.
_WORDS_BY_FIELD: Final[Mapping[str, str]] = {"--max-usd": "raise --max-usd, or ask for less"}

#: Parameters whose option has another name.
_OPTION_NAMES: Final[Mapping[str, str]] = {
    "negative_prompt": "--negative",
    "aspect_ratio": "--aspect",
    "loras": "--lora",
    "controlnets": "--control",
    "values": "--set",
    "media": "--media",
    "prompt": "PROMPT",
    "workflow": "WORKFLOW.json",
    "model": "--model",
    "tags": "--tag",
    "priority": "--priority",
    "expires_in": "--expires-in",
    "webhook_url": "--webhook",
    "webhook_events": "--webhook-event",
    "on_disconnect": "--on-disconnect",
    "inputs.image": "IMAGE",
    "inputs.video": "--driving",
    "inputs.control": "--control",
    "job_id": "ID",
    "asset_id": "ID",
    "delivery_id": "ID",
    "owner": "OWNER",
    "endpoint": "ENDPOINT",
    "reason": "--reason",
    "Idempotency-Key": "--key",
    "prefix": "PREFIX",
}


def wrong(message: str, field: str) -> GenyardError:
    """An argument that cannot be what it says."""
    return GenyardError(Code.request_invalid, message, field=field)


def describe(error: GenyardError, trace_id: str | None) -> dict[str, Any]:
    """The document that `--json` prints for a command that was refused."""
    told = error.as_json()
    if trace_id is not None:
        told["trace_id"] = trace_id
    return {"error": told}


def complain(error: GenyardError, trace_id: str | None) -> None:
    """Two lines on stderr: what is wrong, and who does what about it."""
    where = _as_option(error.field)
    message = error.message.removeprefix(f"{(error.field or '').removeprefix('parameters.')}: ")
    if where and not message.startswith(where):
        message = f"{where}: {message}"
    words = _OWN_WORDS.get(error.code, _REMEDY_WORDS[error.remedy])
    words = _WORDS_BY_FIELD.get(error.field or "", words)
    trace = f" · trace {trace_id}" if trace_id else ""
    typer.secho("genyard: ", err=True, fg="red", bold=True, nl=False)
    typer.echo(message, err=True)
    typer.secho(f"  {words} · {error.code.value}{trace}", err=True, dim=True)


def print_json(document: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))


def _as_option(field: str | None) -> str | None:
    """`parameters.width` is `--width` to somebody at a terminal; anything else stays as it is."""
    if field is None:
        return None
    name = field.removeprefix("parameters.")
    if name == field or name in _OPTION_NAMES:
        return _OPTION_NAMES.get(name, field)
    first = name.partition(".")[0]  # `controlnets.0.kind` is about --control
    return _OPTION_NAMES.get(first, f"--{first}")
