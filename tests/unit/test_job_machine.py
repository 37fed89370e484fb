"""The life of jobs on a real PostgreSQL: whatever callers, several workers and sweeps do in whatever order, and whoever
dies, freezes or wakes too late in between, the states, the attempts, the turns and the money fit each other.

One step is one statement of `jobs.store`; what a statement does when others come at the same moment is shown where that
statement is tested, and by `test_at_the_same_moment` here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import MakeSettings
from genyard.app import Product, build
from genyard.database import Connection
from genyard.errors import Code, GenyardError
from genyard.jobs.assets import NewOutput
from genyard.jobs.model import ATTEMPT_TRANSITIONS, JOB_TRANSITIONS, STAGE_TRANSITIONS, AttemptState, JobState
from genyard.jobs.records import Claim, Given, Outcome
from genyard.settings import CreditSettings, PriceRow, Settings, TierSettings
from genyard.storage import Blob
from support.scripted import ScriptedProvider

T = TypeVar("T")

CAPACITY: Final = 3
AT_ONCE: Final = 2
PRICE: Final = 2
DRAW: Final[dict[str, Any]] = {
    "operation": "txt2img",
    "parameters": {"prompt": "a fox", "width": 64, "height": 64},
}
#: Two stages: the place fuses nothing.
TWO: Final[dict[str, Any]] = {
    "steps": [
        {**DRAW, "name": "draw"},
        {"name": "cut", "operation": "remove_background", "inputs": {"image": "step:draw"}},
    ]
}
FAILED: Final = Outcome(state=AttemptState.failed, error=GenyardError(Code.provider_failed, "no"))
CANCELED: Final = Outcome(state=AttemptState.canceled, error=GenyardError(Code.canceled, "canceled"))
DETACHED: Final = Outcome(state=AttemptState.detached, error=GenyardError(Code.canceled, "it goes on"))
DONE: Final = Outcome(state=AttemptState.succeeded)

#: Everything that a stale writer must not change, as one value.
ALL: Final = """
SELECT (SELECT coalesce(jsonb_object_agg(id, jsonb_build_array(state, event_seq, error)), '{}') FROM jobs) AS jobs,
       (SELECT coalesce(jsonb_object_agg(id, jsonb_build_array(
            job_id, owner_id, state, epoch, worker_id, reserved_usd, position)), '{}') FROM stages) AS stages,
       (SELECT coalesce(jsonb_object_agg(id, jsonb_build_array(stage_id, state, ref, finished_at, number)), '{}')
        FROM attempts) AS attempts,
       (SELECT coalesce(jsonb_object_agg(job_id, kinds), '{}') FROM (
            SELECT job_id, jsonb_agg(kind ORDER BY seq) AS kinds FROM events GROUP BY job_id) e) AS events,
       (SELECT coalesce(jsonb_object_agg(owner_id, jsonb_build_array(available, reserved)), '{}') FROM balances)
            AS balances,
       (SELECT count(*) FROM assets) AS assets,
       (SELECT coalesce(jsonb_agg(args ORDER BY id), '[]') FROM procrastinate_jobs WHERE status = 'todo') AS handed
