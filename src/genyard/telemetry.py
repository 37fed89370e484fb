"""Structured logs that carry the trace id. Prompts, keys and pictures never go in here."""

from __future__ import annotations

import logging
import secrets
import sys
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import structlog

_trace: ContextVar[str | None] = ContextVar("genyard_trace", default=None)


def new_trace_id() -> str:
    """32 hexadecimal digits: the W3C form, so that a caller's `traceparent` fits too."""
    return secrets.token_hex(16)


def bind_trace(trace_id: str) -> None:
    """Everything that this task logs from now on carries `trace_id`."""
    _trace.set(trace_id)


def current_trace() -> str | None:
    return _trace.get()


def get_logger(name: str) -> Any:
    return structlog.get_logger(name)


def configure_logging(level: str, *, as_json: bool) -> None:
    """One handler on the root logger for ours and for the libraries' messages. Called once, by the entry points.

    A program that uses genyard as a library does not call it: our messages then go wherever its own logging goes.
    """
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.ExtraAdder(),
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                _add_trace,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _format_exception,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.getLogger("procrastinate").setLevel(max(logging.WARNING, root.level))


def words_of(failure: BaseException) -> str:
    """What it says, without what it is about: PostgreSQL quotes whole rows in its details, pydantic its input."""
    primary = getattr(getattr(failure, "diag", None), "message_primary", None)
    if isinstance(primary, str):
        return primary
    errors = getattr(failure, "errors", None)
    if callable(errors) and hasattr(failure, "error_count"):
        found = errors(include_input=False, include_url=False, include_context=False)
        return "; ".join(f"{'.'.join(str(part) for part in one['loc'])}: {one['type']}" for one in found)
    return str(failure)


def _traceback(failure: BaseException, told: frozenset[int] = frozenset()) -> Iterator[str]:
    told = told | {id(failure)}
    before = failure.__cause__ or (None if failure.__suppress_context__ else failure.__context__)
    if before is not None and id(before) not in told:
        yield from _traceback(before, told)
        yield "\nafter which came:\n\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(failure.__traceback__)
    yield f"{type(failure).__module__}.{type(failure).__qualname__}: {words_of(failure)}\n"
    for one in getattr(failure, "exceptions", ()):
        if isinstance(one, BaseException) and id(one) not in told:
            yield from _traceback(one, told)


def _format_exception(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    failure = given[1] if isinstance(given, tuple) else given
    if isinstance(failure, BaseException):
        event["exception"] = "".join(_traceback(failure)).rstrip()
    return event


def _add_trace(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if trace_id := _trace.get():
        event.setdefault("trace_id", trace_id)
    return event


#: Whatever happens, our messages are records of the standard library: never prints, never a traceback's locals.
structlog.configure(
    processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
    wrapper_class=structlog.stdlib.BoundLogger,
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
