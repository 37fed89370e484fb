"""The command line. It translates to `Studio` and back; importing it costs little more than typer itself.

    run(load)   `load` gives the composition root's functions (see `composition`)

Everything heavy is imported inside the commands.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer

from genyard.errors import Code, GenyardError
from genyard.frontends.cli.composition import Composition, Load, Product
from genyard.frontends.cli.exits import EXIT_STATUS, INTERRUPTED, complain, describe, print_json
from genyard.frontends.cli.table import COMMANDS
from genyard.storable import require_text

__all__ = ["EXIT_STATUS", "Composition", "Load", "Product", "build_cli", "run"]


def build_cli(wanted: str | None = None) -> typer.Typer:
    """The whole command line where `wanted` is one of its commands; else its table of contents."""
    app = typer.Typer(
        name="genyard", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    app.callback(help="Pictures and videos from words, wherever the work is done.")(_main)
    if wanted is not None and wanted in COMMANDS:
        import_module(f"{__name__}.{COMMANDS[wanted][0]}").add_to(app)
        return app
    for name, (_, summary) in COMMANDS.items():
        app.command(name=name, help=summary)(_contents)
    return app


def _contents() -> None:
    """Never called: whoever names a command gets the command itself."""


def run(load: Load, arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and ends the process with its status; errors are told in the CLI's own way."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_guarded(load, given))


def _guarded(load: Load, given: list[str]) -> int:
    wanted = next((word for word in given if not word.startswith("-")), None)
    try:
        _require_words(given)
        status: Any = build_cli(wanted)(
            args=given or ["--help"], obj=load, standalone_mode=False, prog_name="genyard"
        )
        return status if isinstance(status, int) else 0
    except GenyardError as error:
        return _told(error, given)
    except typer.TyperException as misuse:
        return _told(_misuse(misuse), given)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as defect:  # noqa: BLE001 (the last place that can say it in words)
        if _is_of_the_database(defect):
            gone = (
                f"genyard's database broke off: {str(defect).strip()}; the same command may work in a moment"
            )
            return _told(GenyardError(Code.storage_failed, gone), given)
        import traceback

        traceback.print_exc()
        return _told(GenyardError(Code.internal, f"{type(defect).__name__}: {defect}"), given)


def _is_of_the_database(defect: Exception) -> bool:
    """An outage, but most commands never load psycopg."""
    if "psycopg" not in sys.modules:
        return False
    from genyard.database import OUTAGES

    return isinstance(defect, OUTAGES)


def _require_words(given: list[str]) -> None:
    for word in given:
        try:
            require_text(word)
        except ValueError as wrong:
            raise GenyardError(
                Code.request_invalid, f"{word!a} is not text in UTF-8; write it, or name the file, in UTF-8"
            ) from wrong


def _told(error: GenyardError, given: list[str]) -> int:
    telemetry = sys.modules.get("genyard.telemetry")
    trace_id = telemetry.current_trace() if telemetry else None
    if "--json" in given:
        print_json(describe(error, trace_id))
    complain(error, trace_id)
    return EXIT_STATUS[error.code]


def _misuse(misuse: typer.TyperException) -> GenyardError:
    """An unknown option or a missing argument, in the same form as every other wrong request."""
    context = getattr(misuse, "ctx", None)
    command = context.command_path if context is not None else "genyard"
    message = misuse.format_message().rstrip(".")
    return GenyardError(Code.request_invalid, f"{message} (see `{command} --help`)")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"genyard {version('genyard')}")
        raise typer.Exit


def _main(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Its options; the commands do the rest."""
