"""What can go wrong at RunPod, case by case (the numbers are those of the failure catalogue)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from genyard.errors import Code, GenyardError, Remedy
from genyard.media import sniff
from genyard.operations import Role
from genyard.outbound import Outbound
from genyard.providers import BoundStep, RemoteOutput, Snapshot, State
from genyard.providers._polling import Limits
from genyard.providers.runpod.health import COLD_START, NO_GPU, NO_MACHINES, UNHEALTHY
from genyard.testing.comfyui.bench import chain, own_step
from genyard.testing.contract import an_image, follow, read
from genyard.testing.runpod import FaultKind, Setup
from support.runpod import COMFYUI, FLUX, PATIENCE, RunPodBench, a_picture, bound, emulated, ended

QUEUE_LIMIT = Limits(poll=0.06, interval=2.0, silence=10.0, queue=0.4)
LINKS = Setup(kind="flux", workers_max=1, shape="image_url", delivery="url")
BUCKET = Setup(kind="comfyui", workers_max=1, delivery="url")


@pytest.fixture
async def flux() -> AsyncIterator[RunPodBench]:
    async with emulated() as bench:
        yield bench


@pytest.fixture
async def comfy() -> AsyncIterator[RunPodBench]:
    async with emulated(COMFYUI) as bench:
        yield bench


def drawing(*nodes: tuple[str, dict[str, Any]]) -> BoundStep:
    return own_step(chain(*(nodes or (("ImageInvert", {}),))))


def failure(end: Snapshot, code: Code) -> GenyardError:
    assert end.error is not None, end
    assert end.error.code is code, end.error
    assert end.state is (State.lost if code is Code.provider_lost else State.failed), end
    told = json.dumps(end.error.as_json())
    assert "Traceback" not in told
    assert "rpa_" not in told
    return end.error


async def seen_waiting(bench: RunPodBench, detail: str, **options: Any) -> Snapshot:
    """Follows one job until its detail is this."""
    provider = bench.provider(**options)
    ref = await bench.submit(provider)
    async for seen in follow(provider, ref, PATIENCE):
        if seen.detail == detail:
            return seen
    raise AssertionError(f"nobody said {detail!r}")


class TestTheCloud:
    async def test_r1_completed_without_output(self, flux: RunPodBench) -> None:
        flux.server.faults.add(FaultKind.lose_output)
        end = await flux.run(flux.provider())
        error = failure(end, Code.provider_lost_output)
        assert "bucket" in error.message
        assert end.cost is not None  # it was billed

    @pytest.mark.parametrize("kind", [FaultKind.execution_timeout, FaultKind.time_out])
    async def test_r2_its_own_timeouts(self, flux: RunPodBench, kind: FaultKind) -> None:
        flux.server.faults.add(kind)
        end = await flux.run(flux.provider())
        failure(end, Code.provider_timeout)
        assert end.word in ("FAILED", "TIMED_OUT")
        assert end.cost is not None

    async def test_r2_our_limits_are_its_policy(self, flux: RunPodBench) -> None:
        provider = flux.provider(limits=Limits(poll=0.06, image=33.0, queue=100.0))
        ref = await flux.submit(provider)
        job = flux.server.job(ref["id"])
        assert job.execution_timeout == 33.0
        assert job.ttl > 133.0  # it counts the queue, too, and deletes a job that runs
        assert (await ended(provider, ref)).state is State.succeeded

    async def test_r3_a_job_that_is_not_known_yet(self, flux: RunPodBench) -> None:
        provider = flux.provider(grace=30.0)
        flux.server.faults.add(FaultKind.not_yet, times=3)
        assert (await flux.run(provider)).state is State.succeeded
        assert flux.server.counts.total_runs == 1

    async def test_r3_a_job_that_is_forgotten_is_lost_and_not_bought_again(self, flux: RunPodBench) -> None:
        provider = flux.provider(grace=0.0)
        ref = await flux.submit(provider)
        flux.server.faults.add(FaultKind.forget)
        failure(await ended(provider, ref), Code.provider_lost)
        assert flux.server.counts.submitted == 1

    async def test_r3_a_result_is_gone_after_half_an_hour(self, flux: RunPodBench) -> None:
        provider = flux.provider()
        end = await flux.run(provider)
        flux.server.clock.advance(1_801)
        with pytest.raises(GenyardError) as gone:
            await read(provider, end.outputs[0])
        assert gone.value.code is Code.provider_lost_output

    async def test_r4_no_gpu_is_told_and_ends_at_our_deadline(self, flux: RunPodBench) -> None:
        flux.server.faults.add(FaultKind.throttled, times=None)
        provider = flux.provider(limits=QUEUE_LIMIT)
        ref = await flux.submit(provider)
        error = failure(await ended(provider, ref), Code.provider_no_capacity)
        assert NO_GPU in error.message
        assert error.remedy is Remedy.try_elsewhere
        flux.server.faults.clear()
        assert flux.server.job(ref["id"]).status == "CANCELLED"  # before anybody else is asked
        assert flux.server.counts.total_runs == 0

    async def test_r4_a_cold_start_is_a_detail_not_an_error(self) -> None:
        async with emulated(setup=Setup(kind="flux", workers_max=1, cold_start=0.5)) as bench:
            provider = bench.provider()
            seen = [one async for one in follow(provider, await bench.submit(provider), PATIENCE)]
            assert any(one.cold and one.detail == COLD_START and one.state is State.queued for one in seen)
            assert seen[-1].state is State.succeeded
            assert seen[-1].waited is not None
            assert seen[-1].waited >= 0.4

    async def test_r4_a_machine_that_starts_for_ever(self, flux: RunPodBench) -> None:
        flux.server.faults.add(FaultKind.initializing, times=None)
        assert (await seen_waiting(flux, COLD_START)).cold

    async def test_r5_machines_that_crash(self, flux: RunPodBench) -> None:
        flux.server.faults.add(FaultKind.unhealthy, times=None)
        assert not (await seen_waiting(flux, UNHEALTHY)).cold
        health = await flux.provider().check()
        assert health.error is None
        assert health.problems["runpod/txt2img.flux.1-dev"] == (UNHEALTHY,)

    async def test_r6_an_endpoint_that_was_scaled_down_is_named_with_what_to_do(
        self, flux: RunPodBench
    ) -> None:
        flux.server.faults.add(FaultKind.scaled_down, times=None)
        ref = await flux.submit(flux.provider())
        later = flux.provider(limits=QUEUE_LIMIT, now=lambda: time.time() + 60)
        health = await later.check()
        assert NO_MACHINES in health.problems["runpod/txt2img.flux.1-dev"]
        error = failure(await ended(later, ref), Code.provider_no_capacity)
        assert NO_MACHINES in error.message
        assert "workers max" in error.message
        assert "7 days" in error.message

    async def test_r6_an_endpoint_that_sleeps_is_no_problem(self, flux: RunPodBench) -> None:
        health = await flux.provider().check()
        assert health.reachable
        assert health.queue_depth == 0
        assert not health.problems

    async def test_r7_too_many_requests_at_the_submission(self, flux: RunPodBench) -> None:
        flux.server.faults.add(
            FaultKind.answer, route="POST /v2/emu-flux/run", status=429, headers=(("Retry-After", "7"),)
        )
        with pytest.raises(GenyardError) as busy:
            await flux.submit(flux.provider())
        assert busy.value.code is Code.provider_busy
        assert busy.value.context["retry_after"] == 7.0
        assert flux.server.counts.submitted == 0

    async def test_r7_too_many_requests_while_it_runs(self, flux: RunPodBench) -> None:
        flux.server.faults.add(
            FaultKind.answer,
            times=3,
            route="GET /v2/emu-flux/status",
            status=429,
            headers=(("Retry-After", "0"),),
        )
        assert (await flux.run(flux.provider())).state is State.succeeded

    @pytest.mark.parametrize("status", [401, 403])
    async def test_r8_a_wrong_key_is_named_by_its_variable(self, flux: RunPodBench, status: int) -> None:
        key = "rpa_SECRETSECRETSECRETSECRET"
        provider = flux.provider(key=key)
        flux.server.faults.add(FaultKind.answer, times=None, route="", status=status)
        for told in ((await provider.check()).error, await _refusal(flux, provider)):
            assert told is not None
            assert told.code is Code.provider_rejected
            assert "RUNPOD_API_KEY" in told.message
            assert key not in json.dumps(told.as_json())
        assert key not in repr(provider)

    async def test_r8_a_wrong_endpoint_is_named(self, flux: RunPodBench) -> None:
        provider = flux.provider(endpoint_id="nobody")
        told = (await provider.check()).error
        assert told is not None
        assert told.code is Code.provider_rejected
        assert "nobody" in told.message
        assert (await _refusal(flux, provider)).code is Code.provider_rejected

    @pytest.mark.parametrize("status", [400, 413])
    async def test_r9_a_body_that_it_refuses_as_too_large(self, comfy: RunPodBench, status: int) -> None:
        provider = comfy.provider()
        comfy.server.faults.add(FaultKind.answer, route="POST /v2/emu-comfyui/run", status=status)
        plan = provider.compile([bound_edit()], None)
        with pytest.raises(GenyardError) as refused:
            await comfy.submit_plan(provider, plan, data=a_picture() + b"\0" * 5_000_000)
        assert refused.value.code is Code.request_unsupported
        assert "10 MB" in refused.value.message

    async def test_r9_what_cannot_fit_is_refused_before_it_leaves(self, comfy: RunPodBench) -> None:
        provider = comfy.provider()
        plan = provider.compile([bound_edit()], None)
        with pytest.raises(GenyardError) as refused:
            await comfy.submit_plan(provider, plan, data=a_picture() + b"\0" * 8_000_000)
        assert refused.value.code is Code.request_unsupported
        assert refused.value.field == "inputs.upload"
        assert "7.5 MB" in refused.value.message
        assert comfy.server.requests["POST /v2/{endpoint}/run"] == 0

    async def test_r10_an_exception_is_told_by_type_and_message(self, flux: RunPodBench) -> None:
        flux.server.faults.add(FaultKind.raise_error, text="bad thing in /workspace/models/flux/x.py")
        error = failure(await flux.run(flux.provider()), Code.provider_failed)
        assert "ValueError: bad thing" in error.message
        assert "/workspace" not in error.message

    async def test_r10_memory_is_recognised(self, flux: RunPodBench) -> None:
        flux.server.faults.add(
            FaultKind.raise_error,
            error_type="<class 'torch.OutOfMemoryError'>",
            text="CUDA out of memory. Tried",
        )
        failure(await flux.run(flux.provider()), Code.provider_out_of_memory)

    @pytest.mark.parametrize("kind", [FaultKind.skip_webhook, FaultKind.repeat_webhook])
    async def test_r11_webhooks_are_a_wake_up_only(self, flux: RunPodBench, kind: FaultKind) -> None:
        flux.server.faults.add(kind)
        webhook = f"{flux.server.url}/hooks/secret"
        assert (await flux.run(flux.provider(), webhook=webhook)).state is State.succeeded
        assert flux.server.jobs[0].webhook == webhook
        assert flux.server.counts.total_runs == 1
        assert await flux.provider().hook({}, b"{}")

    async def test_r12_a_job_that_runs_again_after_its_cancel(self, flux: RunPodBench) -> None:
        flux.server.faults.add(FaultKind.hang)
        flux.server.faults.add(FaultKind.runs_again)
        provider = flux.provider()
        ref = await flux.submit(provider)
        await flux.server.until_running()
        canceled = await provider.cancel(ref)
        assert canceled.reached
        assert canceled.was_running
        end = await ended(provider, ref)
        assert end.state is State.canceled
        assert end.cost is not None  # the seconds until then are billed

    async def test_r13_all_on_one_machine(self) -> None:
        async with emulated(setup=Setup(kind="flux", workers_max=3)) as bench:
            bench.server.faults.add(FaultKind.one_machine, times=None)
            provider = bench.provider()
            ends = await asyncio.gather(*(bench.run(provider) for _ in range(4)))
            assert {end.state for end in ends} == {State.succeeded}

    async def test_r14_what_a_public_endpoint_refuses_is_the_requests_fault(self) -> None:
        endpoint = "black-forest-labs-flux-1-dev"
        async with emulated(endpoint, Setup(kind="public", delivery="url")) as bench:
            step = bound(kind="runpod-public", width=1000, height=1024)
            with pytest.raises(GenyardError, match="multiple of 64; take 1024"):
                step.require()
            error = failure(await bench.run(bench.provider(), step), Code.request_unsupported)
            assert "divisible by 64" in error.message
            assert error.remedy is Remedy.fix_request

    async def test_r15_a_link_that_is_dead(self) -> None:
        async with emulated(setup=LINKS) as bench:
            bench.server.faults.add(FaultKind.dead_link)
            await _unfetchable(bench, Code.provider_lost_output)

    async def test_a_word_that_nobody_knows_keeps_being_read(self, flux: RunPodBench) -> None:
        flux.server.faults.add(FaultKind.stale_status, times=3)
        provider = flux.provider()
        seen = [one async for one in follow(provider, await flux.submit(provider), PATIENCE)]
        assert seen[-1].state is State.succeeded

    async def test_a_worker_that_dies_in_the_middle(self, flux: RunPodBench) -> None:
        flux.server.faults.add(FaultKind.restart_worker)
        assert (await flux.run(flux.provider())).state is State.succeeded
        assert flux.server.counts.submitted == 1

    @pytest.mark.parametrize(
        "fault",
        [
            {"kind": "lose_answer"},
            {"kind": "answer", "status": 500},
            {"kind": "answer", "status": 502, "body": "<html>bad gateway</html>"},
            {"kind": "answer", "status": 200, "body": "<html>hello</html>", "content_type": "text/html"},
            {"kind": "answer", "status": 200, "body": '{"status": "IN_QUEUE"}'},
        ],
        ids=["broken connection", "500", "502", "a page", "no id"],
    )
    async def test_a_submission_in_doubt_is_lost_and_not_sent_twice(
        self, flux: RunPodBench, fault: dict[str, Any]
    ) -> None:
        flux.server.faults.add(**fault, times=None, route="POST /v2/emu-flux/run")
        with pytest.raises(GenyardError) as lost:
            await flux.submit(flux.provider())
        assert lost.value.code is Code.provider_lost
        assert flux.server.requests["POST /v2/{endpoint}/run"] == 1

    async def test_a_redirect_does_not_get_the_key(self, flux: RunPodBench) -> None:
        async with _Elsewhere() as elsewhere:
            flux.server.faults.add(
                FaultKind.answer, times=None, route="", status=302, headers=(("Location", elsewhere.url),)
            )
            assert (await flux.provider().check()).error is not None
            with pytest.raises(GenyardError):
                await flux.submit(flux.provider())
            assert elsewhere.heard == []


class TestWorkerComfyUI:
    async def test_w1_comfyui_did_not_start(self, comfy: RunPodBench) -> None:
        comfy.server.faults.add(FaultKind.unreachable)
        error = failure(await comfy.run(comfy.provider(), drawing()), Code.provider_interrupted)
        assert error.remedy is Remedy.retry_here

    async def test_w2_nothing_was_saved(self, comfy: RunPodBench) -> None:
        comfy.server.faults.add(FaultKind.no_images)
        error = failure(await comfy.run(comfy.provider(), drawing()), Code.provider_lost_output)
        assert "SaveImage" in error.message

    def test_w2_what_the_worker_would_drop_is_refused_before_it_is_paid_for(self, comfy: RunPodBench) -> None:
        graph = chain(("ImageInvert", {}))
        graph["save"] = {
            "class_type": "VHS_VideoCombine",
            "inputs": {"images": ["2", 0], "filename_prefix": "x", "frame_rate": 8},
        }
        with pytest.raises(GenyardError) as refused:
            comfy.provider().compile([own_step(graph)], None)
        assert refused.value.code is Code.workflow_invalid
        assert "SaveVideo" in refused.value.message

    async def test_w3_failed_after_one_picture(self, comfy: RunPodBench) -> None:
        comfy.server.faults.add(FaultKind.partial)
        end = await comfy.run(comfy.provider(), drawing())
        failure(end, Code.provider_out_of_memory)
        assert len(end.outputs) == 1

    async def test_w4_fewer_pictures_than_outputs(self, comfy: RunPodBench) -> None:
        graph = chain(("ImageInvert", {}))
        graph["second"] = {**graph["save"], "inputs": {**graph["save"]["inputs"], "filename_prefix": "other"}}
        provider = comfy.provider()
        assert len((await comfy.run(provider, own_step(graph))).outputs) == 2
        comfy.server.faults.add(FaultKind.fewer_images)
        failure(await comfy.run(provider, own_step(graph)), Code.provider_lost_output)

    async def test_w5_the_details_say_what_happened(self, comfy: RunPodBench) -> None:
        comfy.server.faults.add(FaultKind.processing_failed)
        error = failure(await comfy.run(comfy.provider(), drawing()), Code.provider_out_of_memory)
        assert error.context["node_type"] == "KSampler"

    async def test_w5_without_details_it_may_be_tried_once_more(self) -> None:
        setup = Setup(kind="comfyui", workers_max=1, shows_output_on_failure=False)
        async with emulated(COMFYUI, setup) as bench:
            bench.server.faults.add(FaultKind.processing_failed)
            error = failure(await bench.run(bench.provider(), drawing()), Code.provider_interrupted)
            assert error.remedy is Remedy.retry_here

    async def test_w6_the_race_at_the_end(self) -> None:
        setup = Setup(kind="comfyui", workers_max=1, shows_output_on_failure=False)
        async with emulated(COMFYUI, setup) as bench:
            bench.server.faults.add(FaultKind.race)
            failure(await bench.run(bench.provider(), drawing()), Code.provider_interrupted)

    async def test_w7_a_graph_that_it_refuses(self, comfy: RunPodBench) -> None:
        step = drawing(("ImageScale", {"width": 32, "height": 32, "crop": "disabled"}))
        error = failure(await comfy.run(comfy.provider(), step), Code.workflow_invalid)
        assert error.context["problems"] == ["required_input_missing"]

    async def test_w7_a_model_that_is_not_there(self, comfy: RunPodBench) -> None:
        graph = chain(("ImageInvert", {}))
        graph["9"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "nobody.safetensors"}}
        graph["10"] = {"class_type": "VAEDecode", "inputs": {"samples": ["11", 0], "vae": ["9", 2]}}
        graph["11"] = {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1},
        }
        graph["save"]["inputs"]["images"] = ["10", 0]
        error = failure(await comfy.run(comfy.provider(), own_step(graph)), Code.provider_missing)
        assert "nobody.safetensors" in error.message

    async def test_w8_a_node_that_is_not_there(self, comfy: RunPodBench) -> None:
        step = drawing(("NoSuchNode", {}))
        error = failure(await comfy.run(comfy.provider(), step), Code.provider_missing)
        assert "NoSuchNode" in error.message

    async def test_w10_a_bucket_without_keys(self) -> None:
        async with emulated(COMFYUI, BUCKET) as bench:
            bench.server.faults.add(FaultKind.simulated_upload)
            error = failure(await bench.run(bench.provider(), drawing()), Code.provider_protocol)
            assert error.remedy is Remedy.operator

    async def test_w11_a_bucket_that_refuses(self) -> None:
        async with emulated(COMFYUI, BUCKET) as bench:
            bench.server.faults.add(FaultKind.upload_failed)
            error = failure(await bench.run(bench.provider(), drawing()), Code.provider_protocol)
            assert "BUCKET_ENDPOINT_URL" in error.message

    async def test_w12_comfyui_died(self, comfy: RunPodBench) -> None:
        comfy.server.faults.add(FaultKind.connection_lost)
        error = failure(await comfy.run(comfy.provider(), drawing()), Code.provider_interrupted)
        assert "memory" in error.message

    async def test_w13_a_worker_that_misses_the_end_is_stopped_at_our_deadline(
        self, comfy: RunPodBench
    ) -> None:
        comfy.server.faults.add(FaultKind.hang)
        provider = comfy.provider(limits=Limits(poll=0.06, interval=2.0, image=0.4))
        ref = await comfy.submit(provider, drawing())
        end = await ended(provider, ref)
        failure(end, Code.provider_timeout)
        assert end.cost is not None
        assert comfy.server.job(ref["id"]).status == "CANCELLED"

    async def test_w14_no_two_jobs_share_an_input_name(self, comfy: RunPodBench) -> None:
        provider = comfy.provider()
        keys = [uuid4(), uuid4()]
        plan = provider.compile([bound_edit()], None)
        pictures = [a_picture(64, 48), a_picture(32, 32)]
        refs = [
            await comfy.submit_plan(provider, plan, key=key, data=data)
            for key, data in zip(keys, pictures, strict=True)
        ]
        ends = [await ended(provider, ref) for ref in refs]
        made = [await read(provider, end.outputs[0]) for end in ends]
        assert made[0] != made[1]
        names = [image["name"] for job in comfy.server.jobs for image in job.input["images"]]
        assert len(set(names)) == 2
        assert all(str(key) in name and "/" not in name for key, name in zip(keys, names, strict=True))


class TestResults:
    @pytest.mark.parametrize(
        "kind", [FaultKind.html, FaultKind.cut_transfer, FaultKind.private_link, FaultKind.redirect]
    )
    async def test_f1_f2_a_link_that_leads_to_something_else(self, kind: FaultKind) -> None:
        async with emulated(setup=LINKS) as bench:
            bench.server.faults.add(kind)
            await _unfetchable(bench, Code.provider_bad_output)

    async def test_f1_a_page_in_place_of_data(self, flux: RunPodBench) -> None:
        flux.server.faults.add(FaultKind.html)
        failure(await flux.run(flux.provider()), Code.provider_bad_output)

    async def test_f1_nothing_in_place_of_data(self, flux: RunPodBench) -> None:
        flux.server.faults.add(FaultKind.empty)
        failure(await flux.run(flux.provider()), Code.provider_bad_output)

    async def test_f3_what_it_is_called_is_not_believed(self) -> None:
        """The worker's bucket calls every file an image; its bytes are read as they are."""
        async with emulated(COMFYUI, BUCKET) as bench:
            provider = bench.provider()
            end = await bench.run(provider, drawing())
            assert sniff((await read(provider, end.outputs[0]))[:32]) == "image/png"

    async def test_the_key_does_not_go_where_results_are(self) -> None:
        async with emulated(setup=LINKS) as bench, _Elsewhere() as elsewhere:
            bench.server.faults.add(FaultKind.private_link, text=elsewhere.url)
            outbound = Outbound(trusted=[elsewhere.url])
            provider = bench.provider(outbound=outbound)
            end = await bench.run(provider)
            assert await read(provider, end.outputs[0]) == a_picture()
            await outbound.close()
            assert [headers.get("Authorization") for headers in elsewhere.heard] == [None]

    async def test_data_is_not_stored_with_the_job(self, flux: RunPodBench) -> None:
        provider = flux.provider()
        ref = await flux.submit(provider)
        end = await ended(provider, ref)
        assert len(json.dumps([end.outputs[0].where, ref])) < 2_000
        assert flux.server.key not in json.dumps(ref)
        assert "red fox" not in json.dumps(ref)

    async def test_several_outputs_of_a_job_are_read_in_one_go(self, flux: RunPodBench) -> None:
        provider = flux.provider()
        end = await flux.run(provider, bound(count=3))
        assert [one.index for one in end.outputs] == [0, 1, 2]
        reads = flux.server.requests["GET /v2/{endpoint}/status/{id}"]
        made = await asyncio.gather(*(read(provider, one) for one in end.outputs))
        assert len(set(made)) == 3
        assert flux.server.requests["GET /v2/{endpoint}/status/{id}"] == reads + 1

    async def test_fewer_pictures_than_asked_for_of_one_model(self, flux: RunPodBench) -> None:
        plan = flux.provider().compile([bound(count=2)], None)
        plan.payload["input"]["num_images"] = 1  # a handler that knows no such field
        provider = flux.provider()
        end = await ended(provider, await flux.submit_plan(provider, plan))
        assert (end.state, end.detail) == (State.succeeded, "1 of 2 files did not come")
        assert [one.facts["withheld"] for one in end.outputs] == [1]

    async def test_an_output_that_is_no_longer_there(self, flux: RunPodBench) -> None:
        provider = flux.provider()
        end = await flux.run(provider)
        where = {**end.outputs[0].where, "path": ["images", 5]}
        with pytest.raises(GenyardError) as gone:
            await read(provider, RemoteOutput(step="draw", role=Role.image, index=0, where=where))
        assert gone.value.code is Code.provider_lost_output


