"""Callbacks over HTTP: a job names its receiver; deliveries and the secret are the caller's own."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest

from conftest import MakeSettings
from genyard.app import Product, build, working
from scenarios.http.client import Client, serving, small
from support.receiver import Receiver
from support.scripted import ScriptedProvider


@pytest.fixture
async def near(make_settings: MakeSettings, tmp_path: Path) -> AsyncIterator[tuple[Product, Client]]:
    """A product that may tell loopback things."""
    (tmp_path / "genyard.toml").write_text('[webhooks]\nhosts = ["127.0.0.1"]\n')
    async with (
        build(make_settings(), providers={"preview": lambda *_: ScriptedProvider()}) as product,
        working(product),
        serving(product) as address,
        aiohttp.ClientSession() as session,
    ):
        yield product, Client(base=address, session=session)
    shutil.rmtree(tmp_path, ignore_errors=True)


async def as_owner(near: tuple[Product, Client], name: str) -> Client:
    product, client = near
    _, key = await product.owners.create_key(name)
    return Client(base=client.base, session=client.session, headers={"Authorization": f"Bearer {key}"})


async def test_a_receiver_is_told_and_can_be_told_again(near: tuple[Product, Client]) -> None:
    alice, bob = await as_owner(near, "alice"), await as_owner(near, "bob")
    async with Receiver() as receiver:
        secret = (await alice.call("POST", "/v1/webhooks/secret")).json["secret"]
        again = await alice.call("POST", "/v1/webhooks/secret")
        assert (again.status, again.error["code"]) == (409, "request.conflict")
        job = await alice.call(
            "POST",
            "/v1/jobs?wait=20",
            json={**small(), "webhook_url": receiver.url, "webhook_events": ["succeeded"]},
        )
        assert job.status == 201
        assert (job.json["webhook_url"], job.json["webhook_events"]) == (receiver.url, ["succeeded"])
        [message] = await receiver.until(1)
        assert message.signed_with(secret)

        path = f"/v1/webhooks/deliveries?job_id={job.json['id']}"
        [told] = (await alice.call("GET", path)).json["deliveries"]
        assert (told["id"], told["type"]) == (message.id, "job.succeeded")
        assert (await bob.call("GET", path)).json == {"deliveries": [], "next": None}
        stolen = await bob.call("POST", f"/v1/webhooks/deliveries/{message.id}/resend")
        assert (stolen.status, stolen.error["code"]) == (404, "request.not_found")
        assert (await alice.call("POST", f"/v1/webhooks/deliveries/{message.id}/resend")).status == 200
        first, second = await receiver.until(2)
        assert first.id == second.id

        new = await alice.call("POST", "/v1/webhooks/secret", json={"rotate": True, "overlap": 60.0})
        assert new.json["secret"] != secret
        assert (await alice.call("GET", "/v1/webhooks/deliveries?state=lost")).status == 422
        nobody = await alice.call("POST", f"/v1/webhooks/deliveries/{UUID(int=5)}/resend")
        assert nobody.status == 404


async def test_a_private_receiver_is_refused_by_name(client: Client) -> None:
    refused = await client.call("POST", "/v1/jobs", json={**small(), "webhook_url": "http://192.168.0.7/"})
    assert (refused.status, refused.error["field"]) == (422, "webhook_url")
