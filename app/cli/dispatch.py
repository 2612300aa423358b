"""`gateway dispatch`: whether jobs are sent to the upstream; pause and resume it, over the gateway's API."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from app.cli.commands import Commands
from app.cli.display import Json, print_facts, print_json
from app.cli.examples import examples

if TYPE_CHECKING:
    from app.client import Client, DispatchStatus, Door

cli = typer.Typer(
    cls=Commands,
    help="Look at the sending of jobs, pause and resume it. Speaks to GATEWAY_URL with GATEWAY_API_KEY, an admin key.",
    no_args_is_help=True,
)


@cli.command(epilog=examples("gateway dispatch status --json | jq .submits.open"))
def status(as_json: Json = False) -> None:
    """Show whether jobs are sent and checked, and if not, why."""
    _tell(lambda gateway: gateway.dispatch(), as_json)


@cli.command(epilog=examples("gateway dispatch pause"))
def pause(as_json: Json = False) -> None:
    """Send no more jobs. They are still accepted, and what was sent is still settled."""
    _tell(lambda gateway: gateway.pause_dispatch(), as_json)


@cli.command(epilog=examples("gateway dispatch resume && gateway dispatch status"))
def resume(as_json: Json = False) -> None:
    """Send jobs again: ends a pause, and opens what the gateway shut by itself."""
    _tell(lambda gateway: gateway.resume_dispatch(), as_json)


def _tell(ask: Callable[[Client], DispatchStatus], as_json: bool) -> None:
    from app.cli.connection import connected

    with connected() as gateway:
        found = ask(gateway)
    if as_json:
        print_json(found)
        return
    slots = f"{found.open_submissions} of {found.max_in_flight} slots taken"
    facts = [("submits", _door(found.submits)), ("checks", _door(found.checks)), ("paused by", found.paused_by)]
    print_facts([*facts, ("upstream", slots), ("failures in a row", found.failures)])


def _door(door: Door) -> str:
    if door.open:
        return "open"
    said = [f"shut: {door.reason}", door.detail, f"since {door.since}" if door.since else None]
    return ", ".join(part for part in said if part) + (f", next probe {door.until}" if door.until else "")
