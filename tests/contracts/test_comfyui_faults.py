"""What can go wrong with a ComfyUI server, case by case (the numbers are those of the failure catalogue)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from genyard.errors import Code, GenyardError, Remedy
from genyard.operations import Role
from genyard.providers import BoundStep, Facts, Plan, Provider, Ref, Snapshot, State
from genyard.providers._http import Timeouts
from genyard.providers.comfyui import ComfyUIProvider, Limits
from genyard.testing.comfyui import ComfyUIEmulator, FaultKind
from genyard.testing.comfyui.bench import ComfyUIBench, a_picture, chain, emulated, own_step
from genyard.testing.contract import Sample, follow, read

PATIENCE = 15.0


@pytest.fixture
async def bench() -> AsyncIterator[ComfyUIBench]:
    async with emulated() as made:
        yield made


def server_of(bench: ComfyUIBench) -> ComfyUIEmulator:
    assert bench.server is not None
    return bench.server


def planned(provider: Provider, graph: dict[str, Any] | None = None, facts: Facts | None = None) -> Plan:
    step = own_step(graph or chain(("ImageInvert", {})))
    return provider.compile([step], facts)


async def submitted(provider: Provider, graph: dict[str, Any] | None = None) -> Ref:
    return await provider.submit(planned(provider, graph), uuid4(), {})


async def ended(provider: Provider, ref: Ref) -> Snapshot:
    return [one async for one in follow(provider, ref, PATIENCE)][-1]


async def run(provider: Provider, graph: dict[str, Any] | None = None) -> Snapshot:
    return await ended(provider, await submitted(provider, graph))


def sleeping(seconds: float) -> dict[str, Any]:
    return chain(("GenyardSleep", {"seconds": seconds}))


class TestTheEnd:
    async def test_history_that_comes_late(self, bench: ComfyUIBench) -> None:
        """C10: the end is told before the history is written."""
        server_of(bench).history_gap = 0.15
        assert (await run(bench.provider())).state is State.succeeded

    @pytest.mark.parametrize("reads", [1, 4])
    async def test_history_that_is_missing_for_some_reads(self, bench: ComfyUIBench, reads: int) -> None:
        server = server_of(bench)
        server.faults.add(FaultKind.hide_history, times=reads)
        assert (await run(bench.provider())).state is State.succeeded
        assert server.faults.struck[FaultKind.hide_history] == reads

    async def test_a_run_that_ends_between_two_reads(self, bench: ComfyUIBench) -> None:
        """C9: for a moment it is in neither list, and nobody tells us more."""
        server = server_of(bench)
        ref = await submitted(bench.provider())
        await server.until_idle()
        server.faults.add(FaultKind.hide_everywhere, times=3)
        assert (await ended(bench.provider(), ref)).state is State.succeeded

    async def test_a_completion_that_never_arrives(self, bench: ComfyUIBench) -> None:
        """C22."""
        server_of(bench).faults.add(FaultKind.mute)
        assert (await run(bench.provider())).state is State.succeeded

    async def test_sockets_that_are_refused(self, bench: ComfyUIBench) -> None:
        server_of(bench).faults.add(FaultKind.refuse_socket, times=None)
        assert (await run(bench.provider(), sleeping(0.3))).state is State.succeeded

    async def test_the_same_plan_twice_runs_twice(self, bench: ComfyUIBench) -> None:
        """C12: an identical graph would be answered from the cache, with the old file's name."""
        server, provider = server_of(bench), bench.provider()
        plan = planned(provider)
        ends = [await ended(provider, await provider.submit(plan, uuid4(), {})) for _ in range(2)]
        names = {one.outputs[0].where["subfolder"] + one.outputs[0].where["filename"] for one in ends}
        assert len(names) == 2
        for path in server.files.folder("output").rglob("*.png"):
            path.unlink()
        assert await read(provider, (await run(provider)).outputs[0])

    async def test_success_without_outputs_is_a_failure(self, bench: ComfyUIBench) -> None:
        """C11."""
        server_of(bench).faults.add(FaultKind.no_outputs)
        end = await run(bench.provider())
        assert (end.state, end.error and end.error.code) == (State.failed, Code.provider_lost_output)

    async def test_success_with_temporary_files_is_a_failure(self, bench: ComfyUIBench) -> None:
        server_of(bench).faults.add(FaultKind.temp_outputs, times=None)
        end = await run(bench.provider())
        assert (end.state, end.error and end.error.code) == (State.failed, Code.provider_lost_output)
        assert "temporary" in str(end.error)

    async def test_a_failed_run_keeps_what_it_had_saved(self, bench: ComfyUIBench) -> None:
        """C14."""
        graph = chain(("ImageInvert", {}))
        graph["raise"] = {"class_type": "GenyardRaise", "inputs": {"image": ["2", 0], "kind": "value"}}
        graph["second"] = {
            "class_type": "SaveImage",
            "inputs": {"images": ["raise", 0], "filename_prefix": "x"},
        }
        provider = bench.provider()
        end = await run(provider, graph)
        assert end.state is State.failed
        assert [one.where["node"] for one in end.outputs] == ["step.save"]
        assert await read(provider, end.outputs[0])

    async def test_every_output_key_is_harvested(self, bench: ComfyUIBench) -> None:
        graph = chain(("RepeatImageBatch", {"amount": 3}))
        graph["film"] = {
            "class_type": "VHS_VideoCombine",
            "inputs": {
                "images": ["2", 0], "frame_rate": 8.0, "loop_count": 0, "filename_prefix": "v",
                "format": "video/h264-mp4", "pingpong": False, "save_output": True,
            },
        }  # fmt: skip
        graph["made"] = {"class_type": "CreateVideo", "inputs": {"images": ["2", 0], "fps": 8.0}}
        graph["core"] = {
            "class_type": "SaveVideo",
            "inputs": {"video": ["made", 0], "filename_prefix": "c", "format": "mp4", "codec": "h264"},
        }
        graph["sound"] = {
            "class_type": "SaveAudioMP3",
            "inputs": {"audio": ["parts", 1], "filename_prefix": "s", "quality": "V0"},
        }
        graph["parts"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["made", 0]}}
        provider = bench.provider()
        plan = planned(provider, graph)
        assert plan.video
        end = await ended(provider, await provider.submit(plan, uuid4(), {}))
        assert end.state is State.succeeded, end.error
        told = sorted((one.role, one.index, one.media_type) for one in end.outputs)
        assert told == [
            (Role.audio, 0, "audio/mpeg"),
            (Role.image, 0, "image/png"),
            (Role.image, 1, "image/png"),
            (Role.image, 2, "image/png"),
            (Role.video, 0, "video/mp4"),
            (Role.video, 1, "video/mp4"),
        ]
        assert all([await read(provider, one) for one in end.outputs])


