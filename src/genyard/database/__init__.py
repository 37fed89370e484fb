"""PostgreSQL: the embedded server or the one of DATABASE_URL, the pool, migrations, named queries.

What the tables mean is documented in `migrations/*.sql` and in the stores that own the queries.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from genyard.database._clock import Clock
from genyard.database._embedded import EmbeddedServer
from genyard.database._migrate import applied, migrate, shipped
from genyard.errors import Code, GenyardError
from genyard.settings import Settings

Connection = psycopg.AsyncConnection[dict[str, Any]]
Row = dict[str, Any]

OLDEST_SERVER = 150000

#: A pool that tries for longer to come back tries ever more rarely, in the end every few minutes. One that gives up
#: begins anew with whoever asks next.
RECONNECT_SECONDS: Final = 2.0

#: The database does not answer, or takes nothing: a standby, a full disk, rights that were taken away. Whoever can wait
#: tries again.
OUTAGES: Final = (
    psycopg.OperationalError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.InsufficientPrivilege,
)

__all__ = [
    "OUTAGES",
    "RECONNECT_SECONDS",
    "Connection",
    "Database",
    "Row",
    "applied",
    "load_queries",
    "migrate",
    "open_database",
    "open_server",
    "server_at",
    "setting_of",
    "shipped",
]


class Database:
    """An open pool. `transaction()` gives a connection whose work commits or is undone as a whole."""

    def __init__(self, pool: AsyncConnectionPool[Connection], url: str, clock: Clock | None = None) -> None:
        self.pool = pool
        self.url = url
        self.clock = clock or Clock()
        self._giving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One of the pool's. A task that is canceled while it asks the pool, or gives back, would lose a connection
        for good (psycopg_pool 3.3, `tests/unit/test_database.py`): both go on by themselves."""
        taking = asyncio.ensure_future(self.pool.getconn())
        try:
            connection = await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(self._give_back_unused)
            raise
        try:
            yield connection
        finally:
            await asyncio.shield(self._give_back(connection))

    def _give_back_unused(self, taking: asyncio.Future[Connection]) -> None:
        if not taking.cancelled() and taking.exception() is None:
            self._give_back(taking.result())

    def _give_back(self, connection: Connection) -> asyncio.Task[None]:
        task = asyncio.ensure_future(self.pool.putconn(connection))
        self._giving.add(task)
        task.add_done_callback(self._giving.discard)
        return task

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def rows(self, sql: str, **values: Any) -> list[Row]:
        """One statement in a transaction of its own."""
        async with self.connection() as connection:
            return await (await connection.execute(sql, values)).fetchall()

    async def row(self, sql: str, **values: Any) -> Row | None:
        async with self.connection() as connection:
            return await (await connection.execute(sql, values)).fetchone()

    async def execute(self, sql: str, **values: Any) -> int:
        """The number of rows that it touched."""
        async with self.connection() as connection:
            return (await connection.execute(sql, values)).rowcount

    async def connect(self) -> Connection:
        """A connection outside the pool, in autocommit: for LISTEN and for session-level locks."""
        connection: Connection = await psycopg.AsyncConnection.connect(
            self.url, autocommit=True, row_factory=dict_row
        )
        return connection


@asynccontextmanager
async def open_database(settings: Settings, *, pool_size: int = 24) -> AsyncIterator[Database]:
    """Starts or adopts the embedded server where no DATABASE_URL is set, migrates, opens the pool."""
    async with open_server(settings) as url:
        async with server_at(url, settings) as connection:
            await migrate(connection, setting_of(settings))
            clock = await _clock_of(connection)
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=pool_size,
            open=False,
            kwargs={"row_factory": dict_row},
            configure=_configure,
            connection_class=psycopg.AsyncConnection[dict[str, Any]],
            timeout=60,
            reconnect_timeout=RECONNECT_SECONDS,
        )
        async with pool:
            yield Database(pool, url, clock)


@asynccontextmanager
async def open_server(settings: Settings) -> AsyncIterator[str]:
    """The address of the server of DATABASE_URL, else of the embedded one, which is up while the block lasts."""
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        _require_readable(url)
        yield url
        return
    server = await EmbeddedServer.start(settings.data)
    try:
        yield server.url
    finally:
        await server.release()


@asynccontextmanager
async def server_at(url: str, settings: Settings) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection in autocommit, before anything is known of what is there. `settings.invalid` where nobody answers,
    or one that is too old."""
    setting = setting_of(settings)
    try:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            _require_version(connection.info.server_version, setting)
            _require_unicode(connection.info.parameter_status("server_encoding"), setting)
            yield connection
    except psycopg.OperationalError as down:
        raise GenyardError(
            Code.settings_invalid, f"{setting}: PostgreSQL does not answer: {down}", field=setting
        ) from down


async def _clock_of(connection: psycopg.AsyncConnection[Any]) -> Clock:
    clock = Clock()
    cursor = await connection.execute("SELECT extract(epoch FROM clock_timestamp())::float")
    for (now,) in await cursor.fetchall():
        clock.learn(now)
    return clock


def setting_of(settings: Settings) -> str:
    """Which setting says where the database is."""
    return "GENYARD_DATA" if settings.database_url is None else "DATABASE_URL"


def _require_readable(url: str) -> None:
    """`settings.invalid` for what PostgreSQL cannot read, or reads as something else than was meant: it would repeat
    parts of the password in its own message."""
    try:
        port = str(conninfo_to_dict(url).get("port") or "")
    except psycopg.ProgrammingError:
        port = "unknown"
    authority, _, path = url.partition("://")[2].partition("?")[0].partition("/")
    misread = authority.count("@") > 1 or "@" in path
    if misread or not all(one.isdecimal() for one in port.split(",") if one):
        raise GenyardError(
            Code.settings_invalid,
            "DATABASE_URL: this is not an address such as postgresql://user:password@host:5432/database; write "
            "@ : / ? # in a user's name or password as %40 %3A %2F %3F %23",
            field="DATABASE_URL",
        )


async def _configure(connection: Connection) -> None:
    """Single statements commit by themselves; `Database.transaction` is for more than one. Times are told in UTC,
    wherever the database is. Nothing is compiled: all statements are short, and `genyard_dispatch` forbids scans by a
    price at which a server would compile every one of them, for a third of a second each."""
    await connection.set_autocommit(True)
    await connection.execute("SET timezone TO 'UTC'")
    await connection.execute("SET jit TO off")


def _require_version(version: int, setting: str) -> None:
    if version < OLDEST_SERVER:
        raise GenyardError(
            Code.settings_invalid,
            f"{setting}: PostgreSQL {version // 10000} is too old; genyard needs 15 or newer",
            field=setting,
        )


def _require_unicode(encoding: str | None, setting: str) -> None:
    if encoding != "UTF8":
        raise GenyardError(
            Code.settings_invalid,
            f"{setting}: the database's encoding is {encoding}; make one with CREATE DATABASE … ENCODING 'UTF8' "
            "TEMPLATE template0",
            field=setting,
        )


def load_queries(package: str) -> Callable[[str], str]:
    """The statements of a package's `queries.sql`: a function from a name to its text.

    In the file, a statement follows a line `-- name: the_name`; other comments stay with it.
    """
    text = (resources.files(package) / "queries.sql").read_text()
    queries: dict[str, str] = {}
    for part in text.split("-- name: ")[1:]:
        name, _, sql = part.partition("\n")
        queries[name.strip()] = sql.strip().rstrip(";")
    return queries.__getitem__
