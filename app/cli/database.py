"""`gateway db`: the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from app.cli.commands import Commands
from app.cli.display import Json, print_json, print_line, say
from app.cli.examples import examples
from app.cli.opened_database import with_database
from app.exits import FAILED

if TYPE_CHECKING:
    from app.storage.database import Database

cli = typer.Typer(cls=Commands, help="Upgrade and inspect the database's schema.", no_args_is_help=True)


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

    _tell(as_json, current=with_database(work, of_any_schema=True))


@cli.command(epilog=examples("gateway db current --json"))
def current(as_json: Json = False) -> None:
    """Show the version that the schema is at."""
    from app.storage import schema

    _tell(as_json, current=with_database(schema.current, of_any_schema=True))


@cli.command(epilog=examples("gateway db check || gateway db upgrade"))
def check(as_json: Json = False) -> None:
    """Exit 0 when this program can work on the schema, which may be a later release's; 1 when not."""
    from app.storage import schema

    async def look(database: Database) -> tuple[str | None, str | None]:
        return await schema.current(database), await schema.unfit(database)

    found, why = with_database(look, of_any_schema=True)
    _tell(as_json, current=found, needed=schema.newest())
    if why:
        say(f"gateway: {why}")
    raise typer.Exit(FAILED if why else 0)


def _tell(as_json: bool, **facts: str | None) -> None:
    if as_json:
        print_json(facts)
    else:
        print_line("  ".join(f"{name} {value or 'none'}" for name, value in facts.items()))