class TestMoneyAndProgress:
    async def test_seconds_times_the_endpoints_rate(self, flux: RunPodBench) -> None:
        end = await flux.run(flux.provider())
        assert end.cost is not None
        assert end.seconds is not None
        assert end.cost.source == "computed"
        assert end.cost.usd == pytest.approx(end.seconds * 0.001)

    async def test_a_public_endpoint_reports_its_cost(self) -> None:
        endpoint = "black-forest-labs-flux-1-dev"
        async with emulated(endpoint, Setup(kind="public", delivery="url")) as bench:
            provider = bench.provider()
            end = await bench.run(provider, bound(kind="runpod-public", width=512, height=512))
            assert end.cost is not None
            assert end.cost.source == "reported"
            assert end.cost.usd == pytest.approx(0.02 * 512 * 512 / 1e6, rel=0.01)
            assert sniff((await read(provider, end.outputs[0]))[:32]) == "image/png"

    async def test_without_a_rate_the_cost_is_unknown_not_zero(self, flux: RunPodBench) -> None:
        from genyard.catalog.pricing import Rates

        assert (await flux.run(flux.provider(rates=Rates()))).cost is None

    async def test_progress_updates_are_told(self) -> None:
        async with emulated(FLUX, Setup(kind="flux", workers_max=1, steps=5, work=0.8)) as bench:
            provider = bench.provider()
            seen = [one async for one in follow(provider, await bench.submit(provider), PATIENCE)]
            told = [one.progress for one in seen if one.progress is not None]
            assert told == sorted(told)
            assert any(0 < one < 1 for one in told)

    async def test_a_job_that_is_not_known_yet_is_canceled_all_the_same(self, flux: RunPodBench) -> None:
        flux.server.faults.add(FaultKind.hang)
        provider = flux.provider(grace=30.0)
        ref = await flux.submit(provider)
        await flux.server.until_running()
        flux.server.faults.add(FaultKind.not_yet)
        assert (await provider.cancel(ref)).reached
        assert (await ended(provider, ref)).state is State.canceled

    async def test_cancel_twice_is_one_cancel(self, flux: RunPodBench) -> None:
        flux.server.faults.add(FaultKind.hang)
        provider = flux.provider()
        ref = await flux.submit(provider)
        await flux.server.until_running()
        assert (await provider.cancel(ref)).reached
        assert (await provider.cancel(ref)).reached
        assert flux.server.requests["POST /v2/{endpoint}/cancel/{id}"] == 1


# Moves


def bound_edit() -> BoundStep:
    from genyard.testing.comfyui.bench import edit

    return own_step(edit(), media={"image": "1.image"}, inputs={"image": (an_image(),)})


async def _refusal(bench: RunPodBench, provider: Any) -> GenyardError:
    with pytest.raises(GenyardError) as refused:
        await bench.submit(provider)
    return refused.value


async def _unfetchable(bench: RunPodBench, code: Code) -> None:
    provider = bench.provider()
    end = await bench.run(provider)
    assert end.state is State.succeeded
    with pytest.raises(GenyardError) as refused:
        await read(provider, end.outputs[0])
    assert refused.value.code is code
    assert "Signature" not in json.dumps(refused.value.as_json())


class _Elsewhere:
    """Somebody else's server: it writes down the headers of whoever comes, and serves a picture."""

    def __init__(self) -> None:
        self.heard: list[dict[str, str]] = []
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._hear)
        self._server = TestServer(app, host="127.0.0.1")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    async def _hear(self, request: web.Request) -> web.Response:
        self.heard.append(dict(request.headers))
        return web.Response(body=a_picture(), content_type="image/png")

    async def __aenter__(self) -> _Elsewhere:
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()