"""
State = Mapping[str, Any]


def reaches(table: Mapping[Any, frozenset[Any]], before: str, after: str) -> bool:
    """In any number of steps."""
    known = {str(one): {str(other) for other in others} for one, others in table.items()}
    seen, ahead = {before}, [before]
    while ahead:
        for one in known[ahead.pop()] - seen:
            seen.add(one)
            ahead.append(one)
    return after in seen


@dataclass
class Hand:
    """A worker: a row, and the lock that says that it lives."""

    id: int
    lock: Connection
    dead: bool = False


@dataclass
class Held:
    """A claim that some worker believes to have."""

    claim: Claim
    worker_id: int
    detached: bool = False


def shop(make_settings: MakeSettings) -> Settings:
    changes: dict[str, Any] = {
        "credits": CreditSettings(enabled=True, prices=(PriceRow(operation="*", credits=PRICE),)),
        "tiers": {"standard": TierSettings(at_once=AT_ONCE, queue=6)},
    }
    settings = make_settings(IMAGE_GENERATION_PROVIDER="comfyui", COMFYUI_ENDPOINT="http://place")
    only = settings.endpoints["comfyui"].model_copy(
        update={"daily_cap_usd": 1000.0, "assumed_usd": 0.5, "concurrency": CAPACITY}
    )
    return settings.model_copy(update={"endpoints": {"comfyui": only}, **changes})


class Yard:
    """The steps, each with what must come of it."""

    def __init__(self, product: Product) -> None:
        self.product, self.jobs, self.database = product, product.jobs, product.jobs.database
        self.owners: list[UUID] = []
        self.mine: dict[UUID, UUID] = {}
        self.hands: list[Hand] = []
        self.held: list[Held] = []
        self.before: State = {}

    async def begin(self) -> None:
        for _ in range(2):
            name = str(uuid4())
            await self.product.owners.create_key(name)
            owner = await self.product.studio.ledger.owner_named(name)
            await self.product.studio.ledger.give(owner, "grant", 40, actor="test")
            self.owners.append(owner)
        for _ in range(2):
            await self.another_worker()
        self.before = await self.look()
        for number in range(3):
            await self.submit(number % 2, number == 1, None, 0)

    async def another_worker(self) -> None:
        number = await self.jobs.register_worker(str(uuid4()))
        lock = await self.database.connect()
        await lock.execute("SELECT pg_advisory_lock(7264, %s)", (number,))
        self.hands.append(Hand(id=number, lock=lock))

    async def look(self) -> State:
        found = await self.database.row(ALL)
        assert found is not None
        return found

    async def job_state(self, job: UUID) -> str | None:
        row = await self.database.row("SELECT state FROM jobs WHERE id = %(id)s", id=job)
        return row["state"] if row else None

    async def in_force(self, held: Held) -> bool:
        row = await self.database.row(
            "SELECT 1 FROM stages s WHERE id = %(id)s AND epoch = %(epoch)s AND (state = 'running' OR %(detached)s AND "
            "EXISTS (SELECT FROM attempts a WHERE a.stage_id = s.id AND a.state = 'detached' AND finished_at IS NULL))",
            id=held.claim.stage_id, epoch=held.claim.epoch, detached=held.detached,
        )  # fmt: skip
        return row is not None

    # ---- what callers do ----

    async def submit(self, owner: int, two: bool, expires_in: float | None, priority: int) -> None:
        body = {**(TWO if two else DRAW), "priority": priority, "expires_in": expires_in}
        owner_id = self.owners[owner]
        balance = await self.product.studio.balance(owner_id=owner_id)
        row = await self.database.row(
            "SELECT count(*) AS n FROM jobs WHERE owner_id = %(o)s AND state = 'queued'", o=owner_id
        )
        assert row is not None
        try:
            job = (await self.product.studio.submit(body, owner_id=owner_id)).job
        except GenyardError as refused:
            short = balance.available < PRICE * (1 + two)
            expected = {Code.credits_insufficient} if short else set()
            assert refused.code in expected | ({Code.limit_exceeded} if row["n"] >= 6 else set())
        else:
            assert row["n"] < 6
            self.mine[job.id] = owner_id

    async def cancel(self, job: UUID) -> None:
        before = await self.job_state(job)
        told = await self.jobs.cancel(job, self.mine[job])
        assert told is not None
        was, now = told
        assert was == before
        on_its_way = {"canceling", "canceled"}
        expected = {"queued": {"canceled"}, "running": on_its_way, "canceling": on_its_way}
        assert now in expected.get(was, {was})

    async def delete(self, job: UUID) -> None:
        ended = JobState(await self.job_state(job) or "queued").ended
        try:
            await self.jobs.delete(job, self.mine[job])
        except GenyardError as refused:
            assert refused.code is Code.request_conflict
            assert not ended
        else:
            assert ended
            del self.mine[job]

    # ---- what workers do ----

    async def claim(self, hand: Hand, number: int, repeat: bool) -> None:
        rows = await self.database.rows(
            "SELECT id, args FROM procrastinate_jobs WHERE status = 'todo' ORDER BY id"
        )
        if not rows:
            return
        row = rows[number % len(rows)]
        if not repeat:
            await self.database.execute("DELETE FROM procrastinate_jobs WHERE id = %(id)s", id=row["id"])
        stage, epoch = UUID(row["args"]["stage_id"]), row["args"]["epoch"]
        claim = await self.jobs.claim(stage, epoch, hand.id, uuid4())
        if claim is not None:
            self.held.append(Held(claim=claim, worker_id=hand.id))
            return
        detached = await self.jobs.claim_detached(stage, epoch, hand.id)
        if detached is not None:
            self.held.append(Held(claim=detached, worker_id=hand.id, detached=True))

    async def work(self, hand: Hand, number: int, repeat: bool, path: tuple[str, ...]) -> None:
        """Claims, and goes a part of the way."""
        known = len(self.held)
        await self.claim(hand, number, repeat)
        for held in self.held[known:]:
            for what in path:
                if await self.sensible(held, what):
                    await self.write(held, what)

    async def write(self, held: Held, what: str, seconds: float = 0.0, outputs: int = 1) -> None:
        """What a runner writes. One that has lost its stage changes nothing, and is told so."""
        claim, mine = held.claim, await self.in_force(held)
        before, state = await self.look(), await self.job_state(claim.job_id)
        told = await self._written(held, what, seconds, outputs)
        if not mine:
            assert not told
            assert await self.look() == before
            return
        after = await self.job_state(claim.job_id)
        if what == "finish":
            assert told
            last = {"running": {"succeeded", "running"}, "canceling": {"canceled"}}
            assert after in last.get(str(state), {state})
        elif what in ("fail", "cancel", "detach", "expire"):
            assert told or JobState(str(state)).ended
            assert after in ({"canceled"} if state == "canceling" else {"failed", "canceled", "expired"}) | {
                state
            }
        elif what == "retry":
            assert bool(told) == (state == "running")
            assert after == state

    async def _written(self, held: Held, what: str, seconds: float, outputs: int) -> Any:
        claim, jobs = held.claim, self.jobs
        if held.detached:
            if what != "finish":
                return None
            told = await jobs.finish_detached(claim, [], DETACHED)
            return None if told is None else True
        if what == "ref":
            return await jobs.record_ref(claim, {"id": str(claim.key)}, durable=True) if claim.key else None
        if what == "progress":
            return await jobs.record_progress(
                claim, progress=0.5, detail="half", preview_key=None, told="{}", ran=None
            )
        if what == "finish":
            return await jobs.finish_stage(claim, made(outputs), DONE)
        if what == "retry":
            return await jobs.retry_stage(claim, FAILED, seconds_until=seconds, detail="again")
        ends = {
            "fail": (JobState.failed, FAILED),
            "cancel": (JobState.canceled, CANCELED),
            "expire": (JobState.expired, CANCELED),
            "detach": (JobState.canceled, DETACHED),
        }
        return await jobs.end_job(claim, *ends[what])

    async def sensible(self, held: Held, what: str) -> bool:
        """What a runner would do: it detaches, ends as canceled, or as expired, only what is."""
        row = await self.database.row(
            "SELECT j.state, (SELECT state FROM attempts a WHERE a.stage_id = s.id ORDER BY number DESC LIMIT 1) "
            "AS tried FROM jobs j JOIN stages s ON s.job_id = j.id WHERE s.id = %(id)s",
            id=held.claim.stage_id,
        )
        if row is None:
            return True
        fresh = held.claim.key is None
        if what == "detach":
            return bool(row["state"] == "canceling" and row["tried"] == "running" and not fresh)
        if what == "expire":
            return held.claim.expired
        if what == "cancel":
            return bool(fresh and not held.claim.expired) or row["state"] == "canceling"
        if held.claim.expired or fresh:
            return what in ("fail",)
        return what != "finish" or bool(row["tried"] == "running")

    async def hand_on(self, held: Held) -> None:
        claim = held.claim
        given = Given(stage_id=claim.stage_id, epoch=claim.epoch, worker_id=held.worker_id, unsent=None)
        await self.jobs.hand_on([given])

    # ---- what happens to workers ----

    async def die(self, hand: Hand) -> None:
        await hand.lock.close()
        hand.dead = True
        self.hands.remove(hand)
        await self.another_worker()

    async def freeze(self, hand: Hand) -> None:
        await self.database.execute(
            "UPDATE workers SET beat_at = now() - interval '30 seconds' WHERE id = %(id)s", id=hand.id
        )

    async def thaw(self, hand: Hand) -> None:
        await self.jobs.beat(hand.lock, hand.id, "thawed")

    async def sweep(self) -> None:
        await self.jobs.sweep(10.0)

    async def time_passes(self) -> None:
        """For what was handed out and never taken, and for retries."""
        await self.database.execute(
            "UPDATE stages SET dispatched_at = dispatched_at - interval '20 seconds', "
            "not_before = not_before - interval '20 seconds' WHERE state IN ('ready', 'running')"
        )

    async def lose_what_was_handed(self) -> None:
        await self.database.execute("DELETE FROM procrastinate_jobs")

    # ---- what holds ----

    async def check(self) -> None:
        now = await self.look()
        self._moves(now)
        stages = now["stages"].values()
        running = [one for one in stages if one[2] == "running"]
        assert len(running) <= CAPACITY
        for owner in self.owners:
            assert sum(one[1] == str(owner) for one in running) <= AT_ONCE
            mine = [job for job, whose in self.mine.items() if whose == owner]
            held = [job for job in mine if not JobState(now["jobs"][str(job)][0]).ended]
            row = await self.database.row(
                "SELECT coalesce(sum(credits), 0) AS n FROM jobs WHERE id = ANY(%(ids)s)", ids=held
            )
            assert row is not None
            assert now["balances"][str(owner)][1] == row["n"]
        open_by_stage: dict[str, int] = {}
        for stage, state, *_ in now["attempts"].values():
            if state in ("submitting", "running"):
                open_by_stage[stage] = open_by_stage.get(stage, 0) + 1
                assert now["stages"][stage][2] == "running"
        assert all(count == 1 for count in open_by_stage.values())
        for job, (state, seq, error) in now["jobs"].items():
            self._job(now, job, state, seq, error)
        self.before = now

    def _moves(self, now: State) -> None:
        for name, table, at in (
            ("jobs", JOB_TRANSITIONS, 0),
            ("stages", STAGE_TRANSITIONS, 2),
            ("attempts", ATTEMPT_TRANSITIONS, 1),
        ):
            for key, row in self.before[name].items():
                if key in now[name]:
                    assert reaches(table, row[at], now[name][key][at]), (name, row[at], now[name][key][at])

    def _job(self, now: State, job: str, state: str, seq: int, error: Any) -> None:
        kinds = now["events"][job]
        assert len(kinds) == seq
        assert kinds[0] == "queued"
        ends = [kind for kind in kinds if kind in JobState.__members__ and JobState(kind).ended]
        assert ends == ([state] if JobState(state).ended else [])
        assert (
            kinds.count("running") == (0 if state in ("queued", "expired") else kinds.count("running")) <= 1
        )
        assert kinds.count("canceling") <= 1
        if ends:
            assert kinds[-1] == state
            assert (error is None) == (state == "succeeded")
        of_job = [one[2] for one in now["stages"].values() if one[0] == job]
        if state == "succeeded":
            assert set(of_job) == {"succeeded"}
        if JobState(state).ended:
            assert not {"waiting", "ready"} & set(of_job)

    async def drain(self) -> None:
        """One worker that does everything right: everybody's job ends."""
        for hand in self.hands:
            await hand.lock.close()
        await self.another_worker()
        last = self.hands[-1]
        for _ in range(200):
            await self.time_passes()
            await self.jobs.beat(last.lock, last.id, "last")
            await self.database.execute("UPDATE stages SET not_before = NULL")
            await self.jobs.sweep(10.0)
            self.held.clear()
            await self.claim(last, 0, repeat=False)
            for held in self.held:
                await self._through(held)
            if not await self._anything_open():
                break
        else:
            raise AssertionError(f"never ends: {await self.look()}")
        await last.lock.close()
        await self.check()
        report = await self.product.studio.ledger.reconcile()
        assert report.balanced, report.problems
        told = await self.product.studio.spending()
        row = await self.database.row("SELECT coalesce(sum(usd), 0)::float AS usd FROM spending")
        assert row is not None
        assert [one.usd for one in told] == [pytest.approx(row["usd"])]
        for job, owner in list(self.mine.items()):
            await self.jobs.delete(job, owner)

    async def _through(self, held: Held) -> None:
        for what in ("finish",) if held.detached else ("expire", "cancel", "ref", "finish"):
            if await self.in_force(held) and await self.sensible(held, what):
                await self.write(held, what)

    async def _anything_open(self) -> bool:
        row = await self.database.row(
            "SELECT 1 FROM jobs WHERE state IN ('queued', 'running', 'canceling') UNION ALL "
            "SELECT 1 FROM stages WHERE state IN ('waiting', 'ready', 'running') UNION ALL "
            "SELECT 1 FROM attempts WHERE finished_at IS NULL LIMIT 1"
        )
        return row is not None