class TestFailures:
    async def test_out_of_memory_frees_the_server(self, bench: ComfyUIBench) -> None:
        """C15."""
        server = server_of(bench)
        server.faults.out_of_memory(node="ImageInvert")
        end = await run(bench.provider())
        assert end.error is not None
        assert end.error.code is Code.provider_out_of_memory
        assert end.error.remedy is Remedy.retry_here
        assert server.counts.freed == 1

    async def test_an_upload_that_is_no_picture(self, bench: ComfyUIBench) -> None:
        """C18."""
        server = server_of(bench)
        (server.files.folder("input") / "x.png").write_text("hello")
        graph = {
            "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
            "save": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        }
        end = await run(bench.provider(), graph)
        assert (end.error and end.error.code) is Code.media_invalid
        assert "/comfyui" not in json.dumps(end.error.as_json() if end.error else None)

    async def test_interrupted_by_somebody_else(self, bench: ComfyUIBench) -> None:
        """C13."""
        server_of(bench).faults.add(FaultKind.interrupt, node="ImageInvert")
        end = await run(bench.provider())
        assert end.state is State.failed
        assert end.error is not None
        assert "somebody else" in end.error.message
        assert end.error.remedy is Remedy.retry_here

    @pytest.mark.parametrize("video", [False, True])
    async def test_too_long_is_stopped(self, bench: ComfyUIBench, video: bool) -> None:
        server = server_of(bench)
        limits = Limits(image=0.4, video=0.6, poll=0.1, interval=2, missing=0.3)
        provider = bench.provider(limits=limits)
        server.faults.add(FaultKind.hang, node="GenyardSleep")
        plan = planned(provider, sleeping(0.1))
        ref = {**await provider.submit(plan, uuid4(), {}), "video": video}
        end = await ended(bench.provider(limits=limits), ref)
        assert end.state is State.failed
        assert end.error is not None
        assert end.error.code is Code.provider_timeout
        assert end.error.context == {"limit_seconds": 0.6 if video else 0.4, "stopped": True}
        await server.until_idle()
        assert server.counts.interrupted == 1

    async def test_waiting_in_line_does_not_count_as_running(self, bench: ComfyUIBench) -> None:
        provider = bench.provider(limits=Limits(image=0.7, poll=0.1, interval=2, missing=0.3))
        refs = [await submitted(provider, sleeping(0.4)) for _ in range(4)]
        seen = [[one async for one in follow(provider, ref, PATIENCE)] for ref in refs]
        assert [one[-1].state for one in seen] == [State.succeeded] * 4

    async def test_the_place_in_line_is_told(self, bench: ComfyUIBench) -> None:
        provider = bench.provider()
        refs = [await submitted(provider, sleeping(0.5)) for _ in range(3)]
        seen = [one async for one in follow(provider, refs[2], PATIENCE)]
        told = [one.detail for one in seen if one.state is State.queued and one.detail]
        assert told == ["2nd in the queue", "next in the queue"]


