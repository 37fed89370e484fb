"""Callbacks on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from genyard.app import build
from genyard.settings import load_settings
from support.receiver import Receiver

from .conftest import Cli


@pytest.mark.long
async def test_callbacks_of_anothers_job_are_found_by_the_end_of_its_id(cli: Cli) -> None:
    async with build(load_settings(cli.environment, cli.folder)) as product:
        _, key = await product.owners.create_key("ada")
        body = {"operation": "txt2img", "parameters": {"prompt": "a slime"}}
        ada = await product.owners.owner_of(key)
        made = await product.studio.submit(body, owner_id=ada)
        await product.studio.cancel(made.job.id, owner_id=ada)
    end = str(made.job.id)[-8:]
    assert (await cli("webhooks", "list", "--job", end, "--owner", "ada")).status == 0
    assert (await cli("webhooks", "list", "--job", end)).status == 3


@pytest.mark.long
async def test_a_receiver_is_told_and_told_again(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "genyard.toml").write_text('[webhooks]\nhosts = ["127.0.0.1"]\n')
    drawing = ("generate", "a red dragon", "--size", "64x64")
    refused = await cli(*drawing, "--webhook", "http://10.0.0.1/")
    assert refused.status == 2
    assert "--webhook" in refused.err
    secret = await cli("webhooks", "secret", "--rotate")
    assert secret.status == 0, secret.err
    assert "not shown again" in secret.err
    assert (await cli("webhooks", "secret")).status == 2
    async with Receiver() as receiver:
        made = await cli(*drawing, "--webhook", receiver.url, "-o", str(tmp_path / "out"))
        assert made.status == 0, made.err
        [message] = await receiver.until(1)
        assert message.signed_with(secret.out.strip())
        listed = await cli("webhooks", "list", "--job", message.json["data"]["id"], "--json")
        assert [one["id"] for one in listed.document["deliveries"]] == [message.id]
        assert message.id in (await cli("webhooks", "list")).out
        again = await cli("webhooks", "resend", message.id)
        assert again.out.strip() == f"{message.id} is waiting"
        receiver.answers = [web.Response(status=500)]
        two = ("--webhook-event", "running", "--webhook-event", "succeeded")
        failing = await cli(*drawing, "--webhook", receiver.url, *two, "--json")
        assert failing.status == 0
        assert failing.document["webhook_events"] == ["running", "succeeded"]
        assert "its callback failed (" in failing.err
    assert (await cli("webhooks", "resend", "nonsense")).status == 2
    assert (await cli(*drawing, "--webhook-event", "running")).status == 2
    assert (await cli(*drawing, "--on-disconnect", "explode")).status == 2
    assert (await cli(*drawing, "--on-disconnect", "cancel", "--detach")).status == 2
    assert (await cli("webhooks", "list", "--owner", "nobody")).status == 3
