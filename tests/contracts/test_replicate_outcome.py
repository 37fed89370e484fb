"""What a prediction means: states, outputs, money, words. Pure; nothing is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from genyard.errors import Code, Remedy
from genyard.operations import Role
from genyard.providers import State
from genyard.providers._http import BadStatus, Place, seconds_of
from genyard.providers.replicate.outcome import failure_of, progress_of, refusal_of, snapshot_of
from genyard.providers.replicate.wire import Prediction

NOW = 1_790_000_000.0
AT = "2026-09-21T13:33:{:06.3f}Z"

REF: dict[str, Any] = {
    "id": "p1",
    "video": False,
    "outputs": [{"step": "draw", "role": "image", "where": "output"}],
    "price": {"output": 0.025},
    "free_before_start": True,
    "expected": 1,
    "field": None,
}

PLACE = Place(
    title="Replicate", url="https://api.replicate.com/v1", url_setting="u", key_setting="REPLICATE_API_TOKEN"
)


def prediction(**told: Any) -> Prediction:
    return Prediction.model_validate({"id": "p1", "status": "starting", **told})


def ended(status: str = "succeeded", **told: Any) -> Prediction:
    times = {"created_at": AT.format(0), "started_at": AT.format(4), "completed_at": AT.format(6.5)}
    return prediction(**{"status": status, **times, **told})


class TestStates:
    @pytest.mark.parametrize(
        ("word", "state"),
        [
            ("starting", State.queued),
            ("processing", State.running),
            ("failed", State.failed),
            ("canceled", State.canceled),
            ("aborted", State.canceled),
        ],
    )
    def test_the_places_words(self, word: str, state: State) -> None:
        seen = snapshot_of(prediction(status=word), REF, NOW)
        assert (seen.state, seen.word) == (state, word)

    def test_an_unknown_word_goes_on_being_read(self) -> None:
        assert snapshot_of(prediction(status="queued"), REF, NOW).state is State.queued
        begun = prediction(status="post-processing", started_at=AT.format(0))
        assert snapshot_of(begun, REF, NOW).state is State.running

    def test_a_long_start_is_a_cold_start_and_no_error(self) -> None:
        created = "2026-09-21T14:13:20Z"  # 1_790_000_000 seconds after 1970
        early = snapshot_of(prediction(created_at=created), REF, NOW + 3)
        late = snapshot_of(prediction(created_at=created), REF, NOW + 30)
        assert not early.cold
        assert late.cold
        assert late.detail
        assert late.error is None

    def test_seconds_and_waiting(self) -> None:
        told = snapshot_of(ended(output="https://x/1.png", metrics={"predict_time": 2.3}), REF, NOW)
        assert (told.seconds, told.waited) == (2.3, 4.0)
        measured = snapshot_of(ended(output="https://x/1.png"), REF, NOW)
        assert measured.seconds == 2.5

    def test_the_deadline_of_a_run_is_a_timeout_and_of_a_wait_no_capacity(self) -> None:
        """P10."""
        ran = snapshot_of(ended("canceled", deadline=AT.format(6.5)), REF, NOW)
        assert (ran.state, ran.error and ran.error.code) == (State.failed, Code.provider_timeout)
        waited = ended("aborted", deadline=AT.format(6.0), started_at=None)
        seen = snapshot_of(waited, REF, NOW)
        assert (seen.state, seen.error and seen.error.code) == (State.failed, Code.provider_no_capacity)

    def test_a_cancel_long_before_the_deadline_is_somebodys(self) -> None:
        seen = snapshot_of(ended("canceled", deadline=AT.format(50)), REF, NOW)
        assert (seen.state, seen.error and seen.error.code) == (State.canceled, Code.canceled)

    def test_progress_is_read_from_the_newest_bar(self) -> None:
        logs = "Using seed: 5\n 0%|          | 0/28 [00:00<?, ?it/s]\r 50%|█████     | 14/28 [00:01<00:01]\n"
        assert progress_of(logs) == (0.5, "step 14 of 28")
        assert progress_of(logs + "done\n") == (0.5, "step 14 of 28")
        assert progress_of("loading 50% | of it") == (None, None)
        assert progress_of("") == (None, None)

    def test_output_before_the_end_is_not_taken(self) -> None:
        """P9."""
        seen = snapshot_of(prediction(status="processing", output=["https://x/1.png"]), REF, NOW)
        assert (seen.state, seen.error, seen.outputs) == (State.running, None, ())


class TestOutputs:
    @pytest.mark.parametrize(
        ("output", "field", "files"),
        [
            ("https://x/a.png", None, ["https://x/a.png"]),
            (["https://x/a.png", "https://x/b.png"], None, ["https://x/a.png", "https://x/b.png"]),
            ({"image": "https://x/a.png", "mask": "https://x/b.png"}, "mask", ["https://x/b.png"]),
            ({"pages": [{"url": "https://x/a.png"}], "n": 1}, None, ["https://x/a.png"]),
        ],
    )
    def test_every_shape(self, output: Any, field: str | None, files: list[str]) -> None:
        seen = snapshot_of(ended(output=output), {**REF, "field": field}, NOW)
        assert seen.state is State.succeeded
        assert [one.where["url"] for one in seen.outputs] == files
        assert [one.index for one in seen.outputs] == list(range(len(files)))

    def test_layers_keep_their_order_and_role(self) -> None:
        ref = {**REF, "outputs": [{"step": "s", "role": "layer", "where": "output"}]}
        seen = snapshot_of(ended(output=[f"https://x/{n}.png" for n in range(3)]), ref, NOW)
        assert [one.role for one in seen.outputs] == [Role.layer] * 3
        assert seen.outputs[0].where["url"].endswith("0.png")

    def test_a_data_uri_is_not_stored_with_the_job(self) -> None:
        seen = snapshot_of(ended(output="data:image/png;base64,AAAA"), REF, NOW)
        assert seen.outputs[0].where == {"id": "p1", "number": 0, "field": None}
        assert seen.outputs[0].media_type == "image/png"

    @pytest.mark.parametrize("output", [None, "", [], {}])
    def test_success_without_output_is_a_lost_output(self, output: Any) -> None:
        seen = snapshot_of(ended(output=output), REF, NOW)
        assert (seen.state, seen.error and seen.error.code) == (State.failed, Code.provider_lost_output)

    def test_removed_data_is_a_lost_output_with_its_cost(self) -> None:
        """P1."""
        seen = snapshot_of(ended(output=None, data_removed=True), REF, NOW)
        assert seen.error is not None
        assert seen.error.code is Code.provider_lost_output
        assert "one hour" in seen.error.message
        assert seen.cost is not None
        assert seen.cost.usd == 0.025

    def test_words_in_place_of_a_file_are_a_bad_output(self) -> None:
        seen = snapshot_of(ended(output="here is your picture"), REF, NOW)
        assert (seen.state, seen.error and seen.error.code) == (State.failed, Code.provider_bad_output)

    def test_an_address_that_is_none_is_left_to_whoever_fetches_it(self) -> None:
        seen = snapshot_of(ended(output="http://["), REF, NOW)
        assert seen.outputs[0].media_type is None

    def test_pictures_that_were_withheld_are_counted_and_told(self) -> None:
        seen = snapshot_of(ended(output=["https://x/0.png"]), {**REF, "expected": 4}, NOW)
        assert seen.state is State.succeeded
        assert seen.detail == "3 of 4 were withheld by the model"
        assert seen.outputs[0].facts == {"withheld": 3}


class TestMoney:
    def usd(self, seen: Prediction, **ref: Any) -> float | None:
        cost = snapshot_of(seen, {**REF, **ref}, NOW).cost
        assert cost is None or cost.source == "computed"
        return None if cost is None else cost.usd

    def test_by_the_picture(self) -> None:
        two = ended(output=["https://x/0.png", "https://x/1.png"])
        assert self.usd(two) == 0.05
        assert self.usd(ended(output=["https://x/0.png"], metrics={"image_count": 3})) == pytest.approx(0.075)

    def test_by_the_second_whatever_became_of_it(self) -> None:
        price = {"second": 0.001}
        for status in ("succeeded", "failed", "canceled"):
            seen = ended(status, output="https://x/0.png", metrics={"predict_time": 47})
            assert self.usd(seen, price=price) == pytest.approx(0.047)

    def test_by_the_run(self) -> None:
        assert self.usd(ended(output="https://x/0.png"), price={"run": 0.018}) == 0.018

    def test_what_is_not_known_is_not_zero(self) -> None:
        assert self.usd(ended("failed")) is None
        assert self.usd(ended("failed"), price={"run": 0.018}) is None
        assert self.usd(ended(output="https://x/0.png"), price={}) is None
        assert self.usd(prediction(status="canceled"), price={"second": 0.001}) is None

    def test_an_aborted_one_of_a_public_model_costs_nothing(self) -> None:
        assert self.usd(prediction(status="aborted")) == 0.0
        assert self.usd(prediction(status="aborted"), free_before_start=False) is None


class TestWords:
    @pytest.mark.parametrize(
        ("text", "code", "remedy"),
        [
            # P3
            ("NSFW content detected. Try running it again, or try a different prompt.",
             Code.content_rejected, Remedy.fix_request),
            ("All generated images contained NSFW content. Try running it again with a different prompt.",
             Code.content_rejected, Remedy.fix_request),
            ("The input or output was flagged as sensitive. Please try again with different inputs. (E005)",
             Code.content_rejected, Remedy.fix_request),
            ("This request violates our content policy", Code.content_rejected, Remedy.fix_request),
            # P4
            ("Timeout while starting the prediction (E6716)", Code.provider_interrupted, Remedy.retry_here),
            ("An unknown error occurred (E1000)", Code.provider_interrupted, Remedy.retry_here),
            # P5
            ("The model ran out of memory (E1001)", Code.provider_out_of_memory, Remedy.retry_here),
            ("CUDA out of memory. Tried to allocate 2 GiB", Code.provider_out_of_memory, Remedy.retry_here),
            # P12
            ("Prediction interrupted; please retry (code: PA)", Code.provider_interrupted, Remedy.retry_here),
            ("mat1 and mat2 shapes cannot be multiplied", Code.provider_failed, Remedy.try_elsewhere),
            ("E10010 bottles", Code.provider_failed, Remedy.try_elsewhere),
            ("", Code.provider_failed, Remedy.try_elsewhere),
        ],
    )  # fmt: skip
    def test_a_failure(self, text: str, code: Code, remedy: Remedy) -> None:
        error = failure_of(prediction(status="failed", error=text))
        assert (error.code, error.remedy) == (code, remedy)

    def test_an_error_that_is_an_object_is_told_too(self) -> None:
        error = failure_of(prediction(status="failed", error={"detail": "flagged as sensitive"}))
        assert error.code is Code.content_rejected

    def test_neither_the_prompt_nor_a_traceback_nor_a_folder_is_repeated(self) -> None:
        lines = [
            "Traceback (most recent call last):",
            '  File "/src/p.py"',
            'ValueError: "my dark secret" in /src/a/b.py',
        ]
        text = "\n".join(lines)
        seen = prediction(status="failed", error=text, input={"prompt": "my dark secret", "list": ["/src/a"]})
        told = json.dumps(failure_of(seen).as_json())
        for word in ("secret", "Traceback", "/src", "p.py"):
            assert word not in told
        assert "ValueError" in told

    @pytest.mark.parametrize("quote", [json.dumps, repr, lambda text: text.splitlines()[0]])
    def test_a_prompt_of_several_lines_is_not_repeated_either(self, quote: Any) -> None:
        prompt = 'my "dark" secret\nof two lines'
        seen = prediction(status="failed", error=f"cannot draw {quote(prompt)}", input={"prompt": prompt})
        assert "secret" not in failure_of(seen).message

    @pytest.mark.parametrize(
        ("status", "body", "code"),
        [
            (401, {"title": "Unauthenticated", "status": 401}, Code.provider_rejected),
            (402, {"title": "Insufficient credit", "status": 402}, Code.provider_rejected),
            (403, {}, Code.provider_rejected),
            (404, {"detail": "not found"}, Code.provider_missing),
            (413, {}, Code.request_unsupported),
            (422, {"detail": "- input.width: Must be less than 2048"}, Code.request_invalid),
            (422, {"detail": "The specified version does not exist"}, Code.provider_missing),
            (400, "not json", Code.request_invalid),
        ],
    )
    def test_a_refusal(self, status: int, body: Any, code: Code) -> None:
        refused = BadStatus(status, json.dumps(body), "application/problem+json")
        error = refusal_of(refused, PLACE, "submitting", name="a/b", given={"prompt": "secret"})
        assert error.code is code
        if status in (401, 402, 403):
            assert "REPLICATE_API_TOKEN" in error.message

    @pytest.mark.parametrize(
        ("header", "text", "seconds"),
        [
            (None, "Request was throttled. Expected available in 1 second.", 1.0),
            (None, "Request was throttled. Expected available in 12 seconds.", 12.0),
            (None, "Your rate limit resets in ~30s.", 30.0),
            ("7", "Request was throttled. Expected available in 1 second.", 7.0),
            ("nonsense", "slow down", None),
        ],
    )
    def test_how_long_a_rate_limit_lasts(self, header: str | None, text: str, seconds: float | None) -> None:
        """P2."""
        refused = BadStatus(429, json.dumps({"detail": text}), "application/json", seconds_of(header, NOW))
        error = refusal_of(refused, PLACE, "submitting", name="a/b", given=None)
        assert error.code is Code.provider_busy
        assert error.context["retry_after"] == seconds

    def test_a_retry_after_that_is_a_date(self) -> None:
        assert seconds_of("Mon, 21 Sep 2026 13:33:50 GMT", 1_789_997_600.0) is not None
        assert seconds_of("Thu, 01 Jan 1970 00:00:10 GMT", 4.0) == 6.0
        assert seconds_of("Thu, 01 Jan 1970 00:00:10 GMT", 40.0) == 0.0
