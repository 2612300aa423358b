"""`gateway receivers`: who does not take deliveries, on the database itself; and resuming one that is parked."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.commands import Commands
from app.cli.display import Json, end, print_line, print_table, say
from app.cli.examples import examples
from app.cli.opened_database import with_database
from app.exits import NOT_FOUND

cli = typer.Typer(
    cls=Commands,
    help="Show receivers of deliveries that fail, and resume one, on the database that GATEWAY_DATABASE_URL names; also while "
    "gateways run.",
    no_args_is_help=True,
)
SHOWN_MAX = 1000


@cli.command(name="list", epilog=examples("gateway receivers list --parked"))
def list_(
    parked: Annotated[bool, typer.Option("--parked", help="Only those that are parked.")] = False, as_json: Json = False
) -> None:
    """List receivers that are failing or parked, by tenant and origin.

    Elsewhere than on a terminal: tenant, origin, pending deliveries, failing since and parked at, separated by tabs.
    """
    from app.deliveries.views import ReceiverList, receiver_view
    from app.storage.receivers import ReceiverStore

    found = with_database(
        lambda database: ReceiverStore(database).troubled(parked=True if parked else None, limit=SHOWN_MAX + 1)
    )
    has_more, views = len(found) > SHOWN_MAX, [receiver_view(troubled) for troubled in found[:SHOWN_MAX]]
    if as_json:
        print_line(ReceiverList(receivers=views, has_more=has_more).model_dump_json())
        return
    print_table(
        ("TENANT", "ORIGIN", "PENDING", "FAILING SINCE", "PARKED"),
        [(view.tenant, view.origin, view.pending, view.failing_since, view.parked_at) for view in views],
    )
    if has_more:
        say(f"There are more than {SHOWN_MAX}.")


@cli.command(epilog=examples("gateway receivers resume design https://hooks.example"))
def resume(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    origin: Annotated[str, typer.Argument(help="The receiver's scheme, host and port, as the list shows it.")],
    as_json: Json = False,
) -> None:
    """Attempt a receiver's deliveries again from now on, and forget that they failed."""
    from app.deliveries.views import Resumed
    from app.lifecycle.receiver import receiver_of
    from app.storage.audit import COMMAND_LINE
    from app.storage.receivers import ReceiverStore

    try:
        receiver = receiver_of(tenant, origin)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="ORIGIN") from None
    resumed = with_database(lambda database: ReceiverStore(database).resume(receiver, by=COMMAND_LINE))
    if resumed is None:
        end(f"nothing is wrong with {receiver.origin} of {tenant}", NOT_FOUND)
    if as_json:
        print_line(Resumed(resumed=resumed).model_dump_json())
    say(f"{resumed} deliveries are due again.")
