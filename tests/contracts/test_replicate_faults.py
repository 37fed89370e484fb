"""What can go wrong at Replicate, case by case (the numbers are those of the failure catalogue)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web

from genyard.catalog import load_catalog
from genyard.errors import Code, GenyardError, Remedy
from genyard.media import sniff
from genyard.operations import OPERATIONS, Role
from genyard.providers import BoundStep, Media, MediaInput, Plan, Provider, Ref, RemoteOutput, Snapshot, State
from genyard.providers.replicate import ReplicateProvider
from genyard.testing.comfyui.nodes_video import write_video
from genyard.testing.contract import follow, media_of, read
from genyard.testing.replicate import FLAGGED, FaultKind
from support.replicate import QUICK_LIMITS, ReplicateBench, emulated, sdxl, step_of

PATIENCE = 15.0
RETRY_HERE, FIX, OPERATOR = Remedy.retry_here, Remedy.fix_request, Remedy.operator


@pytest.fixture
async def bench() -> AsyncIterator[ReplicateBench]:
    async with emulated() as made:
        yield made


async def submitted(provider: Provider, step: BoundStep | None = None, **options: Any) -> Ref:
    return await provider.submit(provider.compile([step or sdxl()], None), uuid4(), {}, **options)


async def ended(provider: Provider, ref: Ref) -> Snapshot:
    return [one async for one in follow(provider, ref, PATIENCE)][-1]


async def run(bench: ReplicateBench, step: BoundStep | None = None) -> Snapshot:
    provider = bench.provider()
    return await ended(provider, await submitted(provider, step))


async def refused(bench: ReplicateBench, **options: Any) -> GenyardError:
    with pytest.raises(GenyardError) as error:
        await submitted(bench.provider(**options))
    return error.value


class TestRuns:
    @pytest.mark.parametrize(
        ("kind", "code", "remedy"),
        [
            pytest.param(FaultKind.moderated, Code.content_rejected, FIX, id="P3"),
            pytest.param(FaultKind.start_timeout, Code.provider_interrupted, RETRY_HERE, id="P4 E6716"),
            pytest.param(FaultKind.unknown_error, Code.provider_interrupted, RETRY_HERE, id="P4 E1000"),
            pytest.param(FaultKind.out_of_memory, Code.provider_out_of_memory, RETRY_HERE, id="P5"),
            pytest.param(FaultKind.interrupted, Code.provider_interrupted, RETRY_HERE, id="P12"),
            pytest.param(FaultKind.remove_data, Code.provider_lost_output, Remedy.try_elsewhere, id="P1"),
            pytest.param(FaultKind.no_output, Code.provider_lost_output, Remedy.try_elsewhere, id="nothing"),
            pytest.param(FaultKind.fail, Code.provider_failed, Remedy.try_elsewhere, id="any other"),
        ],
    )
    async def test_a_failed_run_says_who_must_act_and_what_it_cost(
        self, bench: ReplicateBench, kind: FaultKind, code: Code, remedy: Remedy
    ) -> None:
        bench.server.faults.add(kind)
        end = await run(bench)
        assert end.state is State.failed
        assert end.error is not None
        assert (end.error.code, end.error.remedy) == (code, remedy)
        assert end.cost is not None  # SDXL is billed by the second, whatever comes of it
        assert end.cost.usd > 0
        assert end.cost.source == "computed"
        assert bench.server.counts.total_runs == 1

    async def test_what_was_flagged_is_rejected_content(self, bench: ReplicateBench) -> None:
        """P3."""
        bench.server.faults.add(FaultKind.fail, message=FLAGGED)
        end = await run(bench)
        assert end.error is not None
        assert end.error.code is Code.content_rejected

    async def test_results_that_were_removed_after_an_hour(self, bench: ReplicateBench) -> None:
        """P1."""
        provider = bench.provider()
        ref = await submitted(provider)
        seen = await ended(provider, ref)
        bench.server.clock.advance(3700)
        late = await ended(bench.provider(), ref)
        assert late.error is not None
        assert late.error.code is Code.provider_lost_output
        assert late.cost is not None
        with pytest.raises(GenyardError) as gone:
            await read(provider, seen.outputs[0])
        assert gone.value.code is Code.provider_lost_output

    async def test_an_aborted_run_is_canceled_and_costs_nothing(self, bench: ReplicateBench) -> None:
        """P8. The runner, which knows that nobody here asked, makes it an interruption."""
        bench.server.faults.add(FaultKind.abort)
        end = await run(bench)
        assert (end.state, end.word) == (State.canceled, "aborted")
        assert end.cost is not None
        assert end.cost.usd == 0
        assert bench.server.counts.total_runs == 0

    async def test_output_that_is_there_early_is_not_taken_before_the_end(
        self, bench: ReplicateBench
    ) -> None:
        """P9."""
        bench.server.faults.add(FaultKind.early_output, seconds=0.3)
        provider = bench.provider()
        ref = await submitted(provider)
        seen = [one async for one in follow(provider, ref, PATIENCE)]
        assert all(not one.outputs for one in seen[:-1])
        assert seen[-1].state is State.succeeded
        assert seen[-1].outputs

    async def test_the_places_own_deadline_is_a_timeout(self, bench: ReplicateBench) -> None:
        """P10. Nobody of us was there to stop it."""
        bench.server.faults.add(FaultKind.hang)
        ref = await submitted(bench.provider())
        await bench.server.until_status(ref["id"], "processing")
        bench.server.clock.advance(24 * 3600)
        await bench.server.until_status(ref["id"], "canceled")
        end = await ended(bench.provider(), ref)
        assert (end.state, end.error and end.error.code) == (State.failed, Code.provider_timeout)

    async def test_the_places_own_deadline_while_it_waits_is_no_capacity(self, bench: ReplicateBench) -> None:
        """P10."""
        bench.server.faults.add(FaultKind.wait)
        ref = await submitted(bench.provider())
        bench.server.clock.advance(24 * 3600)
        await bench.server.until_status(ref["id"], "aborted")
        end = await ended(bench.provider(), ref)
        assert (end.state, end.error and end.error.code) == (State.failed, Code.provider_no_capacity)

    async def test_the_deadline_given_to_the_place_is_later_than_our_own(self, bench: ReplicateBench) -> None:
        limits = replace(QUICK_LIMITS, queue=100.0, image=50.0)
        ref = await submitted(bench.provider(limits=limits))
        prediction = bench.server.predictions[ref["id"]]
        assert prediction.deadline is not None
        assert prediction.deadline - prediction.created >= 150

    async def test_a_run_over_its_time_is_stopped_there(self, bench: ReplicateBench) -> None:
        bench.server.faults.add(FaultKind.hang)
        provider = bench.provider(limits=replace(QUICK_LIMITS, image=0.2))
        ref = await submitted(provider)
        end = await ended(provider, ref)
        assert (end.state, end.error and end.error.code) == (State.failed, Code.provider_timeout)
        assert bench.server.predictions[ref["id"]].status == "canceled"
        assert end.cost is not None

    async def test_waiting_too_long_is_no_capacity_and_is_stopped_there(self, bench: ReplicateBench) -> None:
        bench.server.faults.add(FaultKind.wait)
        provider = bench.provider(limits=replace(QUICK_LIMITS, queue=0.2))
        ref = await submitted(provider)
        end = await ended(provider, ref)
        assert (end.state, end.error and end.error.code) == (State.failed, Code.provider_no_capacity)
        assert bench.server.predictions[ref["id"]].status in ("canceled", "aborted")

    async def test_a_word_that_nobody_knows_is_read_on(self, bench: ReplicateBench) -> None:
        bench.server.faults.add(FaultKind.word, message="post-processing")
        bench.server.faults.add(FaultKind.slow, seconds=0.3)
        assert (await run(bench)).state is State.succeeded

    async def test_a_cancel_that_somebody_else_made(self, bench: ReplicateBench) -> None:
        bench.server.faults.add(FaultKind.cancel)
        assert (await run(bench)).state is State.canceled

    async def test_a_prediction_that_is_not_known_is_lost(self, bench: ReplicateBench) -> None:
        bench.server.faults.add(FaultKind.forget)
        end = await run(bench)
        assert (end.state, end.error and end.error.code) == (State.lost, Code.provider_lost)

    async def test_reads_that_fail_are_made_again_and_buy_nothing(self, bench: ReplicateBench) -> None:
        """P2, for reads."""
        for status in (429, 500, 502):
            bench.server.faults.add(FaultKind.answer, route="GET /v1/predictions/", status=status)
        bench.server.faults.add(FaultKind.lose_answer, route="GET /v1/predictions/")
        assert (await run(bench)).state is State.succeeded
        assert bench.server.counts.total_runs == 1

    async def test_a_key_that_was_withdrawn_meanwhile_is_told(self, bench: ReplicateBench) -> None:
        ref = await submitted(bench.provider())
        with pytest.raises(GenyardError) as told:
            await ended(bench.provider(key="r8_withdrawn"), ref)
        assert told.value.code is Code.provider_rejected
        assert "REPLICATE_API_TOKEN" in told.value.message


class TestHealth:
    async def test_every_model_of_the_catalogue_is_there(self, bench: ReplicateBench) -> None:
        provider = bench.provider()
        health = await provider.check()
        assert (health.reachable, health.error, health.problems) == (True, None, {})
        asked = bench.server.requests.total()
        await provider.check()
        assert (
            bench.server.requests.total() == asked + 1
        )  # the account; models that are there are not asked for again

    async def test_a_model_that_is_gone_is_the_problem_of_its_bindings_alone(
        self, bench: ReplicateBench
    ) -> None:
        bench.server.models.pop("stability-ai/sdxl")
        health = await bench.provider().check()
        assert health.reachable
        assert set(health.problems) == {"replicate/txt2img.sdxl", "replicate/img2img.sdxl"}
        assert "stability-ai/sdxl:7762" in health.problems["replicate/txt2img.sdxl"][0]

    async def test_a_place_that_has_something_else_to_do_is_not_called_missing(
        self, bench: ReplicateBench
    ) -> None:
        bench.server.faults.add(FaultKind.answer, route="GET /v1/models", status=500, times=None)
        health = await bench.provider().check()
        assert health.error is not None
        assert not health.problems


class TestSubmission:
    @pytest.mark.parametrize(
        ("message", "headers", "seconds"),
        [
            ("Request was throttled. Expected available in 1 second.", (), 1.0),
            ("Your rate limit resets in ~30s.", (), 30.0),
            ("Request was throttled.", (("Retry-After", "7"),), 7.0),
        ],
    )
    async def test_a_rate_limit_says_how_long(
        self, bench: ReplicateBench, message: str, headers: tuple[tuple[str, str], ...], seconds: float
    ) -> None:
        """P2. A 429 is the proof that nothing was accepted."""
        body = json.dumps({"detail": message, "status": 429})
        bench.server.faults.add(FaultKind.answer, route="POST /v1/", status=429, body=body, headers=headers)
        error = await refused(bench)
        assert (error.code, error.remedy) == (Code.provider_busy, RETRY_HERE)
        assert error.context["retry_after"] == seconds
        assert bench.server.counts.created == 0

    @pytest.mark.parametrize(
        ("kind", "code", "remedy"),
        [
            pytest.param(FaultKind.throttle, Code.provider_busy, RETRY_HERE, id="P2"),
            pytest.param(FaultKind.no_credit, Code.provider_rejected, OPERATOR, id="P6"),
            pytest.param(FaultKind.bad_input, Code.request_invalid, FIX, id="P7"),
        ],
    )
    async def test_a_refused_submission_buys_nothing(
        self, bench: ReplicateBench, kind: FaultKind, code: Code, remedy: Remedy
    ) -> None:
        bench.server.faults.add(kind)
        error = await refused(bench)
        assert (error.code, error.remedy) == (code, remedy)
        assert bench.server.counts.created == 0

    async def test_a_wrong_key_names_the_setting(self, bench: ReplicateBench) -> None:
        error = await refused(bench, key="r8_wrong")
        assert error.code is Code.provider_rejected
        assert "REPLICATE_API_TOKEN" in error.message
        health = await bench.provider(key="r8_wrong").check()
        assert health.reachable
        assert health.error is not None
        assert "REPLICATE_API_TOKEN" in health.error.message

    async def test_a_model_that_is_not_there_is_for_the_operator(self, bench: ReplicateBench) -> None:
        provider = bench.provider()
        for wire in (
            {"model": "acme/nothing"},
            {"deployment": "acme/nothing"},
            {"version": "acme/nothing:ab"},
        ):
            step = sdxl()
            step = replace(step, binding=step.binding.model_copy(update={"wire": wire}))
            with pytest.raises(GenyardError) as error:
                await submitted(provider, step)
            assert error.value.code is Code.provider_missing, wire
            assert "acme/nothing" in error.value.message

    async def test_a_submission_whose_answer_is_lost_is_not_made_again(self, bench: ReplicateBench) -> None:
        bench.server.faults.add(FaultKind.lose_answer, route="POST /v1/predictions")
        assert (await refused(bench)).code is Code.provider_lost
        assert bench.server.counts.created == 1

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    async def test_a_server_error_leaves_the_outcome_open(self, bench: ReplicateBench, status: int) -> None:
        bench.server.faults.add(FaultKind.fail_after_create, status=status)
        assert (await refused(bench)).code is Code.provider_lost
        assert bench.server.counts.created == 1

    async def test_an_answer_that_is_no_prediction_leaves_the_outcome_open(
        self, bench: ReplicateBench
    ) -> None:
        for body in ("<html>ok</html>", "{}", "[]", ""):
            bench.server.faults.add(FaultKind.answer, route="POST /v1/predictions", status=201, body=body)
            assert (await refused(bench)).code is Code.provider_lost

    async def test_a_place_that_is_not_there_is_unreachable(self, bench: ReplicateBench) -> None:
        await bench.server.stop_listening()
        assert (await refused(bench)).code is Code.provider_unreachable
        assert bench.server.counts.created == 0

    async def test_a_deployment_runs(self) -> None:
        async with emulated(deployments={"acme/sdxl": "stability-ai/sdxl"}) as bench:
            step = sdxl()
            own = step.binding.model_copy(update={"wire": {"deployment": "acme/sdxl"}})
            assert (await run(bench, replace(step, binding=own))).state is State.succeeded


class TestCanceling:
    async def test_after_the_end_it_is_told_as_not_reached(self, bench: ReplicateBench) -> None:
        provider = bench.provider()
        ref = await submitted(provider)
        await ended(provider, ref)
        assert not (await provider.cancel(ref)).reached

    async def test_whoever_observes_learns_of_it_at_once(self, bench: ReplicateBench) -> None:
        bench.server.faults.add(FaultKind.wait)
        provider = bench.provider(limits=replace(QUICK_LIMITS, poll=60.0, interval=30.0))
        ref = await submitted(provider)
        seen = await provider.observe(ref, None, asyncio.Event())
        observing = asyncio.ensure_future(provider.observe(ref, seen, asyncio.Event()))
        await asyncio.sleep(0)
        await provider.cancel(ref)
        async with asyncio.timeout(2.0):
            assert (await observing).state is State.canceled

    async def test_of_a_run_that_replicate_forgot(self, bench: ReplicateBench) -> None:
        bench.server.faults.add(FaultKind.forget)
        provider = bench.provider()
        assert not (await provider.cancel(await submitted(provider))).reached

    async def test_a_refused_cancel_looks_at_the_run(self, bench: ReplicateBench) -> None:
        """What Replicate answers to a cancel after the end is not documented."""
        provider = bench.provider()
        ref = await submitted(provider)
        await ended(provider, ref)
        bench.server.faults.add(FaultKind.answer, route="POST /v1/predictions/", status=422, body="{}")
        assert not (await provider.cancel(ref)).reached

    async def test_an_unreachable_place_is_told(self, bench: ReplicateBench) -> None:
        provider = bench.provider()
        ref = await submitted(provider)
        await bench.server.stop_listening()
        with pytest.raises(GenyardError) as error:
            await provider.cancel(ref)
        assert error.value.code is Code.provider_unreachable


class TestInputs:
    async def plan(self, provider: Provider) -> Plan:
        return provider.compile([sdxl(operation="img2img")], None)

    async def submit(self, bench: ReplicateBench, media: Media) -> str:
        """→ what the model was given for its `image`."""
        provider = bench.provider()
        plan = await self.plan(provider)
        ref = await provider.submit(plan, uuid4(), {plan.inputs[0].name: media})
        return str(bench.server.predictions[ref["id"]].given["image"])

    async def test_a_small_one_travels_in_the_request(self, bench: ReplicateBench) -> None:
        given = await self.submit(bench, media_of("upload", bench.picture()))
        assert given.startswith("data:image/png;base64,")
        assert bench.server.counts.uploads == 0

    async def test_a_larger_one_is_uploaded_first(self, bench: ReplicateBench) -> None:
        large = bench.picture() + b"\0" * 256 * 1024
        given = await self.submit(bench, media_of("upload", large))
        assert given.startswith(f"{bench.server.base_url}/files/")
        (upload,) = bench.server.uploads.values()
        assert (upload.data, upload.content_type) == (large, "image/png")

    async def test_no_inline_input_is_larger_than_replicate_advises(self, bench: ReplicateBench) -> None:
        for size in (190_000, 196_000, 197_000, 220_000, 262_144):
            data = bench.picture()
            given = await self.submit(bench, media_of("upload", data + b"\0" * (size - len(data))))
            assert not given.startswith("data:") or len(given) <= 256 * 1024

    async def test_a_very_large_one_is_fetched_from_our_storage(self, bench: ReplicateBench) -> None:
        async def link() -> str:
            return "http://127.0.0.1:1/signed"

        media = replace(media_of("upload", bench.picture()), size=70 * 2**20, link=link)
        assert await self.submit(bench, media) == "http://127.0.0.1:1/signed"
        assert bench.server.counts.uploads == 0

    async def test_one_that_replicate_finds_too_large(self, bench: ReplicateBench) -> None:
        async def link() -> str:
            return "http://127.0.0.1:1/signed"

        large = media_of("upload", bench.picture() + b"\0" * 300_000)
        bench.server.faults.add(FaultKind.too_large, times=2)
        with pytest.raises(GenyardError) as error:
            await self.submit(bench, large)
        assert error.value.code is Code.request_unsupported
        assert error.value.field == "inputs.upload"
        assert await self.submit(bench, replace(large, link=link)) == "http://127.0.0.1:1/signed"
        assert bench.server.counts.created == 1

    async def test_an_upload_that_breaks_has_bought_nothing(self, bench: ReplicateBench) -> None:
        large = media_of("upload", bench.picture() + b"\0" * 300_000)
        bench.server.faults.add(FaultKind.lose_answer, route="POST /v1/files")
        with pytest.raises(GenyardError) as error:
            await self.submit(bench, large)
        assert error.value.code is Code.provider_unreachable
        assert bench.server.counts.created == 0

    async def test_something_that_is_no_picture_fails_there(self, bench: ReplicateBench) -> None:
        provider = bench.provider()
        plan = await self.plan(provider)
        ref = await provider.submit(
            plan, uuid4(), {plan.inputs[0].name: media_of("upload", b"not a picture")}
        )
        assert (await ended(provider, ref)).state is State.failed


class TestOutputs:
    @pytest.mark.parametrize(
        ("kind", "code"),
        [
            pytest.param(FaultKind.html, Code.provider_bad_output, id="F1 html"),
            pytest.param(FaultKind.empty, Code.provider_bad_output, id="F1 empty"),
            pytest.param(FaultKind.truncate, Code.provider_bad_output, id="F2 cut connection"),
            pytest.param(FaultKind.missing_file, Code.provider_lost_output, id="gone"),
        ],
    )
    async def test_a_file_that_is_not_one(self, bench: ReplicateBench, kind: FaultKind, code: Code) -> None:
        bench.server.faults.add(kind, route="GET /delivery/")
        provider = bench.provider()
        end = await ended(provider, await submitted(provider))
        with pytest.raises(GenyardError) as error:
            await read(provider, end.outputs[0])
        assert error.value.code is code

    async def test_a_wrong_content_type_does_not_matter(self, bench: ReplicateBench) -> None:
        """F3. The bytes are what counts."""
        bench.server.faults.add(FaultKind.wrong_type, route="GET /delivery/")
        provider = bench.provider()
        end = await ended(provider, await submitted(provider))
        assert sniff(await read(provider, end.outputs[0])) == "image/png"

    async def test_an_address_within_our_own_network_is_not_read(self, bench: ReplicateBench) -> None:
        provider = bench.provider()
        for url in ("http://127.0.0.1:9/x.png", "http://169.254.169.254/a", "file:///etc/passwd", "http://["):
            with pytest.raises(GenyardError) as error:
                await read(provider, output_at(url))
            assert error.value.code is Code.provider_bad_output

    async def test_an_output_that_came_as_data_is_read_from_the_prediction(
        self, bench: ReplicateBench
    ) -> None:
        provider = bench.provider()
        ref = await submitted(provider)
        await ended(provider, ref)
        bench.server.predictions[ref["id"]].output = [
            "data:text/plain,a%20b",
            "data:image/png;base64,iVBORw==",
        ]
        end = await ended(bench.provider(), ref)
        assert [await read(provider, one) for one in end.outputs] == [b"a b", b"\x89PNG"]
        assert "iVBOR" not in json.dumps([dict(one.where) for one in end.outputs])


def output_at(url: str) -> RemoteOutput:
    return RemoteOutput(step="step", role=Role.image, index=0, where={"url": url})


class TestKeys:
    @pytest.mark.parametrize(
        ("url", "sent"),
        [
            ("https://replicate.delivery/x/out.png", True),
            ("https://pbxt.replicate.delivery/x/out.png", True),
            ("https://api.replicate.com/v1/files/abc", True),
            ("http://replicate.delivery/x/out.png", False),
            ("https://api.replicate.com:8443/v1/files/abc", False),
            ("https://api.replicate.com/elsewhere", False),
            ("https://replicate.delivery.evil.example/out.png", False),
            ("https://evilreplicate.delivery/out.png", False),
            ("https://example.com/https://replicate.delivery/out.png", False),
        ],
    )
    async def test_the_key_goes_to_replicates_own_hosts_only(
        self, bench: ReplicateBench, url: str, sent: bool
    ) -> None:
        provider = bench.provider(base_url="https://api.replicate.com/v1")
        assert isinstance(provider, ReplicateProvider)
        assert ("Authorization" in provider._headers_for(url)) is sent

    async def test_the_emulators_delivery_host_never_sees_it(self, bench: ReplicateBench) -> None:
        provider = bench.provider()
        end = await ended(provider, await submitted(provider))
        assert await read(provider, end.outputs[0])
        assert bench.server.counts.keys_outside == 0

    async def test_neither_key_nor_prompt_is_told_or_stored(
        self, bench: ReplicateBench, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        provider = bench.provider()
        told: list[str] = [repr(provider), repr(provider._place)]
        ref = await submitted(provider, sdxl("my dark secret"))
        end = await ended(provider, ref)
        told += [json.dumps(ref), repr(end)]
        bench.server.faults.add(FaultKind.fail, message="cannot draw 'my dark secret'")
        told.append(repr(await run(bench, sdxl("my dark secret"))))
        body = json.dumps({"detail": f"- input.prompt: 'my dark secret' with {bench.server.key}"})
        bench.server.faults.add(FaultKind.answer, route="POST /v1/", status=422, body=body)
        with pytest.raises(GenyardError) as error:
            await submitted(bench.provider(), sdxl("my dark secret"))
        told.append(json.dumps(error.value.as_json()))
        text = "\n".join([*told, caplog.text])
        assert bench.server.key not in text
        assert "my dark secret" not in text


@asynccontextmanager
async def listening(provider: ReplicateProvider) -> AsyncIterator[tuple[str, list[bool]]]:
    """A place where webhooks come in. → its address, and for each of them whether it was believed."""
    heard: list[bool] = []

    async def take(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        heard.append(await provider.hook(headers, await request.read()))
        return web.Response(status=200 if heard[-1] else 403)

    app = web.Application()
    app.router.add_post("/hook/{secret}", take)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}/hook/abc", heard
    finally:
        await runner.cleanup()


class TestWebhooks:
    async def test_start_and_end_are_told_and_believed(self, bench: ReplicateBench) -> None:
        provider = bench.provider()
        async with listening(provider) as (url, heard):
            ref = await submitted(provider, webhook=url)
            await ended(provider, ref)
            await bench.server.changes.until(lambda: len(bench.server.counts.webhooks) == 2)
        assert heard == [True, True]
        assert bench.server.requests["GET /v1/webhooks/default/secret"] == 1

    async def test_a_given_secret_is_not_asked_for(self, bench: ReplicateBench) -> None:
        provider = bench.provider(webhook_secret=bench.server.webhook_secret)
        async with listening(provider) as (url, heard):
            await ended(provider, await submitted(provider, webhook=url))
            await bench.server.changes.until(lambda: len(bench.server.counts.webhooks) == 2)
        assert heard == [True, True]
        assert "GET /v1/webhooks/default/secret" not in bench.server.requests

    @pytest.mark.parametrize("kind", [FaultKind.wrong_signature, FaultKind.old_timestamp])
    async def test_a_wrong_signature_or_an_old_time_is_not_believed(
        self, bench: ReplicateBench, kind: FaultKind
    ) -> None:
        """P11. The run itself is not disturbed: the truth is read."""
        bench.server.faults.add(kind, times=None)
        provider = bench.provider()
        async with listening(provider) as (url, heard):
            end = await ended(provider, await submitted(provider, webhook=url))
            await bench.server.changes.until(lambda: len(bench.server.counts.webhooks) == 2)
        assert heard == [False, False]
        assert end.state is State.succeeded

    async def test_it_may_come_twice_or_never(self, bench: ReplicateBench) -> None:
        bench.server.faults.add(FaultKind.second_webhook)
        bench.server.faults.add(FaultKind.no_webhook, times=None)
        provider = bench.provider()
        async with listening(provider) as (url, _):
            assert (await ended(provider, await submitted(provider, webhook=url))).state is State.succeeded

    async def test_nobody_makes_us_ask_for_the_secret_again_and_again(self, bench: ReplicateBench) -> None:
        bench.server.faults.add(FaultKind.answer, route="GET /v1/webhooks", status=500, times=None)
        provider = bench.provider(now=lambda: 1_790_000_000.0)
        for stamp in ("1", "1790000000", "1790000001"):
            headers = {"webhook-id": "m", "webhook-timestamp": stamp, "webhook-signature": "v1,x"}
            assert not await provider.hook(headers, b"{}")
        assert bench.server.requests["GET /v1/webhooks/default/secret"] == 1

    async def test_a_wake_is_a_read_at_once(self, bench: ReplicateBench) -> None:
        bench.server.faults.add(FaultKind.wait)
        provider = bench.provider(limits=replace(QUICK_LIMITS, poll=60.0))
        ref = await submitted(provider)
        seen = await provider.observe(ref, None, asyncio.Event())
        await provider.cancel(ref)
        wake = asyncio.Event()
        wake.set()
        async with asyncio.timeout(2.0):
            assert (await provider.observe(ref, seen, wake)).state is State.canceled


def clip(folder: Path) -> bytes:
    import numpy as np

    path = folder / "driving.mp4"
    write_video(path, np.random.default_rng(1).integers(0, 255, (6, 64, 64, 3)).astype(np.uint8), 8)
    return path.read_bytes()


SMALL: dict[str, dict[str, Any]] = {
    "txt2img.flux.1-dev": {"width": 512, "height": 512, "steps": 2},
    "txt2img.flux.1-schnell": {"width": 512, "height": 512},
    "txt2img.sdxl": {"width": 128, "height": 64, "steps": 2},
}
BINDINGS = sorted(one.key.removeprefix("replicate/") for one in load_catalog().of("replicate"))


@pytest.mark.parametrize("name", BINDINGS)
async def test_each_binding_runs(bench: ReplicateBench, name: str, tmp_path: Path) -> None:
    operation = OPERATIONS[load_catalog().bindings[f"replicate/{name}"].operation]
    roles = ["image", "video"] if operation.name == "animate_photo" else [
        role.name for role in operation.inputs if role.required
    ]  # fmt: skip
    inputs: Any = {
        role: (MediaInput(name=role, media_type="image/png", width=64, height=48),) for role in roles
    }
    prompt = {"prompt": "a red dragon"} if "2img" in name else {}
    provider = bench.provider()
    plan = provider.compile([step_of(name, inputs=inputs, **prompt, **SMALL.get(name, {}))], None)
    files = {"image": bench.picture(), "video": clip(tmp_path)}
    media = {one.name: media_of(one.name, files[one.name.split(".")[1]]) for one in plan.inputs}
    end = await ended(provider, await provider.submit(plan, uuid4(), media))
    assert end.state is State.succeeded, end.error
    assert {one.role for one in end.outputs} == {operation.output}
    kinds = {sniff(await read(provider, one)) for one in end.outputs}
    assert kinds == {"video/mp4" if operation.name == "animate_photo" else "image/png"}
    if operation.name == "decompose_layers":
        assert len(end.outputs) == 4
    assert end.cost is not None
    assert end.cost.usd > 0
    assert end.seconds
