"""`genyard try ENDPOINT`: one cheap real request per operation at a place, with pictures and a report.

`samples` says what is asked, `running` asks it, `report` tells what came of it.
"""

from __future__ import annotations

from typing import Annotated

import typer

import genyard.frontends.cli.options as o
from genyard.frontends.cli.session import perform
from genyard.frontends.cli.table import summary


def add_to(app: typer.Typer) -> None:
    app.command(name="try", help=summary("try"))(try_command)


def try_command(
    context: typer.Context,
    endpoint: Annotated[
        str, typer.Argument(metavar="ENDPOINT", help="As `genyard doctor` names it.", show_default=False)
    ],
    operations: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[OPERATION]...",
            help="txt2img, img2img, … [default: all that it serves]",
            show_default=False,
        ),
    ] = None,
    model: o.Model = None,
    max_usd: Annotated[
        float, typer.Option("--max-usd", min=0, metavar="USD", help="Ask before spending more than this.")
    ] = 0.50,
    yes: o.Yes = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Pictures and report.json. [default: out/try-ENDPOINT]"
        ),
    ] = None,
    json: o.Json = False,
) -> None:
    from genyard.frontends.cli.trying.running import try_endpoint

    perform(context, try_endpoint)
