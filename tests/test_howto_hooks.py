"""The pages about callbacks and moderation do what they say: their programs are run."""

from __future__ import annotations

import asyncio
import base64
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.errors import Code, GenyardError
from genyard.jobs.callbacks.sender import SCHEDULE
from genyard.jobs.callbacks.signing import read_secret
from support.receiver import Message, Receiver

HOWTO = Path(__file__).parent.parent / "docs" / "howto"


def block(page: str, language: str, number: int = 0) -> str:
    return re.findall(rf"^```{language}\n(.*?)^```", (HOWTO / page).read_text(), re.MULTILINE | re.DOTALL)[
        number
    ]


@asynccontextmanager
async def opened(make_settings: MakeSettings, folder: Path, toml: str) -> AsyncIterator[Product]:
    (folder / "genyard.toml").write_text(toml)
    async with build(make_settings()) as product, working(product):
        yield product


def drawing(prompt: str, **more: Any) -> dict[str, Any]:
    return {"operation": "txt2img", "parameters": {"prompt": prompt, "width": 64, "height": 64}, **more}


async def test_the_receiver_of_the_page_takes_our_messages_once_and_no_others(
    make_settings: MakeSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page: dict[str, Any] = {}
    exec(block("callbacks.md", "python"), page)
    app = web.Application()
    app.router.add_post("/", page["receive"])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        async with opened(make_settings, tmp_path, '[webhooks]\nhosts = ["127.0.0.1"]\n') as product:
            webhooks = product.studio.webhooks
            page["SECRET"] = await webhooks.secret()
            job = (await product.studio.submit(drawing("a fox", webhook_url=url))).job
            await ended(product, "delivered")
            [one] = await webhooks.deliveries()
            await webhooks.resend(one.id)
            await ended(product, "delivered")
            assert capsys.readouterr().out == f"job.succeeded {job.id}\n"
            page["SECRET"] = "whsec_" + base64.b64encode(b"somebody else's").decode()
            await webhooks.resend(one.id)
            [refused] = await ended(product, "waiting", tries=1)
            assert refused.status == 401
    finally:
        await runner.cleanup()


async def ended(product: Product, state: str, tries: int = 1) -> Any:
    async with asyncio.timeout(20):
        while True:
            found = await product.studio.webhooks.deliveries()
            if found and all(one.state == state and one.tries >= tries for one in found):
                return found
            await asyncio.sleep(0.01)


def test_the_page_tells_the_schedule_as_it_is() -> None:
    text = (HOWTO / "callbacks.md").read_text()
    assert "5 s, 30 s, 2 min, 10 min, 1 h, 2 h, 4 h and 8 h" in text
    assert SCHEDULE == (5, 30, 120, 600, 3600, 7200, 14_400, 28_800)


async def test_the_house_rules_of_the_page_refuse_and_soften(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "house_rules.py").write_text(block("moderate.md", "python"))
    monkeypatch.syspath_prepend(tmp_path)
    async with opened(make_settings, tmp_path, block("moderate.md", "toml")) as product:
        with pytest.raises(GenyardError, match="not allowed here") as refused:
            await product.studio.submit(drawing("a forbidden thing"))
        assert refused.value.code is Code.content_rejected
        milder = (await product.studio.submit(drawing("a vampire with blood"))).job
        assert milder.prompt == "a vampire with tomato juice"
        assert milder.policy == {
            "decision": "changed",
            "fields": ["parameters.prompt"],
            "reason": "made milder",
        }
        assert (await product.studio.submit(drawing("a fox"))).job.policy is None
    sys.modules.pop("house_rules", None)


async def test_the_answers_of_the_page_are_understood(make_settings: MakeSettings, tmp_path: Path) -> None:
    allow, refuse, change = block("moderate.md", "json", 1).splitlines()
    toml = block("moderate.md", "toml", 1)
    secret = re.search(r"whsec_\S+(?=\")", toml)
    assert secret is not None
    assert read_secret(secret.group())

    def saying(text: str) -> Any:
        async def answer(_message: Message) -> web.StreamResponse:
            return web.Response(text=text)

        return answer

    async with Receiver(answers=[saying(allow), saying(refuse), saying(change)]) as hook:
        toml = toml.replace("https://policy.internal/check", hook.url)
        async with opened(make_settings, tmp_path, toml) as product:
            assert (await product.studio.submit(drawing("a fox"))).job.policy is None
            with pytest.raises(GenyardError, match="not allowed here"):
                await product.studio.submit(drawing("a fox"))
            changed = (await product.studio.submit(drawing("a fox"))).job
        assert (changed.prompt, changed.tags) == ("a kind fox", ("milder",))
        assert all(message.signed_with(secret.group()) for message in hook.got)
        asked = hook.got[0].json["data"]
        assert asked.keys() == {"owner_id", "trace_id", "tags", "steps"}
