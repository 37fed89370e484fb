"""The hook before submit: asked once a request is understood, before anything is stored or reserved.

What it may say is in `genyard.policy`. It may take so long and no longer; whether a request passes when nobody answers
is the settings' to say. Prompts go to the hook alone: not into logs, errors or what the job says of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID, uuid4

from genyard.errors import Code, GenyardError
from genyard.jobs.callbacks.signing import signed_headers
from genyard.pipelines import parse_steps
from genyard.policy import Allow, Asked, AskedStep, Change, Judge, Refuse, Verdict
from genyard.storable import require_storable
from genyard.studio.request import Request, parse_tags
from genyard.telemetry import get_logger

if TYPE_CHECKING:
    from genyard.outbound import Outbound

_log = get_logger(__name__)

Ask = Callable[[Asked], Awaitable[Verdict]]

_MAX_REASON: Final = 500
_ANSWER_BYTES: Final = 1024 * 1024
_AT_ONCE: Final = 32
_ANSWERS: Final[Mapping[str, frozenset[str]]] = {
    "allow": frozenset({"decision"}),
    "change": frozenset({"decision", "parameters", "tags", "reason"}),
    "refuse": frozenset({"decision", "reason"}),
}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What became of a request. `facts`: what the job says of it."""

    change: Change | None = None
    facts: Mapping[str, Any] | None = None

    def applied(self, request: Request) -> Request:
        return request if self.change is None else _applied(self.change, request)


class Policy:
    def __init__(self, ask: Ask, *, time_limit: float, on_failure: Literal["refuse", "allow"]) -> None:
        self._ask = ask
        self._time_limit = time_limit
        self._on_failure = on_failure

    async def judge(
        self, request: Request, *, owner_id: UUID, trace_id: str, names: Mapping[str, str]
    ) -> Judged:
        """`content.rejected` for what is refused; `policy.unavailable` where nobody could say. `names`: what
        inputs are called that stand for something else in the request."""
        asked = _asked(request, owner_id, trace_id, names)
        try:
            async with asyncio.timeout(self._time_limit):
                verdict = await self._ask(asked)
            return _judged(verdict, request)
        except _Refused as refused:
            raise GenyardError(
                Code.content_rejected, refused.reason, context={"by": "before_submit"}
            ) from None
        except Exception as failure:  # noqa: BLE001 (whatever a hook does wrong, the settings say what follows)
            why = "no answer in time" if isinstance(failure, TimeoutError) else _told(failure)
            _log.warning("the hook before submit failed", why=why, then=self._on_failure)
        if self._on_failure == "allow":
            return Judged(facts={"decision": "unchecked", "fields": [], "reason": None})
        raise GenyardError(
            Code.policy_unavailable,
            "whether this request is allowed could not be found out; nothing was done, so try again later",
        )


