"""Every error that genyard reports: stable codes, and per code one remedy saying who must act.

    GenyardError(code, message, field=…, context=…)

    remedy          who acts
    fix_request     the caller: the same request fails everywhere
    retry_here      nobody: the same place may succeed on another try
    try_elsewhere   nobody: another place may succeed
    operator        the person who runs genyard: settings, keys, models, disk

HTTP status, CLI exit code and bot text are tables of the front ends. Nothing here knows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final


class Remedy(StrEnum):
    fix_request = "fix_request"
    retry_here = "retry_here"
    try_elsewhere = "try_elsewhere"
    operator = "operator"


class Code(StrEnum):
    """Stable: clients match on these strings. Adding one means a row in `REMEDIES` and in each front end."""

    request_invalid = "request.invalid"  # a field is missing, of the wrong type, out of range or unknown
    request_unsupported = "request.unsupported"  # well-formed, but no configured place can honour it
    request_conflict = "request.conflict"  # idempotency key reused with another body, job already ended, …
    media_invalid = "media.invalid"  # bytes that are not a decodable image or video within the limits
    workflow_invalid = "workflow.invalid"  # a ComfyUI graph that cannot run, with every problem listed
    no_face = "media.no_face"  # photo animation needs a face and found none
    not_found = "request.not_found"  # no such job, asset, operation for this owner
    unauthorized = "access.unauthorized"  # no key, or one that is not known
    forbidden = "access.forbidden"  # a known caller, but not allowed this
    limit_exceeded = "limit.exceeded"  # a queue, rate or size limit of genyard's own
    spend_capped = "limit.spend"  # a place has spent what it may spend in a day
    credits_insufficient = "credits.insufficient"  # the owner has fewer credits than it takes
    content_rejected = "content.rejected"  # refused by a moderation rule, here or at the place
    policy_unavailable = "policy.unavailable"  # the hook before submit gave no answer
    canceled = "job.canceled"  # somebody asked for it
    expired = "job.expired"  # its deadline passed before it could start
    provider_unreachable = "provider.unreachable"  # the connection never opened, or broke
    provider_timeout = "provider.timeout"  # it took longer than its limit
    provider_busy = "provider.busy"  # its rate limit, or its limit of runs at once
    provider_no_capacity = "provider.no_capacity"  # no machine took it up within the time allowed
    provider_rejected = "provider.rejected"  # our credentials or our request were refused
    provider_failed = "provider.failed"  # the run failed there
    provider_interrupted = "provider.interrupted"  # somebody else stopped the run there
    provider_out_of_memory = "provider.out_of_memory"
    provider_missing = "provider.missing"  # a node or a model file is not installed there
    provider_lost = "provider.lost"  # the outcome of a submission cannot be learnt
    provider_lost_output = "provider.lost_output"  # it succeeded, but the result is gone
    provider_bad_output = (
        "provider.bad_output"  # the result is not what it claims to be, or not where it may be
    )
    provider_protocol = "provider.protocol"  # an answer that is not of the expected shape
    storage_failed = "storage.failed"  # blobs cannot be read or written
    settings_invalid = "settings.invalid"  # an environment name or genyard.toml is wrong or missing
    internal = "internal"  # a defect of genyard


REMEDIES: Final[Mapping[Code, Remedy]] = {
    Code.request_invalid: Remedy.fix_request,
    Code.request_unsupported: Remedy.fix_request,
    Code.request_conflict: Remedy.fix_request,
    Code.media_invalid: Remedy.fix_request,
    Code.workflow_invalid: Remedy.fix_request,
    Code.no_face: Remedy.fix_request,
    Code.not_found: Remedy.fix_request,
    Code.unauthorized: Remedy.fix_request,
    Code.forbidden: Remedy.fix_request,
    Code.limit_exceeded: Remedy.fix_request,
    Code.spend_capped: Remedy.try_elsewhere,
    Code.credits_insufficient: Remedy.fix_request,
    Code.content_rejected: Remedy.fix_request,
    Code.policy_unavailable: Remedy.operator,
    Code.canceled: Remedy.fix_request,
    Code.expired: Remedy.fix_request,
    Code.provider_unreachable: Remedy.retry_here,
    Code.provider_timeout: Remedy.try_elsewhere,
    Code.provider_busy: Remedy.retry_here,
    Code.provider_no_capacity: Remedy.try_elsewhere,
    Code.provider_rejected: Remedy.operator,
    Code.provider_failed: Remedy.try_elsewhere,
    Code.provider_interrupted: Remedy.retry_here,
    Code.provider_out_of_memory: Remedy.retry_here,
    Code.provider_missing: Remedy.operator,
    Code.provider_lost: Remedy.try_elsewhere,
    Code.provider_lost_output: Remedy.try_elsewhere,
    Code.provider_bad_output: Remedy.try_elsewhere,
    Code.provider_protocol: Remedy.operator,
    Code.storage_failed: Remedy.operator,
    Code.settings_invalid: Remedy.operator,
    Code.internal: Remedy.operator,
}

#: Names that existing clients of the plans know; reported beside our code, never instead of it.
ALIASES: Final[Mapping[Code, str]] = {
    Code.provider_timeout: "PROVIDER_TIMEOUT",
    Code.provider_no_capacity: "PROVIDER_COLD_START",
    Code.provider_busy: "RATE_LIMITED",
    Code.limit_exceeded: "RATE_LIMITED",
    Code.workflow_invalid: "WORKFLOW_INVALID",
    Code.request_invalid: "INPUT_INVALID",
    Code.media_invalid: "INPUT_INVALID",
    Code.storage_failed: "UPLOAD_FAILED",
}


class GenyardError(Exception):
    """One failure, told once.

    message  a sentence for a person: what is wrong and what would be right
    field    the part of the request it is about, as a dotted path (`parameters.width`), if any
    context  JSON-able facts for programs and logs: no secrets, no prompts, no pictures
    The cause is kept by `raise … from cause`.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        field: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.context: Mapping[str, Any] = context or {}

    @property
    def remedy(self) -> Remedy:
        return REMEDIES[self.code]

    def as_json(self) -> dict[str, Any]:
        """The form in which jobs store it and front ends show it."""
        told: dict[str, Any] = {
            "code": self.code.value,
            "message": self.message,
            "remedy": self.remedy.value,
        }
        if self.field is not None:
            told["field"] = self.field
        if self.code in ALIASES:
            told["alias"] = ALIASES[self.code]
        if self.context:
            told["context"] = dict(self.context)
        return told

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> GenyardError:
        return cls(Code(told["code"]), told["message"], field=told.get("field"), context=told.get("context"))

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message
