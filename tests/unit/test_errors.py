"""Error codes are stable, each has one remedy, and an error survives being stored."""

from __future__ import annotations

import re

import pytest

from genyard.errors import ALIASES, REMEDIES, Code, GenyardError, Remedy


def test_every_code_has_a_remedy() -> None:
    assert set(REMEDIES) == set(Code)


@pytest.mark.parametrize("code", Code)
def test_codes_are_lower_case_words(code: Code) -> None:
    assert re.fullmatch(r"[a-z]+(\.[a-z_]+)?", code.value)


def test_the_plans_aliases_are_reported_beside_our_code() -> None:
    told = GenyardError(Code.provider_timeout, "took 201 s").as_json()
    assert told["code"] == "provider.timeout"
    assert told["alias"] == "PROVIDER_TIMEOUT"
    assert set(ALIASES) <= set(Code)


def test_an_error_survives_being_stored() -> None:
    error = GenyardError(
        Code.request_invalid, "width: too small", field="parameters.width", context={"least": 64}
    )
    again = GenyardError.from_json(error.as_json())
    assert (again.code, again.message, again.field, again.context) == (
        error.code,
        error.message,
        error.field,
        error.context,
    )
    assert again.remedy is Remedy.fix_request
