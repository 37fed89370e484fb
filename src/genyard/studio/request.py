"""What is asked, as JSON: the form that HTTP, the CLI's --json and Python share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from genyard.errors import Code, GenyardError
from genyard.jobs.callbacks.deliveries import ENDS, EVENTS
from genyard.pipelines import Step, parse_steps
from genyard.storable import require_storable

MAX_TAGS: Final = 20
MAX_URL: Final = 2000
MAX_KEY: Final = 255
_FIELDS: Final = frozenset(
    {
        "operation",
        "parameters",
        "inputs",
        "model",
        "steps",
        "tags",
        "priority",
        "previews",
        "embed_prompt",
        "expires_in",
        "webhook_url",
        "webhook_events",
        "webhook_prompts",
        "on_disconnect",
    }
)


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """Who is told what becomes of the job: these events, with prompts or without."""

    url: str = field(repr=False)
    events: tuple[str, ...] = ENDS
    prompts: bool = False


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked. `parse` takes the JSON form that HTTP, the CLI's --json and Python share, once `require_body` has
    passed it. `needs_watcher`: it is canceled when nobody watches it any more."""

    steps: tuple[Step, ...]
    tags: tuple[str, ...] = ()
    priority: int = 0
    previews: bool = False
    embed_prompt: bool = False
    expires_in: float | None = None
    webhook: Webhook | None = None
    needs_watcher: bool = False

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Request:
        """`request.invalid` names the first field that is wrong and what would be right."""
        for name in body:
            if name not in _FIELDS:
                raise GenyardError(
                    Code.request_invalid,
                    f"a job has no field {name!r}; it has {', '.join(sorted(_FIELDS))}",
                    field=str(name),
                )
        steps = body.get("steps")
        single = {name: body[name] for name in ("operation", "parameters", "inputs", "model") if name in body}
        if steps is None:
            steps = [single]
        elif single:
            name = next(iter(single))
            raise GenyardError(
                Code.request_invalid, f"{name} belongs into a step where steps are given", field=name
            )
        if not isinstance(steps, list) or not all(isinstance(one, Mapping) for one in steps):
            raise GenyardError(Code.request_invalid, "steps is a list of objects", field="steps")
        return cls(
            steps=parse_steps(steps),
            tags=parse_tags(body.get("tags", [])),
            priority=_integer(body, "priority", -100, 100),
            previews=_flag(body, "previews"),
            embed_prompt=_flag(body, "embed_prompt"),
            expires_in=_seconds(body.get("expires_in")),
            webhook=_webhook(body),
            needs_watcher=_needs_watcher(body.get("on_disconnect")),
        )


def require_body(body: Any) -> None:
    """`request.invalid` for what is no JSON object, or holds what no database can. Before anything is done with it."""
    if not isinstance(body, Mapping):
        raise GenyardError(Code.request_invalid, f"a request is an object, not {type(body).__name__}")
    require_storable(body)


def require_key(key: str | None) -> None:
    """`request.invalid` for an idempotency key that cannot be looked up."""
    require_storable(key, "Idempotency-Key")
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= MAX_KEY):
        raise GenyardError(
            Code.request_invalid, f"an Idempotency-Key has 1 to {MAX_KEY} characters", field="Idempotency-Key"
        )


def require_filters(limit: int, filters: Mapping[str, Any]) -> None:
    """`request.invalid` for what cannot be asked of a list of jobs or assets."""
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise GenyardError(Code.request_invalid, "limit is a whole number from 1", field="limit")
    require_storable(filters)
    if not isinstance(filters.get("before"), UUID | None):
        raise GenyardError(Code.request_invalid, "before is the id of what came last", field="before")


def parse_tags(given: Any) -> tuple[str, ...]:
    require_storable(given, "tags")
    if (
        not isinstance(given, list | tuple)
        or len(given) > MAX_TAGS
        or not all(isinstance(tag, str) and 0 < len(tag) <= 60 for tag in given)
    ):
        raise GenyardError(
            Code.request_invalid,
            f"tags is a list of at most {MAX_TAGS} words of 1 to 60 characters",
            field="tags",
        )
    return tuple(dict.fromkeys(given))


def _webhook(body: Mapping[str, Any]) -> Webhook | None:
    url, events = body.get("webhook_url"), body.get("webhook_events")
    prompts = _flag(body, "webhook_prompts")
    if url is None:
        needless = "webhook_events" if events is not None else "webhook_prompts" if prompts else None
        if needless:
            raise GenyardError(Code.request_invalid, f"{needless} needs a webhook_url", field=needless)
        return None
    if not isinstance(url, str) or not 0 < len(url) <= MAX_URL:
        raise GenyardError(
            Code.request_invalid, f"webhook_url is a URL of at most {MAX_URL} characters", field="webhook_url"
        )
    if events is None:
        return Webhook(url=url, prompts=prompts)
    if not isinstance(events, list | tuple) or not events or not all(one in EVENTS for one in events):
        raise GenyardError(
            Code.request_invalid,
            f"webhook_events is a list of some of {', '.join(EVENTS)}",
            field="webhook_events",
        )
    return Webhook(url=url, events=tuple(dict.fromkeys(events)), prompts=prompts)


def _needs_watcher(given: Any) -> bool:
    if given not in (None, "continue", "cancel"):
        raise GenyardError(Code.request_invalid, "on_disconnect is continue or cancel", field="on_disconnect")
    return bool(given == "cancel")


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise GenyardError(Code.request_invalid, f"{name} is true or false", field=name)
    return value


def _integer(body: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = body.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise GenyardError(
            Code.request_invalid, f"{name} is a whole number from {least} to {most}", field=name
        )
    return value


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= 30 * 86_400:
        raise GenyardError(
            Code.request_invalid,
            "expires_in is a number of seconds above 0, at most 30 days",
            field="expires_in",
        )
    return float(value)