class TestSubmitting:
    async def test_500_after_enqueuing(self, bench: ComfyUIBench) -> None:
        """C7: accepted all the same."""
        server = server_of(bench)
        server.faults.add(FaultKind.fail_after_enqueue)
        assert (await run(bench.provider())).state is State.succeeded
        assert server.counts.total_runs == 1

    async def test_200_with_node_errors(self, bench: ComfyUIBench) -> None:
        """C6: a part of the graph was dropped: canceled, and told."""
        server, provider = server_of(bench), bench.provider()
        server.faults.add(FaultKind.node_errors)
        server.faults.add(FaultKind.hang, node="ImageInvert")
        with pytest.raises(GenyardError) as refused:
            await submitted(provider)
        assert refused.value.code is Code.workflow_invalid
        await server.until_idle()
        assert server.counts.cancels == 1

    async def test_an_answer_that_is_lost_with_the_submission(self, bench: ComfyUIBench) -> None:
        """C8: nobody knows it: it is never sent again silently."""
        server, provider = server_of(bench), bench.provider()
        server.faults.add(FaultKind.answer, route="POST /prompt", status=504, body="Gateway Timeout")
        with pytest.raises(GenyardError) as lost:
            await submitted(provider)
        assert lost.value.code is Code.provider_lost
        assert server.counts.requests["POST /prompt"] == 1

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (401, Code.provider_rejected),
            (403, Code.provider_rejected),
            (429, Code.provider_busy),
            (502, Code.provider_unreachable),
        ],
    )
    async def test_statuses_of_a_proxy(self, bench: ComfyUIBench, status: int, code: Code) -> None:
        server, provider = server_of(bench), bench.provider()
        server.faults.add(FaultKind.answer, route="POST /prompt", status=status, body="<html>no</html>")
        with pytest.raises(GenyardError) as refused:
            await submitted(provider)
        assert refused.value.code is code
        assert server.counts.total_runs == 0

    async def test_a_server_that_is_not_up_yet(self) -> None:
        async with emulated(cold_start=0.5) as bench:
            provider = bench.provider()
            with pytest.raises(GenyardError) as refused:
                await submitted(provider)
            assert refused.value.code is Code.provider_unreachable
            deadline = time.monotonic() + PATIENCE
            while not (await provider.check()).reachable:
                assert time.monotonic() < deadline
            assert (await run(provider)).state is State.succeeded

    async def test_a_missing_node_is_named(self, bench: ComfyUIBench) -> None:
        """C1, without a catalogue to check against."""
        graph = chain(("NoSuchNode", {}))
        with pytest.raises(GenyardError) as refused:
            await submitted(bench.provider(), graph)
        assert refused.value.code is Code.provider_missing
        assert "NoSuchNode" in refused.value.message

    async def test_a_missing_node_is_named_by_an_old_server(self) -> None:
        async with emulated(version="0.3.64") as bench:
            with pytest.raises(GenyardError) as refused:
                await submitted(bench.provider(), chain(("NoSuchNode", {})))
            assert refused.value.code is Code.provider_missing

    async def test_uploads_do_not_meet(self, bench: ComfyUIBench) -> None:
        server, provider = server_of(bench), bench.provider()
        before = server.counts.uploads
        for _ in range(2):
            plan = provider.compile(bench.steps(Sample.edited), None)
            (one,) = plan.inputs
            media = {one.name: _media(bench.picture())}
            assert (
                await ended(provider, await provider.submit(plan, uuid4(), media))
            ).state is State.succeeded
        assert server.counts.uploads == before + 2
        assert len(list(server.files.folder("input").rglob("*.png"))) == 2

    async def test_an_upload_that_is_too_large(self) -> None:
        """C23."""
        async with emulated(max_upload_size=200) as bench:
            provider = bench.provider()
            plan = provider.compile(bench.steps(Sample.edited), None)
            with pytest.raises(GenyardError) as refused:
                await provider.submit(plan, uuid4(), {plan.inputs[0].name: _media(a_picture(640, 480))})
            assert refused.value.code is Code.request_unsupported
            assert refused.value.field == "inputs.upload"


