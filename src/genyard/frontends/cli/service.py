"""Commands that stay: serve and worker. What they do is in `staying`."""

from __future__ import annotations

from typing import Annotated

import typer

from genyard.frontends.cli.session import perform
from genyard.frontends.cli.table import summary


def add_to(app: typer.Typer) -> None:
    app.command(name="serve", help=summary("serve"))(serve_command)
    app.command(name="worker", help=summary("worker"))(worker_command)


def serve_command(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Where to listen. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="[default: 8000]")] = None,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Leave the work to `genyard worker`.")
    ] = False,
) -> None:
    from genyard.frontends.cli.staying import serve

    perform(context, serve)


def worker_command(context: typer.Context) -> None:
    from genyard.frontends.cli.staying import work

    perform(context, work)
