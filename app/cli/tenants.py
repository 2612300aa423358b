"""`gateway tenants`: tenants and their limits, on the database itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.commands import Commands
from app.cli.display import Json, print_line, print_table, say
from app.cli.examples import examples
from app.cli.opened_database import with_database

if TYPE_CHECKING:
    from app.storage.database import Database
    from app.storage.tenants import Tenant

cli = typer.Typer(
    cls=Commands,
    help="List tenants and set their limits, on the database that GATEWAY_DATABASE_URL names; also while gateways run.",
    no_args_is_help=True,
)


@cli.command(name="list", epilog=examples("gateway tenants list --json"))
def list_(as_json: Json = False) -> None:
    """List tenants by name.

    Elsewhere than on a terminal: name, monthly credits, open jobs, requests a second and created, separated by tabs.
    """
    from app.access.tenants import TenantList, tenant_view
    from app.storage.tenants import TenantStore

    found = with_database(lambda database: TenantStore(database).all())
    if as_json:
        print_line(TenantList(tenants=[tenant_view(tenant) for tenant in found]).model_dump_json())
    else:
        _show(found)


@cli.command(name="set", epilog=examples("gateway tenants set design --monthly-credits 5000 --open-jobs-max none"))
def set_(
    name: Annotated[str, typer.Argument(help="The tenant; a new name makes a new one.")],
    monthly_credits: Annotated[str | None, typer.Option(metavar="N|none", help="Credits of a calendar month (UTC).")] = None,
    open_jobs_max: Annotated[str | None, typer.Option(metavar="N|none", help="Unsettled jobs at once.")] = None,
    requests_per_second: Annotated[str | None, typer.Option(metavar="N|none", help="Accepting requests, on average.")] = None,
    as_json: Json = False,
) -> None:
    """Set limits of a tenant; `none` lifts one, and those that are not named stay as they are."""
    from dataclasses import replace

    from app.access.names import tenant_name
    from app.access.tenants import tenant_view
    from app.storage.audit import COMMAND_LINE
    from app.storage.tenants import TenantStore

    try:
        tenant_name(name)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None
    given = {"monthly_credits": monthly_credits, "open_jobs_max": open_jobs_max, "requests_per_second": requests_per_second}
    changes = _checked({limit: text for limit, text in given.items() if text is not None})

    async def work(database: Database) -> tuple[Tenant, bool]:
        return await TenantStore(database).change_limits(name, lambda limits: replace(limits, **changes), by=COMMAND_LINE)

    tenant, created = with_database(work)
    if as_json:
        print_line(tenant_view(tenant).model_dump_json())
    else:
        _show([tenant])
    say(f"The tenant {name} is {'new' if created else 'set'}.")


def _checked(given: dict[str, str]) -> dict[str, Any]:
    """The limits as the API would take them."""
    from dataclasses import asdict

    from pydantic import ValidationError

    from app.access.tenants import LimitsRequest

    try:
        limits = LimitsRequest.model_validate({limit: _number(text) for limit, text in given.items()}).limits()
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False)
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise typer.BadParameter(first["msg"], param_hint=option) from None
    return {limit: value for limit, value in asdict(limits).items() if limit in given}


def _number(text: str) -> object:
    if text.lower() == "none":
        return None
    if re.fullmatch(r"[0-9]{1,20}", text):
        return int(text)
    return float(text) if re.fullmatch(r"[0-9]{1,20}\.[0-9]{1,20}", text) else text


def _show(tenants: list[Tenant]) -> None:
    print_table(
        ("NAME", "MONTHLY CREDITS", "OPEN JOBS", "REQUESTS/S", "CREATED"),
        [(n.name, *(_limit(v) for v in (n.limits.monthly_credits, n.limits.open_jobs_max, n.limits.requests_per_second)),
          n.created_at) for n in tenants],
    )  # fmt: skip


def _limit(value: float | None) -> str:
    return "none" if value is None else f"{value:.12g}"