def made(count: int) -> list[NewOutput]:
    return [
        NewOutput(
            blob=Blob(sha256="x", object="x", bytes=1, media_type="image/png"),
            role="image", step=f"s{uuid4().hex}", position=number, name="x.png", width=1, height=1, seconds=None,
            facts={}, delivered=True,
        )
        for number in range(count)
    ]  # fmt: skip


def steps() -> st.SearchStrategy[tuple[str, tuple[Any, ...]]]:
    """What happens, and to which of those that are there; what happens often stands there often."""
    small, two = st.integers(0, 11), st.integers(0, 1)
    paths = st.sampled_from(
        [(), ("ref",), ("ref",), ("ref", "finish"), ("ref", "finish"), ("ref", "retry"), ("retry",), ("fail",),
         ("ref", "progress", "fail"), ("cancel",), ("expire",)]
    )  # fmt: skip
    anything = st.sampled_from(["ref", "progress", "finish", "fail", "retry", "cancel", "detach", "expire"])

    arguments: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
        "submit": (two, st.booleans(), st.sampled_from([None, None, None, 1e-6]), st.sampled_from([0, 0, 5])),
        "work": (two, small, st.sampled_from([False, False, False, True]), paths),
        "write": (small, anything, st.sampled_from([0.0, 10.0]), st.integers(0, 2)),
        **dict.fromkeys(("cancel", "delete", "hand_on"), (small,)),
        **dict.fromkeys(("die", "freeze", "thaw"), (two,)),
        **dict.fromkeys(("sweep", "time_passes", "lose_what_was_handed"), ()),
    }
    how_often = {"work": 10, "write": 5, "submit": 4, "cancel": 2, "sweep": 2}
    names = [name for name in arguments for _ in range(how_often.get(name, 1))]
    return st.sampled_from(names).flatmap(lambda name: st.tuples(st.just(name), st.tuples(*arguments[name])))


