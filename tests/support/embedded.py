"""Embedded PostgreSQLs of the tests' own, and the folders in which they can live."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from genyard.database._embedded import EmbeddedServer

#: As root, PostgreSQL runs as another user and must be able to reach its data.
_ROOT_FOLDER = Path("/var/lib/genyard-tests")


@contextlib.contextmanager
def fresh_folder() -> Iterator[Path]:
    base = None
    if os.geteuid() == 0:
        _ROOT_FOLDER.mkdir(exist_ok=True)
        base = _ROOT_FOLDER
    folder = Path(tempfile.mkdtemp(dir=base, prefix="genyard-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def embedded_server() -> AsyncIterator[tuple[EmbeddedServer, Path]]:
    """A running one of its own, and the folder that it lives in."""
    with fresh_folder() as folder:
        server = await EmbeddedServer.start(folder)
        try:
            yield server, folder
        finally:
            await server.release()
