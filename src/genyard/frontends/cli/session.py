"""What a command works with. Light to import: `genyard --help` goes through it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import typer

from genyard.errors import Code, GenyardError
from genyard.frontends.cli.composition import Composition, Load, Product

if TYPE_CHECKING:
    from genyard.jobs.model import Asset, Job
    from genyard.settings import Settings

_RECENT: Final = 1000
#: Shorter beginnings would fit every job of the last days.
_SHORTEST: Final = 4


@dataclass(frozen=True, kw_only=True)
class Session:
    """What a command works with. `options` are the parsed ones, by name."""

    composition: Composition[Any]
    settings: Settings
    options: dict[str, Any]

    def open(self) -> AbstractAsyncContextManager[Product]:
        return self.composition.build(self.settings)

    @property
    def as_json(self) -> bool:
        return bool(self.options.get("json"))


Work = Callable[[Session], Awaitable[int | None]]


def perform(context: typer.Context, work: Work) -> None:
    """Reads the settings, runs `work`, ends the command with the status that it returns."""
    import asyncio

    from genyard.telemetry import bind_trace, new_trace_id

    load: Load = context.obj
    composition = load()
    bind_trace(new_trace_id())
    settings = composition.load_settings()
    composition.setup_logging(settings)
    session = Session(composition=composition, settings=settings, options=dict(context.params))
    raise typer.Exit(asyncio.run(_run(work, session)) or 0)


async def _run(work: Work, session: Session) -> int | None:
    return await work(session)


async def find_job(product: Product, text: str, **whose: UUID) -> Job:
    """By the whole id, or by an end or a beginning of it that fits one recent job only. `whose`: owner_id, if it is
    not this machine's own."""
    wanted = _as_uuid(text)
    if wanted is None:
        jobs = await product.studio.jobs(limit=_RECENT, **whose)
        wanted = _only([job.id for job in jobs], text, "job")
    return await product.studio.get(wanted, **whose)


async def find_asset(product: Product, text: str) -> Asset:
    whole = _as_uuid(text)
    if whole is not None:
        return await product.studio.asset(whole)
    assets = await product.studio.assets(limit=_RECENT)
    return await product.studio.asset(_only([asset.id for asset in assets], text, "asset"))


def short(identity: UUID) -> str:
    """The end of an id: its beginning is the time, which neighbours share."""
    return str(identity)[-8:]


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _only(identities: list[UUID], text: str, what: str) -> UUID:
    wanted = text.lower().lstrip("…")
    fitting = [one for one in identities if str(one).endswith(wanted) or str(one).startswith(wanted)]
    if len(wanted) < _SHORTEST or not fitting:
        hint = "" if len(wanted) >= _SHORTEST else f"; give at least {_SHORTEST} characters"
        raise GenyardError(Code.not_found, f"no {what} {text!r} among the latest {_RECENT}{hint}", field="ID")
    if len(fitting) > 1:
        shown = ", ".join(short(one) for one in fitting[:5])
        raise GenyardError(
            Code.request_invalid,
            f"{text!r} fits {len(fitting)} {what}s: {shown}; give more of it",
            field="ID",
        )
    return fitting[0]