async def perform(yard: Yard, name: str, arguments: tuple[Any, ...]) -> None:
    jobs, held = list(yard.mine), yard.held
    if name in ("cancel", "delete"):
        if jobs:
            await getattr(yard, name)(jobs[arguments[0] % len(jobs)])
    elif name == "work":
        await yard.work(yard.hands[arguments[0]], *arguments[1:])
    elif name in ("die", "freeze", "thaw"):
        await getattr(yard, name)(yard.hands[arguments[0]])
    elif name in ("write", "hand_on"):
        if not held:
            return
        one = held[arguments[0] % len(held)]
        if name == "hand_on":
            await yard.hand_on(one)
        elif await yard.sensible(one, arguments[1]):
            await yard.write(one, *arguments[1:])
    else:
        await getattr(yard, name)(*arguments)


@pytest.mark.parametrize(
    ("examples", "least"), [(4, 25), pytest.param(400, 40, marks=pytest.mark.long)], ids=["few", "many"]
)
async def test_whatever_happens_every_job_ends_once(
    make_settings: MakeSettings, examples: int, least: int
) -> None:
    """Hypothesis is synchronous: it has a thread and an event loop of its own."""

    async def life(product: Product, chosen: list[tuple[str, tuple[Any, ...]]]) -> None:
        yard = Yard(product)
        await yard.begin()
        try:
            for name, arguments in chosen:
                await perform(yard, name, arguments)
                await yard.check()
        finally:
            await yard.drain()

    def work() -> None:
        with asyncio.Runner() as runner:
            opened = build(
                shop(make_settings), providers={"comfyui": lambda *_: ScriptedProvider(kind="comfyui")}
            )
            product = runner.run(opened.__aenter__())

            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                derandomize=examples < 100,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            )
            @given(chosen=st.lists(steps(), min_size=least, max_size=least + 20))
            def lives(chosen: list[tuple[str, tuple[Any, ...]]]) -> None:
                runner.run(life(product, chosen))

            try:
                lives()
            finally:
                runner.run(opened.__aexit__(None, None, None))

    await asyncio.to_thread(work)


