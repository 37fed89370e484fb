"""What the commands need from the composition root, which this room may not import: it is handed in.

Nothing here costs time to import: `genyard --help` goes through it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from genyard.jobs.store import Jobs
    from genyard.jobs.worker import Worker
    from genyard.owners import Owners
    from genyard.settings import Settings
    from genyard.studio import Studio


class Product(Protocol):
    """An open product; `app.Product` is one."""

    @property
    def settings(self) -> Settings: ...
    @property
    def studio(self) -> Studio: ...
    @property
    def owners(self) -> Owners: ...
    @property
    def jobs(self) -> Jobs: ...
    @property
    def worker(self) -> Worker: ...


P = TypeVar("P", bound=Product)


@dataclass(frozen=True, kw_only=True)
class Composition(Generic[P]):
    """The composition root's functions.

    build    opens database, storage and places for as long as the block lasts
    working  runs a worker in this process for as long as the block lasts
    serve    the HTTP API and its page: (product, host, port, up). Calls `up` with the address once it answers,
             returns after SIGINT or SIGTERM, raises `settings.invalid` where it cannot listen
    """

    load_settings: Callable[[], Settings]
    setup_logging: Callable[[Settings], None]
    build: Callable[[Settings], AbstractAsyncContextManager[P]]
    working: Callable[[P], AbstractAsyncContextManager[None]]
    serve: Callable[[P, str, int, Callable[[str], None]], Coroutine[Any, Any, None]]


#: Called by the first command that needs it, so that `--help` pays nothing for the rest of genyard.
Load = Callable[[], Composition[Any]]
