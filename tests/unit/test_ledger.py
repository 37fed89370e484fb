"""The books on a real PostgreSQL: whatever is done in whatever order, they balance, and nobody falls below zero."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.types.json import Jsonb

from conftest import MakeSettings
from genyard.database import Database, open_database
from genyard.errors import Code, GenyardError
from genyard.ledger import Balance, Ledger, Opening
from genyard.ledger.prices import PriceList, StepToPrice
from genyard.settings import CreditSettings, PriceRow

T = TypeVar("T")


@pytest.fixture
async def database(make_settings: MakeSettings) -> Any:
    async with open_database(make_settings(), pool_size=24) as database:
        yield database


async def new_owner(database: Database) -> UUID:
    owner = uuid4()
    await database.execute(
        "INSERT INTO owners (id, name) VALUES (%(id)s, %(name)s)", id=owner, name=str(owner)
    )
    return owner


def terms(*steps: dict[str, Any], unfinished: str = "free") -> dict[str, Any]:
    one = {"step": "step1", "role": "image", "credits": 1, "per": "output", "count": 1, "keep": True}
    return {"unfinished": unfinished, "steps": [{**one, **step} for step in steps or ({},)]}


async def insert_job(database: Database, owner: UUID, credits: int, told: dict[str, Any]) -> UUID:
    job = uuid4()
    await database.execute(
        "INSERT INTO jobs (id, owner_id, state, request, operation, trace_id, credits, credit_terms) "
        "VALUES (%(id)s, %(owner)s, 'queued', '[]', 'txt2img', 't', %(credits)s, %(terms)s)",
        id=job, owner=owner, credits=credits, terms=Jsonb(told),
    )  # fmt: skip
    return job


async def deliver(
    database: Database, owner: UUID, job: UUID, step: str, count: int, role: str = "image"
) -> None:
    await database.execute("INSERT INTO blobs VALUES ('x', 'x', 1, 'image/png') ON CONFLICT DO NOTHING")
    for position in range(count):
        await database.execute(
            "INSERT INTO assets (id, owner_id, sha256, role, job_id, step, position) "
            "VALUES (gen_random_uuid(), %(owner)s, 'x', %(role)s, %(job)s, %(step)s, %(position)s)",
            owner=owner, role=role, job=job, step=step, position=position,
        )  # fmt: skip


async def end(database: Database, job: UUID, state: str) -> None:
    await database.execute("UPDATE jobs SET state = %(state)s WHERE id = %(id)s", state=state, id=job)


# ---- properties ----


@dataclass
class JobModel:
    owner: UUID
    price: int
    each: int
    count: int
    unfinished: str
    open: bool = True
    there: bool = True
    delivered: int = 0
    charged: int = 0
    refunded: int = 0


@dataclass
class Books:
    available: dict[UUID, int] = field(default_factory=dict)
    jobs: dict[UUID, JobModel] = field(default_factory=dict)
    given: list[tuple[UUID, Any, int, str]] = field(default_factory=list)
    opened: dict[str, tuple[UUID, int]] = field(default_factory=dict)

    def reserved(self, owner: UUID) -> int:
        return sum(job.price for job in self.jobs.values() if job.owner == owner and job.open)


def machine_on(database: Database, run: Any) -> type[RuleBasedStateMachine]:
    ledger = Ledger(database)
    owner_numbers, small = st.integers(0, 1), st.integers(0, 12)

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.owners = [run(new_owner(database)) for _ in range(2)]
            self.books = Books(available=dict.fromkeys(self.owners, 0))

        def pick(self, number: int, **wanted: Any) -> UUID | None:
            fitting = [
                job
                for job, one in self.books.jobs.items()
                if all(getattr(one, name) == value for name, value in wanted.items())
            ]
            return fitting[number % len(fitting)] if fitting else None

        @rule(
            number=owner_numbers,
            kind=st.sampled_from(["grant", "purchase", "bonus"]),
            amount=st.integers(1, 20),
        )
        def give(self, number: int, kind: Any, amount: int) -> None:
            owner, key = self.owners[number], str(uuid4())
            moved = run(ledger.give(owner, kind, amount, actor="test", key=key))
            assert not moved.replayed
            self.books.available[owner] += amount
            self.books.given.append((owner, kind, amount, key))

        @rule(number=owner_numbers, amount=st.integers(-15, 15).filter(bool))
        def correct(self, number: int, amount: int) -> None:
            owner = self.owners[number]
            enough = self.books.available[owner] + amount >= 0
            try:
                run(ledger.give(owner, "correction", amount, reason="a mistake", actor="test"))
            except GenyardError as refused:
                assert refused.code is Code.credits_insufficient
                assert not enough
            else:
                assert enough
                self.books.available[owner] += amount

        @precondition(lambda self: self.books.given)
        @rule(number=small)
        def give_again(self, number: int) -> None:
            owner, kind, amount, key = self.books.given[number % len(self.books.given)]
            assert run(ledger.give(owner, kind, amount, actor="test", key=key)).replayed
            with pytest.raises(GenyardError) as refused:
                run(ledger.give(owner, kind, amount + 1, actor="test", key=key))
            assert refused.value.code is Code.request_conflict

        @rule(rows=st.lists(st.tuples(owner_numbers, st.integers(0, 3), st.integers(0, 9)), max_size=4))
        def open(self, rows: list[tuple[int, int, int]]) -> None:
            """A file of balances: all of it or nothing; what was in before is known by its key."""
            told = [(self.owners[number], f"{id(self)} {key}", amount) for number, key, amount in rows]
            known, sound = dict(self.books.opened), True
            for owner, key, amount in sorted(told, key=lambda row: str(row[0])):
                if amount:
                    sound = sound and known.setdefault(key, (owner, amount)) == (owner, amount)
            given = [Opening(owner=str(owner), credits=amount, key=key) for owner, key, amount in told]
            try:
                run(ledger.open(given, actor="test"))
            except GenyardError as refused:
                assert refused.code is Code.request_conflict
                assert not sound
                return
            assert sound
            for key in known.keys() - self.books.opened.keys():
                owner, amount = known[key]
                self.books.available[owner] += amount
            self.books.opened = known

        @rule(
            number=owner_numbers, each=st.integers(0, 4), count=st.integers(1, 4),
            unfinished=st.sampled_from(["free", "delivered"]),
        )  # fmt: skip
        def submit(self, number: int, each: int, count: int, unfinished: str) -> None:
            owner, price = self.owners[number], each * count
            told = terms({"credits": each, "count": count}, unfinished=unfinished)
            enough = self.books.available[owner] >= price
            try:
                job = run(insert_job(database, owner, price, told))
            except psycopg.Error as refused:
                assert refused.sqlstate == "GY002"
                assert not enough
                return
            assert enough
            self.books.available[owner] -= price
            self.books.jobs[job] = JobModel(
                owner=owner, price=price, each=each, count=count, unfinished=unfinished
            )

        @rule(number=small, count=st.integers(1, 5))
        def outputs_come(self, number: int, count: int) -> None:
            job = self.pick(number, open=True, delivered=0)
            if job is not None:
                run(deliver(database, self.books.jobs[job].owner, job, "step1", count))
                self.books.jobs[job].delivered = count

        @rule(number=small)
        def outputs_are_deleted(self, number: int) -> None:
            job = self.pick(number, there=True)
            if job is not None:
                run(database.execute("DELETE FROM assets WHERE job_id = %(id)s", id=job))

        @rule(number=small, state=st.sampled_from(["succeeded", "failed", "canceled", "expired"]))
        def the_job_ends(self, number: int, state: str) -> None:
            job = self.pick(number, open=True)
            if job is None:
                return
            run(end(database, job, state))
            one = self.books.jobs[job]
            pays = state == "succeeded" or one.unfinished == "delivered"
            one.open, one.charged = False, one.each * min(one.count, one.delivered) if pays else 0
            self.books.available[one.owner] += one.price - one.charged

        @rule(number=small)
        def the_job_is_deleted(self, number: int) -> None:
            job = self.pick(number, there=True)
            if job is None:
                return
            run(database.execute("DELETE FROM jobs WHERE id = %(id)s", id=job))
            one = self.books.jobs[job]
            if one.open:
                self.books.available[one.owner] += one.price
            one.open = one.there = False

        @rule(number=small, amount=st.none() | st.integers(1, 8))
        def refund(self, number: int, amount: int | None) -> None:
            job = self.pick(number)
            if job is None:
                return
            one = self.books.jobs[job]
            left = one.charged - one.refunded
            try:
                moved = run(ledger.refund(job, amount, actor="test")).movement
            except GenyardError as refused:
                assert refused.code is Code.request_conflict
                assert left == 0 or (amount is not None and amount > left)
            else:
                assert moved.amount == (left if amount is None else amount) <= left
                one.refunded += moved.amount
                self.books.available[one.owner] += moved.amount

        @invariant()
        def balances_are_as_expected(self) -> None:
            for owner in self.owners:
                expected = Balance(available=self.books.available[owner], reserved=self.books.reserved(owner))
                assert run(ledger.balance(owner)) == expected

        def teardown(self) -> None:
            report = run(ledger.reconcile())
            assert report.balanced, report.problems
            for owner in self.owners:
                told = run(ledger.statement(owner, limit=1000))
                assert sum(one.change for one in told) == self.books.available[owner]
                assert not told or told[0].balance == self.books.available[owner]
                assert not told or told[-1].balance == told[-1].change
                assert all(one.balance is not None and one.balance >= 0 for one in told)
                half = told[len(told) // 2 - 1].id if len(told) > 1 else None
                assert run(ledger.statement(owner, before=half, limit=1000)) == told[len(told) // 2 :]

    return Machine


@pytest.mark.parametrize("examples", [12, pytest.param(500, marks=pytest.mark.long)])
async def test_whatever_is_done_the_books_balance(make_settings: MakeSettings, examples: int) -> None:
    """Hypothesis is synchronous: it has a thread and an event loop of its own."""

    def work() -> None:
        with asyncio.Runner() as runner:
            opened = open_database(make_settings(), pool_size=4)
            database = runner.run(opened.__aenter__())

            def run(work: Coroutine[Any, Any, T]) -> T:
                return runner.run(work)

            try:
                run_state_machine_as_test(
                    machine_on(database, run),
                    settings=settings(
                        max_examples=examples,
                        stateful_step_count=40,
                        deadline=None,
                        database=None,
                        derandomize=examples < 100,
                        suppress_health_check=list(HealthCheck),
                    ),
                )
            finally:
                runner.run(opened.__aexit__(None, None, None))

    await asyncio.to_thread(work)


# ---- at once ----


async def test_the_first_gifts_of_an_owner_may_come_at_once(database: Database) -> None:
    ledger, owner = Ledger(database), await new_owner(database)
    await asyncio.gather(*(ledger.give(owner, "grant", 2, actor="test") for _ in range(40)))
    assert await ledger.balance(owner) == Balance(available=80)


async def test_the_same_gift_at_once_is_given_once(database: Database) -> None:
    ledger, owner = Ledger(database), await new_owner(database)
    moved = await asyncio.gather(
        *(ledger.give(owner, "purchase", 9, actor="t", key="bill 7") for _ in range(20))
    )
    assert sorted(one.replayed for one in moved) == [False] + [True] * 19
    assert len({one.movement.id for one in moved}) == 1
    assert await ledger.balance(owner) == Balance(available=9)


async def test_refunds_at_once_never_give_back_more_than_was_charged(database: Database) -> None:
    ledger, owner = Ledger(database), await new_owner(database)
    await ledger.give(owner, "grant", 10, actor="test")
    job = await insert_job(database, owner, 10, terms({"credits": 10}))
    await deliver(database, owner, job, "step1", 1)
    await end(database, job, "succeeded")
    assert await ledger.balance(owner) == Balance()
    told = await asyncio.gather(
        *(ledger.refund(job, 3, actor="t") for _ in range(20)), return_exceptions=True
    )
    refused = [one for one in told if isinstance(one, GenyardError)]
    assert len(refused) == 17
    assert {one.code for one in refused} == {Code.request_conflict}
    assert await ledger.balance(owner) == Balance(available=9)
    await asyncio.gather(*(ledger.refund(job, actor="t", key="the rest") for _ in range(5)))
    assert await ledger.balance(owner) == Balance(available=10)


async def test_jobs_that_end_at_once_settle_each_once(database: Database) -> None:
    """Of several owners, in one statement and in many."""
    ledger = Ledger(database)
    owners = [await new_owner(database) for _ in range(4)]
    for owner in owners:
        await ledger.give(owner, "grant", 100, actor="test")
    jobs = [await insert_job(database, owner, 2, terms({"credits": 2})) for owner in owners * 10]
    canceling = "UPDATE jobs SET state = 'canceled' WHERE state = 'queued'"
    await asyncio.gather(
        *(database.execute(canceling) for _ in range(8)),
        *(database.execute(f"{canceling} AND id = %(id)s", id=job) for job in jobs),
    )
    assert {await ledger.balance(owner) for owner in owners} == {Balance(available=100)}
    assert (await ledger.reconcile()).balanced


# ---- what is refused, and what is left behind ----


async def test_a_connection_that_breaks_leaves_nothing_half(database: Database) -> None:
    ledger, owner = Ledger(database), await new_owner(database)
    await ledger.give(owner, "grant", 5, actor="test")
    job = await insert_job(database, owner, 5, terms({"credits": 5}))
    await deliver(database, owner, job, "step1", 1)
    for sql in (
        f"UPDATE jobs SET state = 'succeeded' WHERE id = '{job}'; SET CONSTRAINTS ALL IMMEDIATE",
        f"DELETE FROM jobs WHERE id = '{job}'; SET CONSTRAINTS ALL IMMEDIATE",
        "INSERT INTO movements (owner_id, kind, source, target, amount, actor, key) "
        f"VALUES ('{owner}', 'grant', 'grants', 'available', 50, 'test', 'half')",
    ):
        broken = await database.connect()
        await broken.execute("BEGIN")
        for part in sql.split("; "):
            await broken.execute(part)  # type: ignore[call-overload]
        await database.execute("SELECT pg_terminate_backend(%(pid)s)", pid=broken.info.backend_pid)
        with pytest.raises(psycopg.OperationalError):
            await broken.execute("COMMIT")
        await broken.close()
        assert await ledger.balance(owner) == Balance(reserved=5)
        assert (await ledger.reconcile()).balanced
    await end(database, job, "succeeded")
    assert [one.kind for one in await ledger.statement(owner)] == ["settle", "reserve", "grant"]


@pytest.mark.parametrize("rounds", [3, pytest.param(60, marks=pytest.mark.long)])
async def test_whatever_comes_at_the_same_moment_the_books_balance(database: Database, rounds: int) -> None:
    """Submissions, ends, deletions, gifts, corrections, refunds and files of balances, all at once; some of those who
    come break off in the middle."""
    draw, ledger = random.Random(rounds), Ledger(database)
    owners = [await new_owner(database) for _ in range(3)]
    for owner in owners:
        await ledger.give(owner, "grant", 12, actor="test")
    jobs: list[UUID] = []

    async def submit(owner: UUID) -> None:
        jobs.append(
            await insert_job(database, owner, 4, terms({"credits": 2, "count": 2}, unfinished="delivered"))
        )

    async def break_off(sql: str) -> None:
        broken = await database.connect()
        await broken.execute("BEGIN")
        await broken.execute(sql)  # type: ignore[call-overload]
        await broken.close()

    for number in range(rounds):
        rows = [Opening(owner=str(owner), credits=3, key=f"{number} {owner}") for owner in owners]
        steps: list[Coroutine[Any, Any, Any]] = [submit(draw.choice(owners)) for _ in range(8)]
        for job in draw.sample(jobs, min(8, len(jobs))):
            state = draw.choice(["succeeded", "failed", "canceled"])
            steps += [
                end_open(database, job, state),
                end_open(database, job, "canceled"),
                ledger.refund(job, actor="t"),
            ]
            steps.append(ledger.refund(job, 1, actor="t", key=f"{job}"))
            steps.append(
                break_off(f"UPDATE jobs SET state = 'failed' WHERE id = '{job}' AND state = 'queued'")
            )
            steps.append(deliver_one(database, job))
        steps += [ledger.open(rows, actor="test"), ledger.open(rows[::-1], actor="test")]
        steps += [
            ledger.give(draw.choice(owners), "correction", -5, reason="taken", actor="t") for _ in range(3)
        ]
        if len(jobs) > 4:
            steps.append(database.execute("DELETE FROM jobs WHERE id = %(id)s", id=draw.choice(jobs)))
        draw.shuffle(steps)
        told = await asyncio.gather(*steps, return_exceptions=True)
        for one in told:
            if isinstance(one, psycopg.Error):
                # too poor; an output of a job that was just deleted
                assert one.sqlstate in ("GY002", "23503"), one
            elif isinstance(one, BaseException):
                assert isinstance(one, GenyardError), one
                assert one.code in (Code.request_conflict, Code.credits_insufficient)
        report = await ledger.reconcile()
        assert report.balanced, report.problems
        for owner in owners:
            balance, told_of = await ledger.balance(owner), await ledger.statement(owner, limit=10_000)
            assert balance.available == sum(one.change for one in told_of) >= 0
            assert all(one.balance is not None and one.balance >= 0 for one in told_of)


async def test_who_has_to_wait_is_numbered_after_whom_it_waited_for(database: Database) -> None:
    """A statement adds up by number: the other way round it would show less than nothing in between."""
    ledger, owner = Ledger(database), await new_owner(database)
    await ledger.give(owner, "grant", 5, actor="test")
    async with database.transaction() as first:
        await first.execute("SELECT FROM balances WHERE owner_id = %s FOR UPDATE", (owner,))
        second = asyncio.create_task(ledger.give(owner, "correction", -10, reason="taken", actor="test"))
        while not await database.row(
            "SELECT true FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            assert not second.done()
        await first.execute(
            "INSERT INTO movements (owner_id, kind, source, target, amount, actor, key) "
            "VALUES (%s, 'grant', 'grants', 'available', 10, 'test', 'the first')",
            (owner,),
        )
    await second
    assert [(one.kind, one.balance) for one in await ledger.statement(owner)] == [
        ("correction", 5),
        ("grant", 15),
        ("grant", 5),
    ]


async def end_open(database: Database, job: UUID, state: str) -> None:
    await database.execute(
        "UPDATE jobs SET state = %(state)s WHERE id = %(id)s AND state = 'queued'", state=state, id=job
    )


async def deliver_one(database: Database, job: UUID) -> None:
    await database.execute("INSERT INTO blobs VALUES ('x', 'x', 1, 'image/png') ON CONFLICT DO NOTHING")
    await database.execute(
        "INSERT INTO assets (id, owner_id, sha256, role, job_id, step, position) "
        "SELECT gen_random_uuid(), owner_id, 'x', 'image', id, 'step1', 0 FROM jobs WHERE id = %(id)s "
        "ON CONFLICT DO NOTHING",
        id=job,
    )


async def test_what_was_never_charged_is_not_refunded(database: Database) -> None:
    ledger, owner = Ledger(database), await new_owner(database)
    await ledger.give(owner, "grant", 5, actor="test")
    job = await insert_job(database, owner, 5, terms({"credits": 5}))
    for unpaid in (job, uuid4()):
        with pytest.raises(GenyardError, match="charged nothing") as refused:
            await ledger.refund(unpaid, actor="test")
        assert refused.value.code is Code.request_conflict
    assert await ledger.balance(owner) == Balance(reserved=5)


@pytest.mark.parametrize(
    "sql", ["UPDATE movements SET amount = 1", "DELETE FROM movements", "TRUNCATE movements"]
)
async def test_the_books_are_never_rewritten(database: Database, sql: str) -> None:
    ledger, owner = Ledger(database), await new_owner(database)
    await ledger.give(owner, "grant", 5, actor="test")
    with pytest.raises(psycopg.Error, match="never changed"):
        await database.execute(sql)
    assert len(await ledger.statement(owner)) == 1


@pytest.mark.parametrize(
    ("kind", "credits", "reason", "named"),
    [
        ("grant", 0, "", "credits"),
        ("grant", -5, "", "credits"),
        ("purchase", 10**12, "", "credits"),
        ("purchase", 2.5, "", "credits"),
        ("grant", True, "", "credits"),
        ("correction", -1, " ", "reason"),
        ("correction", 0, "why", "credits"),
        ("grant", 1, "x" * 501, "reason"),
        ("grant", 1, "\x00", "reason"),
    ],
)
async def test_gifts_that_cannot_be(
    database: Database, kind: Any, credits: Any, reason: str, named: str
) -> None:
    owner = await new_owner(database)
    with pytest.raises(GenyardError) as refused:
        await Ledger(database).give(owner, kind, credits, reason=reason, actor="test")
    assert (refused.value.code, refused.value.field) == (Code.request_invalid, named)
    assert await Ledger(database).statement(owner) == ()


async def test_opening_balances_come_in_once_or_not_at_all(database: Database) -> None:
    ledger = Ledger(database)
    rows = [Opening(owner="zoe", credits=7, key="1"), Opening(owner="abe", credits=0, key="2")]
    assert [one and one.replayed for one in await ledger.open(rows, actor="test")] == [False, None]
    rows.append(Opening(owner="max", credits=3, key="3"))
    assert [one and one.replayed for one in await ledger.open(rows, actor="test")] == [True, None, False]
    assert await ledger.balance(await ledger.owner_named("zoe")) == Balance(available=7)
    assert await ledger.balance(await ledger.owner_named("abe")) == Balance()
    wrong = [Opening(owner="new", credits=1, key="4"), Opening(owner="zoe", credits=8, key="1")]
    with pytest.raises(GenyardError) as refused:
        await ledger.open(wrong, actor="test")
    assert refused.value.code is Code.request_conflict
    with pytest.raises(GenyardError, match="no owner"):
        await ledger.owner_named("new")


async def test_what_does_not_add_up_is_found(database: Database) -> None:
    """Made by hand, around every trigger."""
    ledger, owner = Ledger(database), await new_owner(database)
    await ledger.give(owner, "grant", 100, actor="test")
    held, unheld, fine = [await insert_job(database, owner, 5, terms({"credits": 5})) for _ in range(3)]
    assert (await ledger.reconcile()).balanced
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("UPDATE jobs SET state = 'failed' WHERE id = %s", (held,))
        await connection.execute("DELETE FROM movements WHERE job_id = %s", (unheld,))
        await connection.execute("UPDATE balances SET available = available + 1")
    report = await ledger.reconcile()
    assert not report.balanced
    assert {(one["problem"], one.get("job_id")) for one in report.problems} == {
        ("balance that is not the sum of its movements", None),
        ("reservation without an open job", held),
        ("job without movements", unheld),
    }
    assert fine not in {one.get("job_id") for one in report.problems}


# ---- partial delivery, by the terms of the job ----

KEPT, HIDDEN = {"step": "step2", "credits": 2}, {"step": "step1", "credits": 3, "keep": False}


@pytest.mark.parametrize(
    ("steps", "unfinished", "delivered", "state", "charged"),
    [
        ([{"credits": 2, "count": 4}], "free", {"step1": 3}, "succeeded", 6),
        ([{"credits": 2, "count": 4}], "free", {"step1": 6}, "succeeded", 8),
        ([{"credits": 2, "count": 4}], "free", {}, "succeeded", 0),
        ([{"credits": 2, "count": 4, "per": "request"}], "free", {"step1": 3}, "succeeded", 2),
        ([{"credits": 2, "count": 4, "per": "request"}], "free", {}, "succeeded", 0),
        ([{"credits": 2, "count": 4, "role": "layer"}], "free", {"step1": 3}, "succeeded", 0),
        ([{"credits": 2, "count": 4, "role": None}], "free", {"step1": 3}, "succeeded", 6),
        ([HIDDEN, KEPT], "free", {"step2": 1}, "succeeded", 5),
        ([{**HIDDEN, "count": 4}, {**KEPT, "count": 4}], "free", {"step2": 3}, "succeeded", 15),
        ([{"credits": 4}, KEPT], "free", {"step1": 1}, "failed", 0),
        ([{"credits": 4}, KEPT], "delivered", {"step1": 1}, "failed", 4),
        ([{"credits": 4}, KEPT], "delivered", {"step1": 1}, "canceled", 4),
        ([HIDDEN, KEPT], "delivered", {}, "failed", 0),
    ],
)
async def test_a_job_pays_for_what_it_delivered(
    database: Database, steps: list[Any], unfinished: str, delivered: dict[str, int], state: str, charged: int
) -> None:
    ledger, owner = Ledger(database), await new_owner(database)
    await ledger.give(owner, "grant", 30, actor="test")
    job = await insert_job(database, owner, 30, terms(*steps, unfinished=unfinished))
    for step, count in delivered.items():
        await deliver(database, owner, job, step, count)
    await end(database, job, state)
    assert await ledger.balance(owner) == Balance(available=30 - charged)


# ---- the price list ----


def prices(*rows: dict[str, Any]) -> PriceList:
    return PriceList(CreditSettings(enabled=True, prices=tuple(PriceRow(**row) for row in rows)))


def drawing(name: str = "step1", operation: str = "txt2img", **step: Any) -> StepToPrice:
    return StepToPrice(**{"name": name, "operation": operation, "model": "sdxl", "parameters": {}, **step})


@pytest.fixture
def rows() -> Iterator[PriceList]:
    yield prices(
        {"operation": "*", "credits": 1},
        {"operation": "txt2img", "credits": 2},
        {"operation": "txt2img", "credits": 3, "tier": "pro"},
        {"operation": "txt2img", "credits": 4, "model": "sdxl"},
        {"operation": "txt2img", "credits": 5, "model": "sdxl", "tier": "pro"},
        {"operation": "decompose_layers", "credits": 7, "per": "request"},
    )


@pytest.mark.parametrize(
    ("step", "tier", "credits"),
    [
        (drawing(), "standard", 4),
        (drawing(), "pro", 5),
        (drawing(model="flux.1-dev"), "standard", 2),
        (drawing(model="flux.1-dev"), "pro", 3),
        (drawing(parameters={"count": 4}), "standard", 16),
        (drawing(operation="remove_background"), "pro", 1),
        (drawing(operation="decompose_layers", parameters={"layers": 6}), "pro", 7),
    ],
)
def test_the_row_that_says_most_wins(rows: PriceList, step: StepToPrice, tier: str, credits: int) -> None:
    assert rows.price([step], tier).credits == credits


def test_steps_that_feed_on_several_pictures_make_as_many(rows: PriceList) -> None:
    first = drawing(parameters={"count": 3}, keep=False)
    second = drawing("step2", "remove_background", sources=("step1",))
    priced = rows.price([first, second], "standard")
    assert priced.credits == 3 * 4 + 3 * 1
    assert [(one["count"], one["keep"]) for one in priced.terms["steps"]] == [(3, False), (3, True)]