def _media(data: bytes) -> Any:
    from genyard.testing.contract import media_of

    return media_of("upload", data)


class TestDownloading:
    async def test_a_body_that_ends_early(self, bench: ComfyUIBench) -> None:
        provider = bench.provider()
        end = await run(provider)
        server_of(bench).faults.add(FaultKind.truncate)
        with pytest.raises(GenyardError) as broken:
            await read(provider, end.outputs[0])
        assert broken.value.code is Code.provider_unreachable
        assert await read(provider, end.outputs[0])

    async def test_a_web_page_instead_of_the_picture(self, bench: ComfyUIBench) -> None:
        provider = bench.provider()
        end = await run(provider)
        server_of(bench).faults.add(
            FaultKind.answer, route="GET /view", status=200, body="<html>", content_type="text/html"
        )
        with pytest.raises(GenyardError) as wrong:
            await read(provider, end.outputs[0])
        assert wrong.value.code is Code.provider_bad_output


class TestChecking:
    async def test_what_can_run_and_what_cannot(self) -> None:
        files = {"checkpoints": ("sd_xl_base_1.0.safetensor",)}
        async with emulated(files=files, absent=["RMBG"]) as bench:
            health = await bench.provider().check()
        assert (health.reachable, health.version, health.queue_depth) == (True, "0.33.0", 0)
        assert health.facts.catalogue is not None
        (told,) = health.problems["comfyui/txt2img.sdxl"]
        assert "sd_xl_base_1.0.safetensors" in told
        assert "'sd_xl_base_1.0.safetensor'" in told
        assert "comfyui/run_workflow.own-workflow" not in health.problems

    @pytest.mark.parametrize(
        ("status", "body", "kind"),
        [
            (200, "<html>Hello</html>", "text/html"),
            (200, "{garbage", "application/json"),
            (200, '{"name": "something else"}', "application/json"),
            (200, '{"system": {"os": "none"}}', "application/json"),
            (404, "not found", "text/plain"),
        ],
    )
    async def test_something_else_answers(
        self, bench: ComfyUIBench, status: int, body: str, kind: str
    ) -> None:
        server_of(bench).faults.add(
            FaultKind.answer, route="GET /system_stats", status=status, body=body, content_type=kind
        )
        error = (await bench.provider().check()).error
        assert error is not None
        assert error.code is Code.provider_protocol
        assert bench.url in error.message
        assert "COMFYUI_ENDPOINT" in error.message

    async def test_a_key_that_is_wanted_and_one_that_is_wrong(self) -> None:
        async with emulated(api_key="right-key") as bench:
            without = await bench.provider().check()
            wrong = await bench.provider(key="wrong-key").check()
            provider = bench.provider(key="right-key")
            assert (await provider.check()).error is None
            assert (await run(provider)).state is State.succeeded
        for health in (without, wrong):
            assert health.error is not None
            assert health.error.code is Code.provider_rejected
            assert "COMFYUI_API_KEY" in health.error.message
            assert "wrong-key" not in json.dumps(health.error.as_json())

    async def test_no_secret_of_a_url_is_told(self) -> None:
        provider = ComfyUIProvider(url="http://user:secret@127.0.0.1:1/x?token=hidden", key="hidden-key")
        error = (await provider.check()).error
        await provider.close()
        assert error is not None
        told = json.dumps(error.as_json()) + repr(provider._place)
        assert error.code is Code.provider_unreachable
        assert not any(word in told for word in ("secret", "hidden"))


