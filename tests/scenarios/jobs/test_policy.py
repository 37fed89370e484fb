"""The hook before submit: it allows, changes or refuses; it may be slow, wrong or dead; prompts stay with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web

from conftest import MakeSettings
from genyard.app import Product, build, working
from genyard.errors import Code, GenyardError
from support.receiver import Message, Receiver, hangs
from support.scripted import ScriptedProvider, png

PROMPT = "a purple gryphon"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def asking(**more: Any) -> dict[str, Any]:
    return {"operation": "txt2img", "parameters": {"prompt": PROMPT, "width": 64, "height": 64}, **more}


HEAD = "import asyncio, time\nfrom genyard.policy import Allow, Asked, Change, Refuse\n\n"


@pytest.fixture
def judged_by(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., contextlib.AbstractAsyncContextManager[Product]]:
    """A product whose hook is this function (the source of its body), or this URL."""

    @contextlib.asynccontextmanager
    async def make(
        body: str = "", *, head: str = "def", url: str = "", more: str = ""
    ) -> AsyncIterator[Product]:
        module = f"policy_{uuid4().hex}"
        (tmp_path / f"{module}.py").write_text(f"{HEAD}{head} judge(asked: Asked):\n    {body}\n")
        monkeypatch.syspath_prepend(tmp_path)
        who = f'url = "{url}"' if url else f'python = "{module}:judge"'
        (tmp_path / "genyard.toml").write_text(f"[before_submit]\n{who}\n{more}\n")
        place = ScriptedProvider()
        async with build(make_settings(), providers={"preview": lambda *_: place}) as product:
            yield product
        sys.modules.pop(module, None)

    return make


Judged = Callable[..., contextlib.AbstractAsyncContextManager[Product]]


async def refused(product: Product, body: dict[str, Any], **more: Any) -> GenyardError:
    with pytest.raises(GenyardError) as caught:
        await product.studio.submit(body, **more)
    assert not await product.studio.jobs()
    return caught.value


@pytest.mark.parametrize("head", ["def", "async def"])
async def test_what_is_allowed_passes_as_it_is(judged_by: Judged, head: str) -> None:
    async with judged_by("return Allow()", head=head) as product, working(product):
        job = await product.studio.make("txt2img", prompt=PROMPT, width=64, height=64)
    assert job.policy is None
    assert job.prompt == PROMPT


async def test_what_is_refused_leaves_nothing_behind_and_says_why(
    judged_by: Judged, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    body = (
        "return Refuse(reason='no gryphons') if 'gryphon' in asked.steps[0].parameters['prompt'] else Allow()"
    )
    async with judged_by(body) as product:
        error = await refused(product, asking(), idempotency_key="once")
        assert (error.code, error.message) == (Code.content_rejected, "no gryphons")
        assert PROMPT not in caplog.text
        tame = {**asking(), "parameters": {"prompt": "a hen", "width": 64, "height": 64}}
        assert (await product.studio.submit(tame, idempotency_key="once")).replayed is False


async def test_a_change_is_made_judged_again_and_visible_without_its_words(judged_by: Judged) -> None:
    body = (
        "return Change(parameters={'step1': {'prompt': 'a kind ' + asked.steps[0].parameters['prompt'][9:]}},"
        " tags=(*asked.tags, 'softened'), reason='kinder')"
    )
    async with judged_by(body) as product:
        first = (await product.studio.submit(asking(tags=["boss"]), idempotency_key="k")).job
        job = await product.studio.get(first.id)
        again = await product.studio.submit(asking(tags=["boss"]), idempotency_key="k")
    assert job.prompt == "a kind gryphon"
    assert job.steps[0]["parameters"]["prompt"] == "a kind gryphon"
    assert job.tags == ("boss", "softened")
    assert job.policy == {"decision": "changed", "fields": ["parameters.prompt", "tags"], "reason": "kinder"}
    assert job.as_json()["policy"] == job.policy
    assert again.replayed
    assert again.job.id == job.id


@pytest.mark.parametrize("given", ["scenario:asset_1", ["scenario:asset_1"]])
async def test_what_lies_in_a_places_library_is_asked_about_by_its_name_and_fetched_afterwards(
    judged_by: Judged, given: Any
) -> None:
    cut = {"operation": "remove_background", "inputs": {"image": given}}
    draw = {"operation": "txt2img", "parameters": {"prompt": PROMPT}}
    async with judged_by("return Refuse(reason=' '.join(asked.steps[-1].inputs['image']))") as product:
        for body in (cut, {"steps": [draw, cut]}):
            assert (await refused(product, body)).message == "scenario:asset_1"
    async with judged_by("return Allow()") as product:
        for body, field in ((cut, "inputs.image"), ({"steps": [draw, cut]}, "steps.1.inputs.image")):
            error = await refused(product, body)  # nobody is there to fetch it from
            assert (error.code, error.field) == (Code.request_unsupported, field)


async def test_a_change_in_one_of_several_steps_names_it(judged_by: Judged) -> None:
    steps = [
        {**asking(), "name": "draw"},
        {"operation": "pixelate", "name": "grid", "inputs": {"image": "step:draw"}},
    ]
    async with judged_by("return Change(parameters={'grid': {'colors': 8}})") as product:
        job = (await product.studio.submit({"steps": steps})).job
    assert job.steps[1]["parameters"]["colors"] == 8
    assert job.policy == {"decision": "changed", "fields": ["steps.grid.parameters.colors"], "reason": None}


BAD = {
    "raises": "raise RuntimeError('about ' + asked.steps[0].parameters['prompt'])",
    "says nothing": "return None",
    "says yes": "return True",
    "an unknown step": "return Change(parameters={'nowhere': {'prompt': 'x'}})",
    "an unknown parameter": "return Change(parameters={'step1': {'webhook_url': 'x'}})",
    "a wrong value": "return Change(parameters={'step1': {'width': 7}})",
    "wrong tags": "return Change(tags=('x' * 61,))",
    "no text": "return Change(parameters={'step1': {'prompt': b'x'}})",
    "a wrong reason": "return Change(tags=('a',), reason=7)",
    "wants to end the process": "raise SystemExit(1)",
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
async def test_a_hook_that_is_wrong_refuses_by_default(
    judged_by: Judged, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with judged_by(body) as product:
        error = await refused(product, asking())
    assert error.code is Code.policy_unavailable
    assert PROMPT not in caplog.text + error.message
    assert "the hook before submit failed" in caplog.text


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
async def test_or_lets_the_request_pass_unchanged_where_the_settings_say_so(
    judged_by: Judged, body: str
) -> None:
    async with judged_by(body, more='on_failure = "allow"') as product:
        job = (await product.studio.submit(asking(tags=["boss"]))).job
    assert (job.prompt, job.tags) == (PROMPT, ("boss",))
    assert job.policy == {"decision": "unchecked", "fields": [], "reason": None}


@pytest.mark.parametrize(
    ("head", "body"), [("def", "time.sleep(1)"), ("async def", "await asyncio.sleep(60)")]
)
async def test_it_has_so_much_time_and_no_more(judged_by: Judged, head: str, body: str) -> None:
    async with judged_by(body, head=head, more="time_limit = 0.1") as product:
        began = time.monotonic()
        error = await refused(product, asking())
        assert time.monotonic() - began < 0.9
    assert error.code is Code.policy_unavailable


@pytest.mark.parametrize("head", ["def", "async def"])
async def test_one_that_wants_to_end_the_process_is_asked_again_however_often(
    judged_by: Judged, head: str
) -> None:
    """Only so many are under way at a time: who leaves makes room."""
    body = "import sys; sys.exit() if 'bad' in asked.tags else None; return Allow()"
    async with judged_by(body, head=head, more="time_limit = 5") as product:
        wanted = [product.studio.submit(asking(tags=["bad"])) for _ in range(40)]
        told = await asyncio.gather(*wanted, return_exceptions=True)
        assert {getattr(one, "code", one) for one in told} == {Code.policy_unavailable}
        assert (await product.studio.submit(asking())).job.policy is None


async def test_what_it_does_to_its_copy_changes_nothing(judged_by: Judged) -> None:
    body = "asked.steps[0].parameters['loras'].append({'name': 'x'}); return Allow()"
    async with judged_by(body) as product:
        job = (await product.studio.submit(asking())).job
    assert job.steps[0]["parameters"]["loras"] == []


async def test_a_rerun_is_judged_too_and_an_estimate_is_not(judged_by: Judged) -> None:
    count = "judge.times = getattr(judge, 'times', 0) + 1"
    once = f"{count}\n    return Refuse(reason='no') if judge.times > 1 else Allow()"
    async with judged_by(once) as product:
        await product.studio.estimate(asking())
        first = (await product.studio.submit(asking())).job
        await product.studio.estimate(asking())
        with pytest.raises(GenyardError) as caught:
            await product.studio.rerun(first.id)
        assert (caught.value.code, caught.value.message) == (Code.content_rejected, "no")
        assert [job.id for job in await product.studio.jobs()] == [first.id]


async def test_inputs_are_named(judged_by: Judged) -> None:
    body = "return Refuse(reason=' '.join(asked.steps[0].inputs['image']) + ' of ' + str(asked.owner_id))"
    async with judged_by(body) as product:
        asset = await product.studio.upload(png(side=64))
        cut = {"operation": "remove_background", "inputs": {"image": str(asset.id)}}
        error = await refused(product, cut)
        assert error.message == f"{asset.id} of {asset.owner_id}"


@pytest.mark.parametrize(
    ("toml", "field"),
    [
        ('python = "no_such_module:judge"', "before_submit.python"),
        ('python = "json:no_such_function"', "before_submit.python"),
        ('python = "json:__name__"', "before_submit.python"),
        ('python = "house_rules_that_break:judge"', "before_submit.python"),
        ('python = "json"', "before_submit.python"),
        ('url = "policy.internal"', "before_submit.url"),
        ('url = "http://a/"\npython = "json:dumps"', "before_submit"),
        ('python = "json:dumps"\nsecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"', "before_submit"),
        ('url = "http://a/"\nsecret = "short"', "before_submit.secret"),
        ('url = "http://a/"\non_failure = "maybe"', "before_submit.on_failure"),
        ("time_limit = 0", "before_submit.time_limit"),
    ],
)
async def test_wrong_settings_stop_genyard_at_the_start(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toml: str, field: str
) -> None:
    (tmp_path / "house_rules_that_break.py").write_text("rules = 1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "genyard.toml").write_text(f"[before_submit]\n{toml}\n")
    with pytest.raises(GenyardError) as caught:
        async with build(make_settings()):
            pass
    assert caught.value.code is Code.settings_invalid
    assert caught.value.field == f"genyard.toml: {field}"
    assert "MfKQ" not in caught.value.message


# ---- a URL ----


def saying(told: Any) -> Callable[[Message], Awaitable[web.StreamResponse]]:
    async def answer(_message: Message) -> web.StreamResponse:
        return web.json_response(told)

    return answer


async def test_a_url_is_asked_and_signed_to(judged_by: Judged) -> None:
    async with (
        Receiver(answers=[saying({"decision": "allow"})]) as hook,
        judged_by(url=hook.url, more=f'secret = "{SECRET}"') as product,
    ):
        job = (await product.studio.submit(asking(tags=["boss"]))).job
        [message] = hook.got
        assert message.signed_with(SECRET)
        told = message.json
        assert told["type"] == "before_submit"
        assert told["data"]["tags"] == ["boss"]
        assert told["data"]["trace_id"] == job.trace_id
        assert told["data"]["steps"][0]["parameters"]["prompt"] == PROMPT
        hook.answers = [
            saying({"decision": "change", "parameters": {"step1": {"prompt": "a hen"}}, "tags": []})
        ]
        changed = (await product.studio.submit(asking(tags=["boss"]))).job
        assert (changed.prompt, changed.tags) == ("a hen", ())
        hook.answers = [saying({"decision": "refuse", "reason": "no gryphons"})]
        with pytest.raises(GenyardError, match="no gryphons") as caught:
            await product.studio.submit(asking())
        assert caught.value.code is Code.content_rejected


@pytest.mark.parametrize(
    "answer",
    [
        500,
        web.Response(status=302, headers={"Location": "http://example.com/"}),
        web.Response(text="yes"),
        hangs,
        saying(["allow"]),
        saying({"decision": "perhaps"}),
        saying({"decision": "allow", "priority": 100}),
        saying({"decision": "change", "priority": 100}),
        saying({"decision": "change", "parameters": [1]}),
        saying({"decision": ["allow"]}),
    ],
    ids=("error", "redirect", "text", "hangs", "list", "unknown", "more", "priority", "no-steps", "no-word"),
)
async def test_a_url_that_does_not_answer_as_it_should(judged_by: Judged, answer: Any) -> None:
    async with (
        Receiver(answers=[answer]) as hook,
        judged_by(url=hook.url, more="time_limit = 0.3") as product,
    ):
        error = await refused(product, asking())
        assert error.code is Code.policy_unavailable
        assert json.dumps(error.as_json()).count(PROMPT) == 0
