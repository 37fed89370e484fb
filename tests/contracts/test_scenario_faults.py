"""What goes wrong at Scenario, row by row of the failure catalogue, and what genyard makes of it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from PIL import Image

from genyard.catalog import load_catalog
from genyard.catalog.pricing import Rates
from genyard.errors import Code, GenyardError, Remedy
from genyard.operations import OPERATIONS, Role
from genyard.outbound import Outbound
from genyard.providers import Cost, RemoteOutput, State
from genyard.providers._polling import Limits
from genyard.testing.contract import an_image, media_of, read
from genyard.testing.scenario import FaultKind
from genyard.testing.scenario.models import MODELS, Model
from support.scenario import QUICK, ScenarioBench, emulated

GENERATE = "POST /v1/generate/custom/{model_id}"
PARALLEL = GENERATE.removesuffix("{model_id}")


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[ScenarioBench]:
    async with emulated() as running:
        yield running


def posts(bench: ScenarioBench) -> int:
    """Requests that may have started a job."""
    return sum(count for route, count in bench.server.requests.items() if route.startswith(PARALLEL))


async def refused(bench: ScenarioBench, **step: Any) -> GenyardError:
    provider = bench.provider()
    with pytest.raises(GenyardError) as told:
        await bench.submit(provider, bench.step(**step))
    return told.value


# S1, and cancels in general


async def test_s1_a_refused_cancel_says_so_and_the_job_goes_on_and_is_paid(bench: ScenarioBench) -> None:
    provider = bench.provider()
    ref = await bench.submit(provider, bench.step(prompt="a slow fox"))
    await bench.server.until_status(ref["id"], "in-progress")
    canceled = await provider.cancel(ref)
    assert (canceled.refused, canceled.reached, canceled.was_running) == (True, False, True)
    end = await bench.end(provider, ref)
    assert end.state is State.succeeded
    assert end.cost == Cost(usd=ref["units"] * 0.01, source="computed")
    assert bench.server.counts.canceled == 0


async def test_s1_a_cancel_after_the_end_is_not_a_refusal(bench: ScenarioBench) -> None:
    provider = bench.provider()
    ref = await bench.submit(provider)
    await bench.end(provider, ref)
    canceled = await provider.cancel(ref)
    assert (canceled.refused, canceled.reached) == (False, False)


async def test_a_job_that_somebody_else_canceled_ends_as_canceled(bench: ScenarioBench) -> None:
    bench.server.faults.add(FaultKind.cancel)
    end = await bench.run(bench.provider())
    assert end.state is State.canceled


# S2, S3: too much at once


async def test_s2_the_teams_limit_of_jobs_is_busy_and_names_the_limit() -> None:
    async with emulated(parallel_custom_jobs=1) as bench:
        provider = bench.provider()
        await bench.submit(provider, bench.step(prompt="a slow fox"))
        with pytest.raises(GenyardError) as told:
            await bench.submit(provider)
        assert told.value.code is Code.provider_busy
        assert told.value.context["limit"] == 1
        assert told.value.context["action"]
        assert bench.server.counts.jobs == 1


async def test_s3_a_cooldown_says_when_to_come_again(bench: ScenarioBench) -> None:
    bench.server.faults.add(FaultKind.cooldown, seconds=12)
    error = await refused(bench)
    assert (error.code, error.context["retry_after"]) == (Code.provider_busy, 12.0)
    assert bench.server.counts.jobs == 0


async def test_too_many_questions_only_make_it_slower(bench: ScenarioBench) -> None:
    provider = bench.provider()
    ref = await bench.submit(provider)
    bench.server.faults.add("answer", route="GET /v1/jobs/", status=429, body='{"remainingSeconds": 0.05}')
    assert (await bench.end(provider, ref)).state is State.succeeded


# S4, S11: may not


async def test_s4_a_model_beyond_the_plan_is_for_the_operator(bench: ScenarioBench) -> None:
    bench.server.faults.add(FaultKind.wrong_plan)
    error = await refused(bench)
    assert (error.code, error.remedy) == (Code.provider_rejected, Remedy.operator)
    assert "plan" in error.message


async def test_s4_the_plan_that_a_model_needs_is_named(bench: ScenarioBench) -> None:
    body = {"name": "ModelAccessRestrictedError", "modelId": "model_x", "requiredPlan": "cu-pro-q3-25"}
    bench.server.faults.add("answer", route=PARALLEL, status=403, body=json.dumps(body))
    error = await refused(bench)
    assert error.code is Code.provider_rejected
    assert "cu-pro-q3-25" in error.message
    assert "KEY" not in error.message


async def test_s4_a_protected_resource_names_the_keys_settings(bench: ScenarioBench) -> None:
    bench.server.faults.add(FaultKind.protected, route=PARALLEL)
    error = await refused(bench)
    assert error.code is Code.provider_rejected
    assert "SCENARIO_API_KEY" in error.message
    assert "SCENARIO_SECRET_API_KEY" in error.message


async def test_s4_a_model_that_the_team_does_not_have_is_a_problem_of_its_binding(
    bench: ScenarioBench,
) -> None:
    del bench.server.models["model_photoroom-background-removal"]
    health = await bench.provider().check()
    assert health.error is None
    assert list(health.problems) == ["scenario/remove_background.photoroom"]


async def test_s4_a_model_that_the_team_was_given_meanwhile_is_found_at_the_next_look(
    bench: ScenarioBench,
) -> None:
    provider, models = bench.provider(), bench.server.models
    photoroom = models.pop("model_photoroom-background-removal")
    assert (await provider.check()).problems
    models[photoroom.id] = photoroom
    assert not (await provider.check()).problems


async def test_s11_no_units_left_is_for_the_operator(bench: ScenarioBench) -> None:
    bench.server.faults.add(FaultKind.no_units)
    error = await refused(bench)
    assert (error.code, error.remedy) == (Code.provider_rejected, Remedy.operator)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_wrong_key_is_named_by_its_settings(bench: ScenarioBench, status: int) -> None:
    bench.server.faults.add("answer", status=status, body='{"reason": "Forbidden"}', times=None)
    health = await bench.provider().check()
    assert health.reachable
    assert health.error is not None
    assert health.error.code is Code.provider_rejected
    assert "SCENARIO_API_KEY and SCENARIO_SECRET_API_KEY" in health.error.message


async def test_a_wrong_secret_is_told_by_check_and_by_a_submission(bench: ScenarioBench) -> None:
    plan = await bench.plan(bench.provider())
    stranger = bench.provider(secret="not-the-secret")
    health = await stranger.check()
    assert health.error is not None
    assert health.error.code is Code.provider_rejected
    with pytest.raises(GenyardError) as told:
        await stranger.submit(plan, uuid4(), {})
    assert told.value.code is Code.provider_rejected
    assert "not-the-secret" not in str(told.value) + repr(told.value.__cause__)


async def test_a_web_page_is_not_scenario(bench: ScenarioBench) -> None:
    bench.server.faults.add("answer", status=200, body="<html>hello</html>", content_type="text/html")
    health = await bench.provider().check()
    assert health.error is not None
    assert health.error.code is Code.provider_protocol


# S5: the price before


async def test_s5_a_dry_run_is_answered_with_269_and_costs_nothing(bench: ScenarioBench) -> None:
    provider = bench.provider()
    plan = await bench.plan(provider)
    units = await provider.quoted_units(plan)
    assert units is not None
    assert await provider.quote(plan) == Cost(usd=units * 0.01, source="computed")
    assert bench.server.counts.jobs == 0
    assert bench.server.counts.dry_runs == 2


async def test_without_a_rate_a_price_is_unknown_not_zero(bench: ScenarioBench) -> None:
    provider = bench.provider(rates=Rates())
    assert await provider.quote(await bench.plan(provider)) is None
    end = await bench.run(provider)
    assert end.cost is None
    assert end.outputs[0].facts["creative_units_of_run"] > 0


async def test_a_price_that_depends_on_the_picture_is_not_known_before_it_is_there(
    bench: ScenarioBench,
) -> None:
    provider = bench.provider()
    plan = await bench.plan(provider, bench.step("remove_background"))
    assert await provider.quote(plan) is None


async def test_a_request_that_the_dry_run_refuses_is_for_the_caller(bench: ScenarioBench) -> None:
    provider = bench.provider()
    plan = await bench.plan(provider)
    broken = replace(plan, payload={**plan.payload, "body": {**plan.payload["body"], "width": 131}})
    with pytest.raises(GenyardError) as told:
        await provider.quote(broken)
    assert (told.value.code, told.value.remedy) == (Code.request_invalid, Remedy.fix_request)


# S6: words


@pytest.mark.parametrize(
    ("word", "stands_for", "state"),
    [
        ("succeeded", "success", State.succeeded),
        ("completed", "success", State.succeeded),
        ("error", "failure", State.failed),
        ("failed", "failure", State.failed),
        ("cancelled", "canceled", State.canceled),
    ],
)
async def test_s6_other_words_mean_the_same(
    bench: ScenarioBench, word: str, stands_for: str, state: State
) -> None:
    bench.server.faults.add(FaultKind.word, state=stands_for, message=word)
    if stands_for != "success":
        bench.server.faults.add(FaultKind.fail if stands_for == "failure" else FaultKind.cancel)
    end = await bench.run(bench.provider())
    assert (end.state, end.word) == (state, word)


async def test_s6_an_unknown_word_is_waited_for() -> None:
    async with emulated(cancels=True) as bench:
        bench.server.faults.add(FaultKind.word, state="in-progress", message="pondering")
        bench.server.faults.add(FaultKind.hang)
        provider = bench.provider()
        ref = await bench.submit(provider)
        await bench.server.until_status(ref["id"], "in-progress")
        seen = await provider.observe(ref, None, asyncio.Event())
        assert not seen.state.ended
        assert seen.word == "pondering"
        assert "pondering" in (seen.detail or "")
        assert (await provider.cancel(ref)).reached
        assert (await bench.end(provider, ref)).state is State.canceled


async def test_a_cold_start_is_told_as_such(bench: ScenarioBench) -> None:
    bench.server.faults.add(FaultKind.warm, seconds=3600.0)
    provider = bench.provider()
    ref = await bench.submit(provider)
    await bench.server.until_status(ref["id"], "warming-up")
    seen = await provider.observe(ref, None, asyncio.Event())
    assert (seen.state, seen.cold, seen.detail) == (State.queued, True, "cold start")
    bench.server.clock.advance(3600.0)
    end = await bench.end(provider, ref)
    assert end.state is State.succeeded
    assert end.waited is not None
    assert end.waited >= 3600


# S7, S8: fields


async def test_s7_lists_arrive_as_lists(bench: ScenarioBench) -> None:
    provider = bench.provider()
    ref = await bench.submit(provider, bench.step(loras=({"name": "model_mine", "strength": 0.5},)))
    assert bench.server.jobs[ref["id"]].input["loras"] == ["model_mine"]
    assert bench.server.jobs[ref["id"]].input["lorasScale"] == [0.5]


async def test_s8_a_picture_to_start_from_is_never_a_control_image(bench: ScenarioBench) -> None:
    provider = bench.provider()
    ref = await bench.submit(provider, bench.step("img2img", strength=0.5))
    given = bench.server.jobs[ref["id"]].given
    assert given["image"] in bench.server.assets
    assert "controlImage" not in given


# S9: once


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_s9_a_submission_that_answers_a_server_error_is_lost_and_never_sent_again(
    bench: ScenarioBench, status: int
) -> None:
    bench.server.faults.add(FaultKind.fail_after_start, status=status)
    error = await refused(bench)
    assert error.code is Code.provider_lost
    assert posts(bench) == 1
    assert bench.server.counts.jobs == 1


async def test_s9_an_answer_that_never_came_is_lost_and_never_asked_for_again(bench: ScenarioBench) -> None:
    bench.server.faults.add(FaultKind.lose_answer, route=PARALLEL)
    error = await refused(bench)
    assert error.code is Code.provider_lost
    assert posts(bench) == 1


async def test_s9_an_answer_that_cannot_be_read_is_lost(bench: ScenarioBench) -> None:
    bench.server.faults.add("answer", route=PARALLEL, status=200, body='{"hello": 1}')
    assert (await refused(bench)).code is Code.provider_lost


async def test_a_model_that_is_gone_is_missing_there(bench: ScenarioBench) -> None:
    binding = load_catalog().bindings["scenario/txt2img.flux.1-dev"]
    elsewhere = binding.model_copy(update={"wire": {**binding.wire, "model_id": "model_of-another-team"}})
    error = await refused(bench, binding=elsewhere)
    assert (error.code, error.remedy) == (Code.provider_missing, Remedy.operator)
    assert "model_of-another-team" in error.message


async def test_an_old_route_that_is_gone_is_missing_there() -> None:
    async with emulated(legacy=True, alive=False) as bench:
        error = await refused(bench)
        assert error.code is Code.provider_missing
        assert "generate/txt2img" in error.message


# Every binding


@pytest.mark.parametrize(
    "key",
    [key for key in sorted(load_catalog().bindings) if key.startswith(("scenario/", "scenario-legacy/"))],
)
async def test_every_binding_runs_and_states_its_cost(key: str) -> None:
    binding = load_catalog().bindings[key]
    async with emulated(legacy=binding.kind == "scenario-legacy") as bench:
        provider = bench.provider()
        assert key not in (await provider.check()).problems
        given: dict[str, Any] = {"layers": 3} if binding.operation == "decompose_layers" else {}
        end = await bench.run(provider, bench.step(binding.operation, binding=binding, **given))
        assert end.state is State.succeeded, end.error
        assert end.cost is not None
        assert end.cost.usd == pytest.approx(bench.server.counts.units * 0.01)
        assert len(end.outputs) == given.get("layers", 1)
        assert {one.role for one in end.outputs} == {OPERATIONS[binding.operation].output}
        for output in end.outputs:
            assert (await read(provider, output)).startswith(b"\x89PNG")


async def test_a_control_image_arrives_as_one(bench: ScenarioBench) -> None:
    step = bench.step(controlnets=({"kind": "canny", "strength": 0.5},))
    ref = await bench.submit(bench.provider(), replace(step, inputs={"control": (an_image("edges"),)}))
    given = bench.server.jobs[ref["id"]].given
    assert given["controlImage"] in bench.server.assets
    assert (given["controlModality"], given["controlStrength"]) == ("canny", 0.5)
    assert "image" not in given


# S10: links


async def test_s10_an_expired_link_is_asked_for_again(bench: ScenarioBench) -> None:
    provider = bench.provider()
    end = await bench.run(provider)
    bench.server.faults.add(FaultKind.expired_link)
    assert (await read(provider, end.outputs[0])).startswith(b"\x89PNG")


async def test_s10_a_link_that_stays_expired_is_a_lost_output(bench: ScenarioBench) -> None:
    provider = bench.provider()
    end = await bench.run(provider)
    bench.server.faults.add(FaultKind.expired_link, times=None)
    with pytest.raises(GenyardError) as told:
        await read(provider, end.outputs[0])
    assert told.value.code is Code.provider_lost_output
    assert "Signature" not in told.value.message


async def test_links_get_no_key(bench: ScenarioBench) -> None:
    provider = bench.provider()
    end = await bench.run(provider)
    await read(provider, end.outputs[0])
    assert bench.server.counts.keys_outside == 0


async def test_a_link_into_a_private_network_is_refused(bench: ScenarioBench) -> None:
    guarded = Outbound()
    bench.outbounds.append(guarded)
    provider = bench.provider(outbound=guarded)
    end = await bench.run(provider)
    with pytest.raises(GenyardError) as told:
        await read(provider, end.outputs[0])
    assert told.value.code is Code.provider_bad_output


# Assets of whatever origin


def asset(asset_id: str) -> RemoteOutput:
    return RemoteOutput(step="", role=Role.image, index=0, where={"asset_id": asset_id})


async def test_any_asset_of_the_team_can_be_fetched(bench: ScenarioBench) -> None:
    old = bench.server.add_asset(bench.picture())
    assert await read(bench.provider(), asset(old.id)) == bench.picture()


@pytest.mark.parametrize("asset_id", ["../teams", "asset_1/../../jobs", "a?b=c", "", "asset 1"])
async def test_what_is_no_asset_id_never_reaches_the_place(bench: ScenarioBench, asset_id: str) -> None:
    with pytest.raises(GenyardError) as told:
        await read(bench.provider(), asset(asset_id))
    assert told.value.code is Code.request_invalid
    assert not bench.server.requests


async def test_an_asset_that_is_gone_is_a_lost_output(bench: ScenarioBench) -> None:
    with pytest.raises(GenyardError) as told:
        await read(bench.provider(), asset("asset_unknown"))
    assert told.value.code is Code.provider_lost_output


# Money of what did not go well


async def test_a_failed_job_was_refunded(bench: ScenarioBench) -> None:
    end = await bench.run(bench.provider(rates=Rates()), bench.step(prompt="a failing fox"))
    assert end.state is State.failed
    assert end.cost == Cost(usd=0.0, source="computed")
    assert bench.server.counts.units == 0


async def test_a_failed_job_that_is_not_refunded_carries_its_cost() -> None:
    flux = next(one for one in MODELS if one.id == "model_bfl-flux-1-dev")
    strict: Model = replace(flux, disable_refund=True)
    async with emulated(models=[strict]) as bench:
        provider = bench.provider()
        ref = await bench.submit(provider, bench.step(prompt="a failing fox"))
        end = await bench.end(provider, ref)
        assert end.state is State.failed
        assert end.cost == Cost(usd=ref["units"] * 0.01, source="computed")
        assert bench.server.counts.units == ref["units"]


async def test_a_success_without_files_is_a_failure_that_is_paid(bench: ScenarioBench) -> None:
    bench.server.faults.add(FaultKind.no_outputs)
    end = await bench.run(bench.provider())
    assert end.state is State.failed
    assert end.error is not None
    assert end.error.code is Code.provider_lost_output
    assert end.cost is not None
    assert end.cost.usd > 0


# Waiting, for ever and in vain


async def test_a_run_that_never_ends_is_a_timeout_and_says_that_it_goes_on_there(
    bench: ScenarioBench,
) -> None:
    bench.server.faults.add(FaultKind.hang)
    end = await bench.run(bench.provider(limits=replace(QUICK, image=0.2)))
    assert end.state is State.failed
    assert end.error is not None
    assert end.error.code is Code.provider_timeout
    assert end.error.context["stopped"] is False


async def test_a_job_that_nobody_takes_up_is_no_capacity(bench: ScenarioBench) -> None:
    bench.server.faults.add(FaultKind.wait)
    end = await bench.run(bench.provider(limits=replace(QUICK, queue=0.2)))
    assert end.error is not None
    assert end.error.code is Code.provider_no_capacity


async def test_a_job_that_was_just_made_may_not_be_known_yet(bench: ScenarioBench) -> None:
    bench.server.faults.add(FaultKind.forget)
    assert (await bench.run(bench.provider())).state is State.succeeded


async def test_a_job_that_is_not_known_any_more_is_lost(bench: ScenarioBench) -> None:
    times = iter([0.0])
    provider = bench.provider(now=lambda: next(times, 60.0))
    ref = await bench.submit(provider)
    bench.server.faults.add(FaultKind.forget, times=None)
    end = await bench.end(provider, ref)
    assert end.state is State.lost
    assert end.error is not None
    assert end.error.code is Code.provider_lost


async def test_a_key_that_is_refused_while_a_job_runs_does_not_end_it(bench: ScenarioBench) -> None:
    provider = bench.provider()
    ref = await bench.submit(provider)
    bench.server.faults.add("answer", route="GET /v1/jobs/", status=401, body='{"reason": "no"}')
    assert (await bench.end(provider, ref)).state is State.succeeded


async def test_a_place_that_stays_silent_loses_its_jobs(bench: ScenarioBench) -> None:
    provider = bench.provider(limits=Limits(poll=0.05, interval=1.0, silence=0.3))
    ref = await bench.submit(provider, bench.step(prompt="a slow fox"))
    await provider.observe(ref, None, asyncio.Event())
    bench.server.faults.add("answer", route="GET /v1/jobs/", status=503, times=None)
    end = await bench.end(provider, ref)
    assert end.state is State.lost


# Uploads


async def test_a_large_picture_goes_in_parts(bench: ScenarioBench) -> None:
    provider = bench.provider()
    noise = noisy_png(2000, 1600)
    ref = await bench.submit(provider, bench.step("remove_background"), data=noise)
    taken = bench.server.assets[bench.server.jobs[ref["id"]].given["image"]]
    assert taken.data == noise
    assert bench.server.requests["POST /v1/uploads"] == 1
    assert bench.server.counts.keys_outside == 0


async def test_a_picture_of_some_megabytes_goes_in_one_call(bench: ScenarioBench) -> None:
    provider = bench.provider()
    noise = noisy_png(1000, 1000)
    ref = await bench.submit(provider, bench.step("remove_background"), data=noise)
    assert bench.server.assets[bench.server.jobs[ref["id"]].given["image"]].data == noise
    assert bench.server.requests["POST /v1/assets"] == 1
    assert "POST /v1/uploads" not in bench.server.requests


async def test_an_upload_that_is_not_taken_in_costs_nothing(bench: ScenarioBench) -> None:
    bench.server.faults.add(FaultKind.upload_failed, message="not a picture at all")
    provider = bench.provider()
    with pytest.raises(GenyardError) as told:
        await bench.submit(provider, bench.step("remove_background"), data=noisy_png(2000, 1600))
    assert told.value.code is Code.media_invalid
    assert "not a picture at all" in told.value.message
    assert bench.server.counts.jobs == 0


async def test_an_upload_that_breaks_is_no_lost_submission(bench: ScenarioBench) -> None:
    bench.server.faults.add(FaultKind.lose_answer, route="POST /v1/assets")
    provider = bench.provider()
    with pytest.raises(GenyardError) as told:
        await bench.submit(provider, bench.step("remove_background"))
    assert told.value.code is Code.provider_unreachable
    assert bench.server.counts.jobs == 0


async def test_an_input_that_is_too_large_for_it_is_refused_by_name(bench: ScenarioBench) -> None:
    bench.server.faults.add("answer", route="POST /v1/assets", status=413)
    provider = bench.provider()
    plan = await bench.plan(provider, bench.step("remove_background"))
    with pytest.raises(GenyardError) as told:
        await provider.submit(plan, uuid4(), {"it.image.0": media_of("it.image.0", bench.picture())})
    assert (told.value.code, told.value.field) == (Code.request_unsupported, "inputs.it.image.0")


def noisy_png(width: int, height: int) -> bytes:
    """Three bytes for each pixel, and some more: it does not shrink."""
    made = io.BytesIO()
    noise = os.urandom(width * height * 3)
    Image.frombytes("RGB", (width, height), noise).save(made, "PNG", compress_level=0)
    return made.getvalue()


# F1–F3: files


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FaultKind.html, Code.provider_bad_output),
        (FaultKind.empty, Code.provider_bad_output),
        (FaultKind.truncate, Code.provider_bad_output),
        (FaultKind.missing_file, Code.provider_lost_output),
    ],
)
async def test_f1_f2_a_file_that_is_not_what_it_claims_is_never_taken(
    bench: ScenarioBench, kind: FaultKind, code: Code
) -> None:
    provider = bench.provider()
    end = await bench.run(provider)
    bench.server.faults.add(kind, times=None)
    with pytest.raises(GenyardError) as told:
        await read(provider, end.outputs[0])
    assert told.value.code is code


async def test_f3_a_wrong_label_spoils_nothing(bench: ScenarioBench) -> None:
    provider = bench.provider()
    end = await bench.run(provider)
    bench.server.faults.add(FaultKind.wrong_type, times=None)
    assert (await read(provider, end.outputs[0])).startswith(b"\x89PNG")


# Nothing leaks


async def test_keys_and_prompts_are_nowhere_to_be_read(
    bench: ScenarioBench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider, secret = bench.provider(), bench.server.secret
    words = "a failing heraldic griffin"
    told: list[object] = [repr(provider), repr(vars(provider))]
    bench.server.faults.add(
        FaultKind.fail,
        prompt_word="griffin",
        message=f"cannot draw {words} with {secret} from https://cdn/x.png?Signature=abc",
    )
    ref = await bench.submit(provider, bench.step(prompt=words))
    end = await bench.end(provider, ref)
    assert end.error is not None
    told += [json.dumps(dict(ref)), end, end.error.as_json()]
    for status in (400, 401, 403, 429, 500):
        body = json.dumps({"reason": f"{words}: {secret}"})
        bench.server.faults.add("answer", route=PARALLEL, status=status, body=body)
        error = await refused(bench, prompt=words)
        told += [error.as_json(), error]
    text = "\n".join([*map(str, told), caplog.text])
    for hidden in (secret, words, "Signature=abc"):
        assert hidden not in text