class TestObserving:
    async def test_previews_when_asked(self, bench: ComfyUIBench) -> None:
        server_of(bench).step_seconds = 0.12
        provider = bench.provider()
        plan = provider.compile([replace(_txt2img(), previews=True)], None)
        ref = await provider.submit(plan, uuid4(), {})
        seen = [one async for one in follow(provider, ref, PATIENCE)]
        assert any(one.preview and one.preview.startswith(b"\xff\xd8") for one in seen)
        assert any(one.detail == "step 3 of 5" for one in seen)

    async def test_an_old_server_has_no_previews_per_run(self) -> None:
        async with emulated(version="0.3.64", step_seconds=0.05) as bench:
            provider = bench.provider()
            plan = provider.compile([replace(_txt2img(), previews=True)], None)
            ref = await provider.submit(plan, uuid4(), {})
            seen = [one async for one in follow(provider, ref, PATIENCE)]
        assert seen[-1].state is State.succeeded
        assert not any(one.preview for one in seen)

    async def test_no_previews_when_not(self, bench: ComfyUIBench) -> None:
        server_of(bench).step_seconds = 0.05
        provider = bench.provider()
        ref = await provider.submit(provider.compile([_txt2img()], None), uuid4(), {})
        assert not any([one.preview async for one in follow(provider, ref, PATIENCE)])

    async def test_a_short_run_is_told_in_one_go(self, bench: ComfyUIBench) -> None:
        provider = bench.provider()
        await run(provider)
        ref = await submitted(provider)
        assert len([one async for one in follow(provider, ref, PATIENCE)]) <= 2

    async def test_few_calls_per_run(self, bench: ComfyUIBench) -> None:
        server, provider = server_of(bench), bench.provider()
        await run(provider)
        server.counts.requests.clear()
        for _ in range(20):
            await run(provider)
        assert server.counts.requests["POST /prompt"] == 20
        assert server.counts.requests["GET /history/{id}"] <= 22
        assert server.counts.requests.total() <= 44

    async def test_many_observers_share_the_queue(self, bench: ComfyUIBench) -> None:
        """200 runs seen from another process, which gets no events of them."""
        server = server_of(bench)
        maker = bench.provider()
        server.faults.add(FaultKind.slow, node="ImageInvert", seconds=0.6)
        refs = [await submitted(maker) for _ in range(200)]
        other = bench.provider(limits=Limits(poll=0.3, interval=5, missing=1.0))
        server.counts.requests.clear()
        began = time.monotonic()
        ends = await asyncio.gather(*(ended(other, ref) for ref in refs))
        took = time.monotonic() - began
        assert {one.state for one in ends} == {State.succeeded}
        requests = server.counts.requests
        assert requests["GET /jobs"] + requests["GET /queue"] <= 12 * took + 5

    async def test_a_server_that_is_away_for_a_while(self, bench: ComfyUIBench) -> None:
        """The network breaks and comes back; the run went on."""
        server, provider = server_of(bench), bench.provider()
        ref = await submitted(provider, sleeping(0.5))
        await server.until_running("GenyardSleep")
        await server.stop_listening()
        await server.until_idle()
        await server.listen()
        assert (await ended(provider, ref)).state is State.succeeded
        assert server.counts.total_runs == 1

    async def test_nothing_known_and_nobody_there(self, bench: ComfyUIBench) -> None:
        server = server_of(bench)
        ref = await submitted(bench.provider(), sleeping(5))
        await server.stop_listening()
        other = bench.provider(limits=Limits(poll=0.1, interval=0.5), timeouts=Timeouts(connect=0.3))
        with pytest.raises(GenyardError) as away:
            await other.observe(ref, None, asyncio.Event())
        assert away.value.code is Code.provider_unreachable
        known = Snapshot(state=State.running)
        assert await other.observe(ref, known, asyncio.Event()) is known

    async def test_a_server_that_stays_away_loses_its_runs(self, bench: ComfyUIBench) -> None:
        provider = bench.provider(limits=Limits(poll=0.1, interval=1, silence=0.5))
        ref = await submitted(provider, sleeping(5))
        await server_of(bench).stop_listening()
        assert (await ended(provider, ref)).state is State.lost

    async def test_a_run_that_dies_with_its_server(self, bench: ComfyUIBench) -> None:
        """C20: killed in the middle, up again after a moment."""
        server = server_of(bench)
        server.faults.add(FaultKind.restart, node="ImageInvert", seconds=0.2)
        end = await run(bench.provider())
        assert (end.state, end.error and end.error.code) == (State.lost, Code.provider_lost)
        assert server.counts.total_runs == 1

    async def test_a_waiting_run_that_somebody_deleted(self, bench: ComfyUIBench) -> None:
        """C27: it leaves no trace."""
        server, provider = server_of(bench), bench.provider()
        await submitted(provider, sleeping(1.0))
        ref = await submitted(provider)
        server.queue.remove(ref["prompt_id"])
        assert (await ended(provider, ref)).state is State.lost


