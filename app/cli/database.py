"""`gateway db`: the schema."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from app.storage.database import Database

cli = typer.Typer(help="Upgrade and inspect the database's schema.", no_args_is_help=True)
Result = TypeVar("Result")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@cli.command()
def upgrade(as_json: Json = False) -> None:
    """Bring the schema to the version that this program needs. Safe to repeat, and at several places at once."""
    from contextlib import nullcontext

    from app.storage import schema
    from app.storage.process_lock import only_process

    async def work(database: Database) -> str | None:
        with only_process(database.path) if database.is_sqlite else nullcontext():
            await schema.upgrade(database)
            return await schema.current(database)

    _tell(as_json, current=_with_database(work))


@cli.command()
def current(as_json: Json = False) -> None:
    """Show the version that the schema is at."""
    from app.storage import schema

    _tell(as_json, current=_with_database(schema.current))


@cli.command()
def check(as_json: Json = False) -> None:
    """Exit 0 when this program can work on the schema, which may be a later release's; 1 when not."""
    from app.storage import schema

    found, needed = _with_database(schema.current), schema.newest()
    _tell(as_json, current=found, needed=needed)
    raise typer.Exit(0 if schema.fits(found) else 1)


def _with_database(work: Callable[[Database], Awaitable[Result]]) -> Result:
    import asyncio

    from app import config
    from app.storage.database import Database, database_url

    async def run() -> Result:
        database = Database(database_url(config.load().database_url))
        try:
            return await work(database)
        finally:
            await database.dispose()

    return asyncio.run(run())


def _tell(as_json: bool, **facts: str | None) -> None:
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        typer.echo("  ".join(f"{name} {value or 'none'}" for name, value in facts.items()))
