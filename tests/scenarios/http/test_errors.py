"""Errors: one shape, one status per code, the field named, the trace id everywhere."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import pytest

from genyard.errors import REMEDIES, Code
from genyard.frontends.http.errors import STATUS
from scenarios.http.client import Client, small


def test_every_code_has_a_status() -> None:
    assert set(STATUS) == set(Code)


def test_what_the_caller_must_fix_is_4xx_and_nothing_else_is() -> None:
    for code, status in STATUS.items():
        assert (status < 500) == (REMEDIES[code].value == "fix_request"), code


@pytest.mark.parametrize(
    ("body", "field", "word"),
    [
        ({}, None, "operation is required"),
        ([], None, "JSON object"),
        ("text", None, "JSON object"),
        ({"operation": "paint"}, "operation", "txt2img"),
        ({"operation": ["txt2img"]}, "operation", "string"),
        ({"operation": "txt2img"}, "parameters.prompt", "required"),
        (small(width="wide"), "parameters.width", "whole number"),
        (small(width=63), "parameters.width", "greater than or equal to 64"),
        (small(colour="red"), "parameters.colour", "no parameter"),
        (small(promt="x"), "parameters.promt", "'prompt'"),
        ({**small(), "operaton": "x"}, "operaton", "'operation'"),
        ({**small(), "model": "no-such-model"}, "model", "flux.1-dev"),
        ({**small(), "model": ["a"]}, "model", "string"),
        ({**small(), "model": ""}, "model", "at least 1"),
        ({**small(), "inputs": {"image": "x"}}, "inputs.image", "upload"),
        ({**small(), "inputs": {"image": str(UUID(int=7))}}, "inputs.image", "role"),
        ({**small(), "inputs": []}, "inputs", "dictionary"),
        ({**small(), "tags": ["x" * 61]}, "tags", "60"),
        ({**small(), "priority": "high"}, "priority", "integer"),
        ({**small(), "priority": 1000}, "priority", "100"),
        ({**small(), "expires_in": -1}, "expires_in", "greater than 0"),
        ({**small(), "steps": []}, None, "not both"),
        ({"steps": []}, "steps", "1 to 16"),
        (
            {"steps": [{"operation": "txt2img", "parameters": {"prompt": "x"}, "name": "No!"}]},
            "name",
            "lower-case",
        ),
        ({"steps": [{"operation": "txt2img", "extra": 1}]}, "steps.0.extra", "keep"),
        ({**small(), "tags": ["x", 7]}, "tags.1", "tags.1:"),
        (small("a\x00b"), "parameters.prompt", "NUL"),
        (small("\ud800"), "parameters.prompt", "surrogate"),
        ({**small(), "tags": ["fine", "\x00"]}, "tags.1", "NUL"),
        ({**small(), "inputs": {"image": None}}, "inputs.image", "asset id"),
        ({**small(), "inputs": {"image": [7]}}, "inputs.image", "asset id"),
        (small(loras=[{"name": "x", "strength": 99}]), "parameters.loras.0.strength", "10"),
    ],
)
async def test_wrong_requests(client: Client, body: Any, field: str | None, word: str) -> None:
    for path in ("/v1/jobs", "/v1/estimate"):
        answer = await client.post(path, json=body)
        assert (answer.status, answer.error["code"], answer.error["remedy"]) == (
            422,
            "request.invalid",
            "fix_request",
        )
        assert answer.error["alias"] == "INPUT_INVALID"
        assert answer.error.get("field") == field, answer.error
        assert word in answer.error["message"], answer.error


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        (
            "/v1/admin/credits",
            {"owner": "x", "kind": "grant", "credits": 1, "amount": 1},
            "known are owner, kind, credits, reason",
        ),
        ("/v1/admin/endpoints/preview/pause", {"reason": "x"}, "known are why"),
        ("/v1/webhooks/secret", {"rotat": True}, "'rotate'"),
    ],
)
async def test_an_unknown_field_is_answered_with_those_of_that_body(
    client: Client, path: str, body: Any, told: str
) -> None:
    answer = await client.post(path, json=body)
    assert (answer.status, answer.error["field"]) == (422, list(body)[-1])
    assert told in answer.error["message"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b'{"operation": "txt2img", "parameters": {"prompt": NaN}}'),
        ("application/json", b"[" * 5000),
        ("application/json", b'{"a":' * 200 + b"1" + b"}" * 200),
        ("application/json", b"\xff\xfe"),
        ("application/json", b""),
        ("text/plain", b"{}"),
        ("application/x-www-form-urlencoded", b"operation=txt2img"),
    ],
)
async def test_bodies_that_cannot_be_read(client: Client, kind: str, body: bytes) -> None:
    answer = await client.post("/v1/jobs", data=body, headers={"Content-Type": kind})
    assert (answer.status, answer.error["code"]) == (422, "request.invalid"), answer.body


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/jobs?limit=0", "limit"),
        ("/v1/jobs?limit=many", "limit"),
        ("/v1/jobs?before=x", "before"),
        ("/v1/jobs?state=done", "state"),
        ("/v1/jobs?operation=paint", "operation"),
        ("/v1/jobs?search=%00", "search"),
        ("/v1/assets?role=hero", "role"),
        ("/v1/assets?tag=%00", "tag"),
        ("/v1/jobs/x", "job_id"),
        (f"/v1/jobs/{UUID(int=7)}?wait=61", "wait"),
        (f"/assets/{UUID(int=7)}.png?expires=x&signature=y", "expires"),
    ],
)
async def test_wrong_queries(client: Client, path: str, field: str) -> None:
    answer = await client.get(path)
    assert (answer.status, answer.error["code"], answer.error["field"]) == (422, "request.invalid", field)


@pytest.mark.parametrize("key", ["", " ", "a b", "ü", "x" * 256])
async def test_wrong_idempotency_keys(client: Client, key: str) -> None:
    answer = await client.post("/v1/jobs", json=small(), headers={"Idempotency-Key": key})
    assert (answer.status, answer.error["field"]) == (422, "idempotency-key")


async def test_a_well_formed_request_that_no_place_can_honour(client: Client) -> None:
    answer = await client.post("/v1/jobs", json=small(loras=[{"name": "x"}]))
    assert (answer.status, answer.error["code"]) == (422, "request.unsupported")
    assert answer.error["field"] == "parameters.loras"


async def test_all_problems_are_told_at_once(client: Client) -> None:
    error = (await client.post("/v1/jobs", json=small(width=1, height=1, colour=1))).error
    assert len(error["context"]["problems"]) == 3


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/static/../errors.py", "/v1/jobs/"])
async def test_pages_that_do_not_exist(client: Client, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status, answer.error["code"]) == (404, "request.not_found")


async def test_methods_that_are_not_allowed(client: Client) -> None:
    answer = await client.call("PATCH", "/v1/jobs")
    assert (answer.status, answer.error["code"]) == (405, "request.invalid")
    assert answer.headers["Allow"] == "GET, POST"


async def test_every_answer_has_a_trace_id(client: Client) -> None:
    for path in ("/", "/health", "/v1/jobs", "/v1/nothing", "/openapi.json"):
        assert re.fullmatch("[0-9a-f]{32}", (await client.get(path)).headers["X-Trace-Id"]), path
    wrong = await client.post("/v1/jobs", json={})
    assert wrong.error["trace_id"] == wrong.headers["X-Trace-Id"]


async def test_a_callers_trace_goes_through_to_the_job(client: Client) -> None:
    trace = uuid4().hex
    answer = await client.post(
        "/v1/jobs", json=small(), headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    )
    assert answer.headers["X-Trace-Id"] == answer.json["trace_id"] == trace
    for broken in ("nonsense", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{trace}-1-01"):
        assert (await client.get("/health", headers={"traceparent": broken})).headers["X-Trace-Id"] != trace


async def test_security_headers(client: Client) -> None:
    page = await client.get("/")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    for answer in (page, await client.get("/v1/jobs")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert (await client.get("/v1/jobs")).headers["Cache-Control"] == "no-store"
