"""The pool survives tasks that are canceled at any moment."""

from __future__ import annotations

import asyncio
import random

import psycopg
import pytest

from conftest import MakeSettings
from genyard.database import open_database
from genyard.errors import Code, GenyardError


async def test_canceled_tasks_lose_no_connection(make_settings: MakeSettings) -> None:
    async with open_database(make_settings(), pool_size=8) as database:

        async def asked_and_canceled() -> None:
            task = asyncio.create_task(database.row("SELECT pg_sleep(0.002)"))
            await asyncio.sleep(random.random() * 0.006)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        for _ in range(15):
            await asyncio.gather(*(asked_and_canceled() for _ in range(40)))
        await asyncio.sleep(0.5)
        stats = database.pool.get_stats()
        assert stats["pool_available"] == stats["pool_size"]


async def test_a_server_that_compiles_statements_compiles_none_of_ours(make_settings: MakeSettings) -> None:
    """PostgreSQL's own default is on; the one that comes with genyard has it off."""
    settings = make_settings()
    assert settings.database_url is not None
    async with await psycopg.AsyncConnection.connect(settings.database_url.get_secret_value()) as admin:
        await admin.execute(f"ALTER DATABASE {admin.info.dbname} SET jit TO on")  # type: ignore[call-overload]
    async with open_database(settings, pool_size=2) as database:
        assert await database.row("SHOW jit") == {"jit": "off"}
    async with await psycopg.AsyncConnection.connect(settings.database_url.get_secret_value()) as admin:
        await admin.execute(f"ALTER DATABASE {admin.info.dbname} RESET jit")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "postgresql://u:hush",
        "postgresql://u:hush@hush@localhost/x",
        "postgresql://u:hush/hush@localhost/x",
        "postgresql://u:hush?hush@localhost/x",
        "host=localhost password=hush hush",
        "postgresql://u:hush@localhost:port/x",
    ],
)
async def test_an_address_that_cannot_be_read_names_its_variable_and_not_the_password(
    url: str, make_settings: MakeSettings
) -> None:
    with pytest.raises(GenyardError) as caught:
        async with open_database(make_settings(DATABASE_URL=url)):
            pass
    assert (caught.value.code, caught.value.field) == (Code.settings_invalid, "DATABASE_URL")
    assert "hush" not in str(caught.value)


async def test_a_server_that_does_not_answer_names_the_variable(make_settings: MakeSettings) -> None:
    url = "postgresql://u:hush%40x@127.0.0.1:1/x?connect_timeout=2"
    with pytest.raises(GenyardError, match="does not answer") as caught:
        async with open_database(make_settings(DATABASE_URL=url)):
            pass
    assert caught.value.field == "DATABASE_URL"
    assert "hush" not in str(caught.value)


async def test_a_database_that_cannot_hold_every_letter_is_refused(
    make_settings: MakeSettings, postgres: str
) -> None:
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as admin:
        await admin.execute(
            "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
        )
        try:
            url = postgres.replace("/postgres?", "/ascii?")
            with pytest.raises(GenyardError, match="encoding is SQL_ASCII") as caught:
                async with open_database(make_settings(DATABASE_URL=url)):
                    pass
        finally:
            await admin.execute("DROP DATABASE ascii WITH (FORCE)")
    assert caught.value.field == "DATABASE_URL"