@pytest.mark.parametrize(
    ("rounds", "seed"), [(6, 1), *(pytest.param(150, seed, marks=pytest.mark.long) for seed in range(3))]
)
async def test_at_the_same_moment(make_settings: MakeSettings, rounds: int, seed: int) -> None:
    """The same steps, several at once, nobody waiting for anybody: who wins is open, that one wins is not."""
    draw = random.Random(seed)
    providers = {"comfyui": lambda *_: ScriptedProvider(kind="comfyui")}
    async with build(shop(make_settings), providers=providers) as product:
        yard = Yard(product)
        await yard.begin()
        for _ in range(rounds):
            for owner in (0, 1):
                await yard.submit(owner, draw.random() < 0.5, None, 0)
            await yard.jobs.sweep(10.0)
            for hand in yard.hands:
                await yard.claim(hand, draw.randrange(4), repeat=False)
            steps: list[Awaitable[Any]] = [yard.jobs.sweep(10.0), yard.jobs.sweep(10.0)]
            for held in yard.held[-6:]:
                chosen = draw.sample(["ref", "finish", "fail", "retry"], 2)
                steps += [yard._written(held, what, 0.0, 1) for what in chosen]
            some = draw.sample(list(yard.mine), min(2, len(yard.mine)))
            steps += [yard.jobs.cancel(job, yard.mine[job]) for job in some]
            if draw.random() < 0.5:
                steps.append(yard.freeze(draw.choice(yard.hands)))
            draw.shuffle(steps)
            await asyncio.gather(*steps)
            await yard.check()
            for hand in yard.hands:
                await yard.jobs.beat(hand.lock, hand.id, "hand")
        await yard.drain()
