"""The description of the API is true: what it says is what happens, for whatever is sent."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from scenarios.http.client import Client, KeyMaker

#: Examples per operation: enough to meet every kind of refusal, few enough for `make test`.
_EXAMPLES: Final = 3
_CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


async def description(client: Client) -> Any:
    return (await client.get("/openapi.json")).json


async def test_every_operation_is_described(client: Client) -> None:
    told = await description(client)
    ids = [one["operationId"] for path in told["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids)) == 33
    assert all(name.islower() and name.isidentifier() for name in ids)
    for path, methods in told["paths"].items():
        for method, one in methods.items():
            where = f"{method} {path}"
            assert one.get("summary"), where
            if path == "/health":
                continue
            if path.startswith("/hooks/"):
                assert "security" not in one, where  # a place has no key of ours: the path is the secret
            else:
                assert one["security"] == [{"bearer": []}, {"api_key": []}], where
            for status, response in one["responses"].items():
                if int(status) >= 400:
                    shape = response["content"]["application/json"]["schema"]["$ref"]
                    assert shape.endswith("/ErrorView"), (where, status)
    assert "HTTPValidationError" not in told["components"]["schemas"]


# the server is in this process, too, and may draw a random number while Hypothesis watches that nobody does
@pytest.mark.filterwarnings("ignore:Do not use the .random.:hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.parametrize("mode", ["positive", "negative"])
async def test_whatever_is_sent_the_answer_is_as_described(
    client: Client, with_key: KeyMaker, mode: str
) -> None:
    alice = await with_key("alice")
    told = schemathesis.openapi.from_dict(await description(client))
    told.config.update(base_url=client.base)
    generation = getattr(schemathesis.GenerationMode, mode.upper())
    for operation in told.get_all_operations():
        for case in drawn(operation.ok(), generation):
            response = await asyncio.to_thread(case.call, headers=alice.headers, timeout=20)
            case.validate_response(response, checks=_CHECKS)


def drawn(operation: Any, generation: Any) -> list[Any]:
    """All in one go, the server standing still: hypothesis wants `random` for itself while it draws."""
    cases: list[Any] = []

    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(case=operation.as_strategy(generation_mode=generation))
    def draw(case: Any) -> None:
        cases.append(case)

    with contextlib.suppress(Unsatisfiable):  # where nothing can be wrong there are no negative cases
        draw()
    return cases
