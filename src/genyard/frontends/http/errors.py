"""How a failure is told over HTTP: one status per code, one JSON shape for all.

    {"error": {"code", "message", "remedy", "field"?, "alias"?, "context"?, "trace_id"}}

What a code means, and who must act, is `genyard.errors`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Route

from genyard.errors import Code, GenyardError
from genyard.telemetry import current_trace, get_logger

_log = get_logger(__name__)

#: A request that is understood but wrong is 422 throughout; 5xx says that the caller did nothing wrong.
STATUS: Final[Mapping[Code, int]] = {
    Code.request_invalid: 422,
    Code.request_unsupported: 422,
    Code.request_conflict: 409,
    Code.media_invalid: 422,
    Code.workflow_invalid: 422,
    Code.no_face: 422,
    Code.not_found: 404,
    Code.unauthorized: 401,
    Code.forbidden: 403,
    Code.limit_exceeded: 429,
    Code.spend_capped: 503,
    Code.credits_insufficient: 402,
    Code.content_rejected: 422,
    Code.policy_unavailable: 503,
    Code.canceled: 409,
    Code.expired: 409,
    Code.provider_unreachable: 503,
    Code.provider_timeout: 504,
    Code.provider_busy: 503,
    Code.provider_no_capacity: 503,
    Code.provider_rejected: 502,
    Code.provider_failed: 502,
    Code.provider_interrupted: 502,
    Code.provider_out_of_memory: 502,
    Code.provider_missing: 502,
    Code.provider_lost: 502,
    Code.provider_lost_output: 502,
    Code.provider_bad_output: 502,
    Code.provider_protocol: 502,
    Code.storage_failed: 503,
    Code.settings_invalid: 503,
    Code.internal: 500,
}

#: Seconds after which the same request may well succeed, where the error itself does not say.
_RETRY_AFTER: Final[Mapping[int, int]] = {429: 10, 503: 5}


class HttpError(GenyardError):
    """A refusal that only exists in HTTP and has a status of its own (405, 413, 416)."""

    def __init__(
        self,
        status: int,
        code: Code,
        message: str,
        *,
        field: str | None = None,
        context: Mapping[str, Any] | None = None,
        response_headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, message, field=field, context=context)
        self.status = status
        self.response_headers: Mapping[str, str] = response_headers or {}


def install(app: FastAPI, *, routes: Sequence[Route]) -> None:
    """Every error of the app leaves it in the one shape."""

    async def on_genyard(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, GenyardError)
        return answer(error)

    async def on_validation(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        field = getattr(request.scope.get("route"), "body_field", None)
        return answer(from_validation(error.errors(), field.field_info.annotation if field else None))

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        methods = {
            method
            for route in routes
            if route.path_regex.match(request.url.path)
            for method in route.methods or ()
        }
        return answer(_from_http(error, sorted(methods)))

    app.add_exception_handler(GenyardError, on_genyard)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)


def answer(error: GenyardError) -> JSONResponse:
    """The response for an error."""
    status = error.status if isinstance(error, HttpError) else STATUS[error.code]
    headers = dict(error.response_headers) if isinstance(error, HttpError) else {}
    if status in _RETRY_AFTER:
        headers["Retry-After"] = str(error.context.get("retry_after", _RETRY_AFTER[status]))
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="genyard"'
    if status >= 500:
        _log.warning("a request failed", code=error.code.value, error=error.message)
    body = {"error": {**error.as_json(), "trace_id": current_trace() or ""}}
    return JSONResponse(body, status, headers=headers)


def from_validation(problems: Sequence[Mapping[str, Any]], body: Any) -> GenyardError:
    """FastAPI's and pydantic's findings in our words: the first names the field, all are listed. `body`: of which type
    it should have been."""
    told = [_describe(problem, body) for problem in problems]
    return GenyardError(
        Code.request_invalid,
        "; ".join(dict.fromkeys(message for _, message in told)),
        field=told[0][0] or None,
        context={"problems": [{"field": field, "message": message} for field, message in told]},
    )


def _describe(problem: Mapping[str, Any], body: Any) -> tuple[str, str]:
    where, *path = [str(part) for part in problem["loc"]] or ["body"]
    kind = problem["type"]
    if kind == "json_invalid":
        return "", f"the body is not valid JSON: {problem['ctx']['error']} at character {path[0]}"
    names = [number for number, part in enumerate(path) if not part.isdecimal()]
    name = ".".join(path[names[-1] :] if names else [where, *path])  # an item of a list is called by the list
    field = ".".join(path)
    if kind == "extra_forbidden":
        known = _fields_at(body, path[:-1])
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        return field, f"there is no field {name!r} here; {hint}"
    if kind == "missing":
        return field, f"{name} is required" if path else "a JSON body is required"
    if not path and kind == "model_attributes_type":
        return "", "the body must be a JSON object, sent as application/json"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return field, f"{name}: {message[0].lower()}{message[1:]}"


def _fields_at(body: Any, path: Sequence[str]) -> list[str]:
    """Names of the fields that there are at this place of a body."""
    models = list(_models(body))
    for part in path:
        if not part.isdecimal():
            fields = [one.model_fields[part] for one in models if part in one.model_fields]
            models = [model for field in fields for model in _models(field.annotation)]
    return [name for model in models for name in model.model_fields]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from _models(one)


def _from_http(error: HTTPException, methods: Sequence[str]) -> GenyardError:
    if error.status_code == 404:
        return GenyardError(Code.not_found, "there is no such page; the API is described at /openapi.json")
    if error.status_code == 405:
        allowed = ", ".join(methods)
        message = f"this method is not allowed here, only {allowed}"
        return HttpError(405, Code.request_invalid, message, response_headers={"Allow": allowed})
    return GenyardError(Code.request_invalid, f"the request cannot be read: {error.detail}")
