"""`gateway db`: the schema."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from app.cli.commands import Commands
from app.cli.display import print_json, print_line, say
from app.cli.examples import examples

if TYPE_CHECKING:
    from app.storage.database import Database

cli = typer.Typer(cls=Commands, help="Upgrade and inspect the database's schema.", no_args_is_help=True)
Result = TypeVar("Result")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@cli.command(epilog=examples("gateway db upgrade"))
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


@cli.command(epilog=examples("gateway db current --json"))
def current(as_json: Json = False) -> None:
    """Show the version that the schema is at."""
    from app.storage import schema

    _tell(as_json, current=_with_database(schema.current))


@cli.command(epilog=examples("gateway db check || gateway db upgrade"))
def check(as_json: Json = False) -> None:
    """Exit 0 when this program can work on the schema, which may be a later release's; 1 when not."""
    from app.storage import schema

    async def look(database: Database) -> tuple[str | None, str | None]:
        return await schema.current(database), await schema.unfit(database)

    found, why = _with_database(look)
    _tell(as_json, current=found, needed=schema.newest())
    if why:
        say(f"gateway: {why}")
    raise typer.Exit(1 if why else 0)


def _with_database(work: Callable[[Database], Awaitable[Result]]) -> Result:
    import asyncio

    from app import config, log
    from app.storage.database import Database, database_url

    settings = config.load()
    log.configure(settings.log_format)  # else it would stand among the data

    async def run() -> Result:
        database = Database(database_url(settings.database_url))
        try:
            return await work(database)
        finally:
            await database.dispose()

    return asyncio.run(run())


def _tell(as_json: bool, **facts: str | None) -> None:
    if as_json:
        print_json(facts)
    else:
        print_line("  ".join(f"{name} {value or 'none'}" for name, value in facts.items()))
