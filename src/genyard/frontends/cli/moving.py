"""Commands on the database as a whole: db export, db import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import genyard.frontends.cli.options as o
from genyard.frontends.cli.exits import print_json
from genyard.frontends.cli.session import Session, perform
from genyard.frontends.cli.table import summary

db_app = typer.Typer(help=summary("db"), no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", show_default=False)]


def add_to(app: typer.Typer) -> None:
    app.add_typer(db_app, name="db")


@db_app.command()
def export(
    context: typer.Context,
    file: File,
    with_files: Annotated[
        bool, typer.Option("--with-files", help="The bytes of pictures and videos, too.")
    ] = False,
    json: o.Json = False,
) -> None:
    """Write everything that the database holds into a new file, while work goes on."""
    perform(context, _export)


@db_app.command(name="import")
def import_(context: typer.Context, file: File, json: o.Json = False) -> None:
    """Put such a file into an empty database: that of DATABASE_URL, or a new data folder (GENYARD_DATA)."""
    perform(context, _import)


async def _export(session: Session) -> None:
    from genyard.database import open_database
    from genyard.storage import open_storage
    from genyard.transfer import export

    file: Path = session.options["file"]
    storage = open_storage(session.settings) if session.options["with_files"] else None
    async with open_database(session.settings, pool_size=2) as database:
        manifest = await export(database, file, storage=storage)
    if session.as_json:
        print_json(
            {
                "file": str(file),
                "tables": dict(manifest.tables),
                "rows": manifest.rows,
                "files": manifest.files,
                "file_bytes": manifest.file_bytes,
                "missing": list(manifest.missing),
            }
        )
        return
    jobs, assets = manifest.tables["jobs"], manifest.tables["assets"]
    typer.echo(f"{file}: {manifest.rows} rows, of {jobs} jobs and {assets} assets")
    if storage is None:
        typer.echo("without the bytes of pictures and videos; --with-files takes them along", err=True)
    else:
        typer.echo(f"{manifest.files} files, {manifest.file_bytes / 2**20:.1f} MiB")
    for name in manifest.missing:
        typer.echo(f"missing in the store: {name}", err=True)
    typer.echo(
        "keep it like a password: it holds the key that signs links and secrets of callbacks", err=True
    )


async def _import(session: Session) -> int:
    from genyard.storage import open_storage
    from genyard.transfer import load

    file: Path = session.options["file"]
    manifest = await load(session.settings, file, storage=open_storage(session.settings))
    async with session.open() as product:
        report = await product.studio.ledger.reconcile()
    if session.as_json:
        print_json(
            {"file": str(file), "rows": manifest.rows, "files": manifest.files, "balanced": report.balanced}
        )
    else:
        typer.echo(f"{manifest.rows} rows and {manifest.files} files are there; all counts are as they were")
        books = (
            "the books balance"
            if report.balanced
            else "THE BOOKS DO NOT BALANCE: `genyard credits reconcile`"
        )
        typer.echo(books, err=not report.balanced)
    return 0 if report.balanced else 1