class _Refused(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


def ask_function(judge: Judge) -> Ask:
    """One that is no coroutine runs in a thread: it cannot be stopped, but nobody waits for it beyond the limit, and
    only so many are under way."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def ask(asked: Asked) -> Verdict:
        try:
            if inspect.iscoroutinefunction(judge):
                answer = await judge(asked)
            else:
                await free.acquire()
                answer = await _in_thread(judge, asked, free.release)
                if inspect.isawaitable(answer):
                    answer = await answer
        except (SystemExit, KeyboardInterrupt) as leaving:  # it ends nobody's process but its own
            raise RuntimeError("the function wanted to end the process") from leaving
        if not isinstance(answer, Allow | Change | Refuse):
            raise TypeError(f"the function returned {type(answer).__name__}, not Allow, Change or Refuse")
        return answer

    return ask


def ask_url(
    outbound: Callable[[], Outbound],
    url: str,
    *,
    secret: bytes | None,
    seconds: float,
    clock: Callable[[], float],
) -> Ask:
    """`clock`: of signatures, in seconds since the epoch."""

    async def ask(asked: Asked) -> Verdict:
        told = {
            "type": "before_submit",
            "timestamp": datetime.fromtimestamp(clock(), UTC).isoformat(),
            "data": {
                "owner_id": str(asked.owner_id),
                "trace_id": asked.trace_id,
                "tags": list(asked.tags),
                "steps": [
                    {
                        "name": step.name,
                        "operation": step.operation,
                        "model": step.model,
                        "parameters": dict(step.parameters),
                        "inputs": {role: list(given) for role, given in step.inputs.items()},
                    }
                    for step in asked.steps
                ],
            },
        }
        body = json.dumps(told).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "genyard"}
        if secret is not None:
            headers |= signed_headers([secret], str(uuid4()), int(clock()), body)
        answer = await outbound().post(
            url, body, headers=headers, seconds=seconds, answer_bytes=_ANSWER_BYTES
        )
        if answer.status != 200:
            raise ValueError(f"HTTP {answer.status}")
        return _verdict(answer.body)

    return ask


async def _in_thread(judge: Judge, asked: Asked, ended: Callable[[], None]) -> Any:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(answer: Any, failure: BaseException | None) -> None:
        ended()
        if done.done():
            return
        if failure is None:
            done.set_result(answer)
        else:
            done.set_exception(failure)

    def run() -> None:
        answer, failure = None, None
        try:
            answer = judge(asked)
        except BaseException as wrong:  # noqa: BLE001 (it is raised where it is waited for)
            failure = (
                RuntimeError("the function ended its thread") if isinstance(wrong, SystemExit) else wrong
            )
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, answer, failure)

    threading.Thread(target=run, name="genyard-policy", daemon=True).start()
    return await done


def _verdict(body: bytes) -> Verdict:
    try:
        told = json.loads(body)
        decision = told["decision"]
        fields = _ANSWERS[decision]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("the answer is no JSON object with a decision: allow, change or refuse") from None
    if not told.keys() <= fields:
        raise ValueError(f"the answer {decision} has fields that mean nothing")
    if decision == "refuse":
        return Refuse(reason=told.get("reason") or "")
    if decision == "allow":
        return Allow()
    tags = told.get("tags")
    return Change(
        parameters=told.get("parameters") or {},
        tags=None if tags is None else tuple(tags),
        reason=told.get("reason"),
    )


def _judged(verdict: Verdict, request: Request) -> Judged:
    if isinstance(verdict, Refuse):
        raise _Refused(_reason(verdict.reason) or "the policy of this service does not allow it")
    if isinstance(verdict, Allow):
        return Judged()
    fields = _differences(request, _applied(verdict, request))
    if not fields:
        return Judged()
    facts = {"decision": "changed", "fields": fields, "reason": _reason(verdict.reason)}
    return Judged(change=verdict, facts=facts)


def _reason(text: Any) -> str | None:
    if text is not None and not isinstance(text, str):
        raise TypeError("the reason is no text")
    require_storable(text)
    return text[:_MAX_REASON] if text else None


def _applied(change: Change, request: Request) -> Request:
    """The changed request, judged like any other. What is not to be changed cannot even be named."""
    require_storable({"parameters": change.parameters, "tags": change.tags})
    steps = [step.as_json() for step in request.steps]
    known = {step["name"]: step for step in steps}
    for name, parameters in change.parameters.items():
        if name not in known:
            raise ValueError("the change names a step that is not there")
        known[name]["parameters"] |= dict(parameters)
    return replace(
        request,
        steps=parse_steps(steps),
        tags=request.tags if change.tags is None else parse_tags(list(change.tags)),
    )


def _differences(before: Request, after: Request) -> list[str]:
    several = len(before.steps) > 1
    fields = [
        f"steps.{old.name}.parameters.{name}" if several else f"parameters.{name}"
        for old, new in zip(before.steps, after.steps, strict=True)
        for name in new.parameters
        if new.parameters[name] != old.parameters.get(name)
    ]
    return fields + (["tags"] if before.tags != after.tags else [])


def _asked(request: Request, owner_id: UUID, trace_id: str, names: Mapping[str, str]) -> Asked:
    return Asked(
        owner_id=owner_id,
        trace_id=trace_id,
        tags=request.tags,
        steps=tuple(
            AskedStep(
                name=step.name,
                operation=step.operation,
                model=step.model,
                parameters=MappingProxyType(copy.deepcopy(dict(step.parameters))),
                inputs=MappingProxyType(
                    {
                        role: tuple(names.get(one, one) for one in given)
                        for role, given in step.as_json()["inputs"].items()
                    }
                ),
            )
            for step in request.steps
        ),
    )


def _told(failure: Exception) -> str:
    """Words of ours, or none: what others raise may quote the prompt."""
    ours = isinstance(failure, GenyardError) and failure.code is Code.provider_unreachable
    return f"{type(failure).__name__}: {failure}" if ours else type(failure).__name__
