"""Logs carry the trace id; nothing is printed behind a library user's back."""

from __future__ import annotations

import json
import logging

import pydantic
import pytest

from genyard.telemetry import bind_trace, configure_logging, get_logger, new_trace_id


@pytest.fixture(autouse=True)
def _restore() -> object:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers, root.level = before
    return None


def test_a_line_of_json_with_the_trace(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", as_json=True)
    trace_id = new_trace_id()
    bind_trace(trace_id)
    get_logger("genyard.test").info("the job ended", job="17")
    logging.getLogger("somebody").warning("else")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["job"], ours["trace_id"], ours["level"]) == (
        "the job ended",
        "17",
        trace_id,
        "info",
    )
    assert (theirs["event"], theirs["trace_id"]) == ("else", trace_id)


def test_a_defect_shows_its_traceback_but_no_locals(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", as_json=False)

    def fail(prompt: str) -> None:
        raise ZeroDivisionError

    wish = "a secret" + " wish"
    try:
        fail(wish)
    except ZeroDivisionError:
        get_logger("genyard.test").exception("a defect ended the job")
    told = capsys.readouterr().err
    assert "ZeroDivisionError" in told
    assert "secret wish" not in told


def test_what_failures_quote_is_not_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """PostgreSQL quotes the failing row, pydantic its input; both in a chain and in a group."""
    configure_logging("info", as_json=True)
    wish = "a secret" + " wish"
    for family in (Exception, ExceptionGroup):
        try:
            try:
                _Model.model_validate({"number": wish})
            except pydantic.ValidationError as wrong:
                _raise(family, wrong)
        except Exception:
            get_logger("genyard.test").exception("a defect ended the job")
    told = capsys.readouterr().err
    assert "number: int_parsing" in told
    assert "null value in column" in told
    assert "secret wish" not in told


class _Model(pydantic.BaseModel):
    number: int


class _Diagnosis:
    message_primary = "null value in column"


class _DatabaseError(Exception):
    diag = _Diagnosis()


def _raise(family: type[Exception], cause: Exception) -> None:
    error = _DatabaseError(f"null value in column\nDETAIL: Failing row contains ({'a secret'} {'wish'})")
    if family is ExceptionGroup:
        raise ExceptionGroup("several", [error, cause]) from cause
    raise error from cause


def test_unconfigured_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    get_logger("genyard.test").info("quiet")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
