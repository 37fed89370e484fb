"""What every provider must do, as one pytest suite: subclass it, and say how to open your place.

    class TestMine(ProviderContract):
        implementation = Implementation(kind="mine", open=my_bench, troubles=frozenset({Trouble.dead}))

Tests are chosen by the provider's `capabilities` and by the troubles that its bench can provoke; what an
implementation does differently is declared in `deviations` (test name → why), where it is read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import ClassVar, Protocol
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from genyard.errors import Code, GenyardError
from genyard.media import SNIFF_BYTES, hash_bytes, sniff
from genyard.providers import (
    BoundStep,
    Facts,
    Leave,
    Media,
    MediaInput,
    Plan,
    Provider,
    Ref,
    Snapshot,
    State,
)


class Sample(StrEnum):
    """Steps that a bench can name.

    quick    one picture, from nothing
    slow     runs for some seconds, in several steps, and can be canceled; it saves one picture
    failing  is accepted, then fails while it runs
    edited   one picture from the input `image`
    fused    two steps, of which the second takes the first one's output; only the second is kept
    """

    quick = "quick"
    slow = "slow"
    failing = "failing"
    edited = "edited"
    fused = "fused"


class Trouble(StrEnum):
    """What a bench can make happen; each of them once, to whatever comes next.

    dead            nobody listens at the place's address
    lost_answer     the next submission is accepted, and its answer is lost
    broken_events   the connection that brings news breaks, while something runs
    restart         the place forgets everything, while something runs, and is up again
    missing_output  the next run succeeds, and its files are gone
    """

    dead = "dead"
    lost_answer = "lost_answer"
    broken_events = "broken_events"
    restart = "restart"
    missing_output = "missing_output"


class Bench(Protocol):
    """One running place. `provider()` makes a new instance each time, as another process would; all of them
    are closed with the bench."""

    def provider(self) -> Provider: ...

    def steps(self, sample: Sample) -> tuple[BoundStep, ...]: ...

    def picture(self) -> bytes:
        """A PNG for the input `image`."""
        ...

    async def provoke(self, trouble: Trouble) -> None: ...

    def runs(self, key: UUID) -> int | None:
        """How often the place really ran what was submitted under this key; None where that is not known."""
        ...


@dataclass(frozen=True, kw_only=True)
class Implementation:
    kind: str
    open: Callable[[], AbstractAsyncContextManager[Bench]]
    samples: frozenset[Sample] = frozenset(Sample)
    troubles: frozenset[Trouble] = frozenset()
    deviations: Mapping[str, str] = field(default_factory=dict)
    patience: float = 20.0


@dataclass(kw_only=True)
class Table:
    """A bench with one provider, and the few moves that most tests make."""

    bench: Bench
    provider: Provider
    patience: float
    facts: Facts | None = None

    async def compile(self, sample: Sample) -> Plan:
        if self.facts is None:
            self.facts = (await self.provider.check()).facts
        return self.provider.compile(self.bench.steps(sample), self.facts)

    async def submit(self, sample: Sample, key: UUID | None = None, leave: Leave | None = None) -> Ref:
        plan = await self.compile(sample)
        media = {one.name: media_of(one.name, self.bench.picture()) for one in plan.inputs}
        return await self.provider.submit(plan, key or uuid4(), media, leave=leave)

    async def follow(self, ref: Ref, provider: Provider | None = None) -> list[Snapshot]:
        """Every snapshot up to the end."""
        return [one async for one in follow(provider or self.provider, ref, self.patience)]

    async def end(self, ref: Ref, provider: Provider | None = None) -> Snapshot:
        return (await self.follow(ref, provider))[-1]

    async def until(self, ref: Ref, state: State) -> Snapshot:
        async for seen in follow(self.provider, ref, self.patience):
            if seen.state is state:
                return seen
        raise AssertionError(f"it ended as {seen.state} ({seen.error}) and was never seen {state}")


def media_of(name: str, data: bytes) -> Media:
    async def pieces() -> AsyncIterator[bytes]:
        yield data

    return Media(
        name=name,
        media_type=sniff(data[:SNIFF_BYTES]) or "application/octet-stream",
        size=len(data),
        sha256=hash_bytes(data),
        open=pieces,
    )


def an_image(name: str = "upload") -> MediaInput:
    return MediaInput(name=name, media_type="image/png", width=64, height=64)


async def follow(provider: Provider, ref: Ref, patience: float) -> AsyncIterator[Snapshot]:
    """Observes to the end, which must come within `patience` seconds."""
    previous: Snapshot | None = None
    wake = asyncio.Event()
    async with asyncio.timeout(patience):
        while previous is None or not previous.state.ended:
            previous = await provider.observe(ref, previous, wake)
            yield previous


async def read(provider: Provider, output: object) -> bytes:
    return b"".join([piece async for piece in provider.fetch(output)])  # type: ignore[arg-type]


class ProviderContract:
    """Subclasses set `implementation`; their name starts with Test."""

    implementation: ClassVar[Implementation]

    @pytest_asyncio.fixture
    async def table(self, request: pytest.FixtureRequest) -> AsyncIterator[Table]:
        self._skip_deviation(request)
        async with self.implementation.open() as bench:
            yield Table(bench=bench, provider=bench.provider(), patience=self.implementation.patience)

    def _skip_deviation(self, request: pytest.FixtureRequest) -> None:
        name = request.node.originalname
        if why := self.implementation.deviations.get(name):
            pytest.skip(f"{self.implementation.kind} differs: {why}")

    def _needs(self, *wanted: Sample | Trouble) -> None:
        for one in wanted:
            able = self.implementation.samples if isinstance(one, Sample) else self.implementation.troubles
            if one not in able:
                pytest.skip(f"{self.implementation.kind} has no {one}")

    # A run

    async def test_a_run_ends_with_a_picture(self, table: Table) -> None:
        ref = await table.submit(Sample.quick)
        end = await table.end(ref)
        assert end.state is State.succeeded, end
        assert end.error is None
        (output,) = end.outputs
        assert (output.step, output.index) == (table.bench.steps(Sample.quick)[-1].name, 0)
        assert sniff((await read(table.provider, output))[:SNIFF_BYTES]) == "image/png"

    async def test_everything_that_is_stored_is_json(self, table: Table) -> None:
        plan = await table.compile(Sample.quick)
        ref = await table.submit(Sample.quick)
        end = await table.end(ref)
        for told in (plan.payload, plan.facts, ref, [one.where for one in end.outputs]):
            assert json.loads(json.dumps(told)) is not None

    async def test_compiling_is_pure(self, table: Table) -> None:
        assert await table.compile(Sample.quick) == await table.compile(Sample.quick)

    async def test_whoever_submits_is_asked_once_directly_before(self, table: Table) -> None:
        asked = []

        async def leave() -> None:
            asked.append(1)

        await table.end(await table.submit(Sample.quick, leave=leave))
        assert asked == [1]

    async def test_nothing_is_bought_where_it_must_not_leave(self, table: Table) -> None:
        class Fenced(Exception):
            pass

        async def leave() -> None:
            raise Fenced

        key = uuid4()
        with pytest.raises(Fenced):
            await table.submit(Sample.quick, key, leave=leave)
        assert table.bench.runs(key) in (None, 0)
        if table.provider.capabilities.finds:
            assert await table.provider.find(key) is None

    async def test_an_input_is_taken(self, table: Table) -> None:
        self._needs(Sample.edited)
        end = await table.end(await table.submit(Sample.edited))
        assert end.state is State.succeeded, end.error
        assert await read(table.provider, end.outputs[0])

    async def test_fused_steps_keep_only_what_is_wanted(self, table: Table) -> None:
        self._needs(Sample.fused)
        if not table.provider.capabilities.fuses:
            pytest.skip("it does not fuse")
        end = await table.end(await table.submit(Sample.fused))
        assert end.state is State.succeeded, end.error
        assert {one.step for one in end.outputs} == {table.bench.steps(Sample.fused)[-1].name}

    async def test_progress_grows(self, table: Table) -> None:
        self._needs(Sample.slow)
        if table.provider.capabilities.progress != "steps":
            pytest.skip("it tells no steps")
        seen = await table.follow(await table.submit(Sample.slow))
        told = [one.progress for one in seen if one.progress is not None]
        assert told == sorted(told)
        assert all(0 <= one <= 1 for one in told)
        assert len(set(told)) >= 3, told
        assert any(one.detail for one in seen if one.state is State.running)
        assert seen[-1].state is State.succeeded

    async def test_every_snapshot_says_something_new(self, table: Table) -> None:
        self._needs(Sample.slow)
        seen = await table.follow(await table.submit(Sample.slow))
        told = [(one.state, one.progress, one.detail, one.preview) for one in seen]
        assert all(one != other for one, other in pairwise(told))

    async def test_a_wake_returns_at_once(self, table: Table) -> None:
        self._needs(Sample.slow)
        ref = await table.submit(Sample.slow)
        seen = await table.until(ref, State.running)
        wake = asyncio.Event()
        wake.set()
        async with asyncio.timeout(1.0):
            again = await table.provider.observe(ref, seen, wake)
        assert again.state in (State.running, State.succeeded)
        await table.provider.cancel(ref)

    async def test_two_observers_see_the_same_end(self, table: Table) -> None:
        ref = await table.submit(Sample.quick)
        first, second = await asyncio.gather(table.end(ref), table.end(ref))
        assert first.state is second.state is State.succeeded
        assert first.outputs == second.outputs
        assert (await table.end(ref)).outputs == first.outputs

    async def test_a_failing_run_fails_with_words_for_a_person(self, table: Table) -> None:
        self._needs(Sample.failing)
        end = await table.end(await table.submit(Sample.failing))
        assert end.state is State.failed
        assert end.error is not None
        told = json.dumps(end.error.as_json())
        assert "Traceback" not in told
        assert 'File \\"' not in told
        assert end.error.code is Code.provider_failed

    # Canceling

    async def test_cancel_while_it_runs(self, table: Table) -> None:
        self._needs(Sample.slow)
        if table.provider.capabilities.cancel != "running":
            pytest.skip("a run cannot be stopped")
        key = uuid4()
        ref = await table.submit(Sample.slow, key)
        await table.until(ref, State.running)
        canceled = await table.provider.cancel(ref)
        assert canceled.reached
        assert canceled.was_running is True
        end = await table.end(ref)
        assert end.state is State.canceled, end
        assert (await table.provider.cancel(ref)).reached
        assert table.bench.runs(key) in (None, 1)

    async def test_cancel_while_it_waits(self, table: Table) -> None:
        self._needs(Sample.slow)
        if table.provider.capabilities.cancel == "no":
            pytest.skip("it cannot cancel")
        first = await table.submit(Sample.slow)
        await table.until(first, State.running)
        key = uuid4()
        second = await table.submit(Sample.slow, key)
        canceled = await table.provider.cancel(second)
        assert canceled.reached
        assert canceled.was_running is False
        assert (await table.end(second)).state is State.canceled
        assert table.bench.runs(key) in (None, 0)
        assert (await table.end(first)).state is State.succeeded

    async def test_cancel_after_the_end_does_no_harm(self, table: Table) -> None:
        ref = await table.submit(Sample.quick)
        end = await table.end(ref)
        assert not (await table.provider.cancel(ref)).reached
        assert (await table.end(ref)).state is end.state is State.succeeded

    # Other processes

    async def test_find_knows_what_was_submitted(self, table: Table) -> None:
        if not table.provider.capabilities.finds:
            pytest.skip("it cannot find")
        key = uuid4()
        ref = await table.submit(Sample.quick, key)
        assert await table.provider.find(key) is not None
        first = await table.end(ref)
        other = table.bench.provider()
        found = await other.find(key)
        assert found is not None
        assert (await table.end(found, other)).outputs == first.outputs
        assert await other.find(uuid4()) is None

    async def test_another_process_goes_on_observing(self, table: Table) -> None:
        self._needs(Sample.slow)
        key = uuid4()
        ref = json.loads(json.dumps(await table.submit(Sample.slow, key)))
        await table.until(ref, State.running)
        other = table.bench.provider()
        end = await table.end(ref, other)
        assert end.state is State.succeeded, end
        assert await read(other, end.outputs[0])
        assert table.bench.runs(key) in (None, 1)

    # Troubles

    async def test_a_lost_answer_is_not_a_lost_submission(self, table: Table) -> None:
        self._needs(Trouble.lost_answer)
        key = uuid4()
        await table.compile(Sample.quick)
        await table.bench.provoke(Trouble.lost_answer)
        end = await table.end(await table.submit(Sample.quick, key))
        assert end.state is State.succeeded
        assert table.bench.runs(key) in (None, 1)

    async def test_broken_events_cost_nothing(self, table: Table) -> None:
        self._needs(Sample.slow, Trouble.broken_events)
        ref = await table.submit(Sample.slow)
        await table.until(ref, State.running)
        await table.bench.provoke(Trouble.broken_events)
        assert (await table.end(ref)).state is State.succeeded

    async def test_a_restart_loses_the_run_and_says_so(self, table: Table) -> None:
        self._needs(Sample.slow, Trouble.restart)
        ref = await table.submit(Sample.slow)
        await table.until(ref, State.running)
        await table.bench.provoke(Trouble.restart)
        end = await table.end(ref)
        assert end.state is State.lost
        assert end.error is not None
        assert end.error.code is Code.provider_lost
        assert (await table.end(await table.submit(Sample.quick))).state is State.succeeded

    async def test_a_file_that_is_gone_is_a_lost_output(self, table: Table) -> None:
        self._needs(Trouble.missing_output)
        await table.bench.provoke(Trouble.missing_output)
        end = await table.end(await table.submit(Sample.quick))
        with pytest.raises(GenyardError) as gone:
            await read(table.provider, end.outputs[0])
        assert gone.value.code is Code.provider_lost_output

    async def test_a_dead_place_is_told_as_such(self, table: Table) -> None:
        self._needs(Trouble.dead)
        plan = await table.compile(Sample.quick)
        ref = await table.submit(Sample.quick)
        seen = await table.end(ref)
        await table.bench.provoke(Trouble.dead)
        health = await table.provider.check()
        assert not health.reachable
        assert health.error is not None
        assert health.error.code is Code.provider_unreachable
        with pytest.raises(GenyardError) as refused:
            await table.provider.submit(plan, uuid4(), {})
        assert refused.value.code is Code.provider_unreachable
        with pytest.raises(GenyardError) as fetched:
            await read(table.provider, seen.outputs[0])
        assert fetched.value.code is Code.provider_unreachable