def _txt2img(**parameters: Any) -> BoundStep:
    from genyard.catalog import load_catalog

    binding = load_catalog().find("comfyui", "txt2img", "sdxl")
    assert binding is not None
    given = {**binding.defaults, "prompt": "a red dragon", "seed": 7, "width": 64, "height": 64, "steps": 5}
    return BoundStep(
        name="draw", operation="txt2img", binding=binding, parameters={**given, **parameters}, inputs={}
    )


class TestCompiling:
    def test_a_file_has_another_name_on_this_server(self) -> None:
        provider = ComfyUIProvider(
            url="http://127.0.0.1:1", renamed={"sd_xl_base_1.0.safetensors": "mine.safetensors"}
        )
        plan = provider.compile([_txt2img()], None)
        assert "mine.safetensors" in json.dumps(plan.payload["workflow"])

    def test_a_control_without_an_image(self) -> None:
        provider = ComfyUIProvider(url="http://127.0.0.1:1")
        with pytest.raises(GenyardError) as refused:
            provider.compile([_txt2img(controlnets=[{"kind": "canny", "strength": 1.0}])], None)
        assert refused.value.field == "inputs.control.0"

    def test_a_workflow_that_saves_nothing(self) -> None:
        graph = chain(("ImageInvert", {}))
        graph["save"] = {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}
        with pytest.raises(GenyardError) as refused:
            planned(ComfyUIProvider(url="http://127.0.0.1:1"), graph)
        assert refused.value.code is Code.workflow_invalid

    @pytest.mark.parametrize("missing", ["image", "other"])
    def test_inputs_that_do_not_fit_the_workflow(self, missing: str) -> None:
        graph = {
            "1": {"class_type": "LoadImage", "inputs": {"image": "x"}},
            "save": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        }
        steps: Sequence[BoundStep] = [own_step(graph, media={missing: "1.image"})]
        with pytest.raises(GenyardError) as refused:
            ComfyUIProvider(url="http://127.0.0.1:1").compile(steps, None)
        assert refused.value.field == f"inputs.{missing}"
