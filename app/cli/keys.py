"""`gateway keys`: API keys, on the database itself."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from app.access.scope import Scope
from app.cli.commands import Commands
from app.cli.display import Json, end, print_line, print_table, say
from app.cli.examples import examples
from app.cli.opened_database import with_database
from app.exits import CONFLICT, NOT_FOUND

if TYPE_CHECKING:
    from app.storage.database import Database
    from app.storage.keys import StoredKey

cli = typer.Typer(
    cls=Commands,
    help="Make, list and revoke API keys, on the database that GATEWAY_DATABASE_URL names; also while gateways run.",
    no_args_is_help=True,
)


@cli.command(
    epilog=examples("gateway keys create --tenant design --scope jobs:write --scope jobs:read --name shop --expires 90d")
)
def create(
    tenant: Annotated[str, typer.Option(help="Whose key it is; a new name makes a new tenant.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; repeatable. admin includes all.")],
    name: Annotated[str, typer.Option(help="What you call it.")] = "",
    expires: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long it is good: 12h, 90d; at most 366d.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it; this is the only time that it is shown."""
    from app.access.api_key import make_key
    from app.access.keys import new_key_view
    from app.storage.audit import COMMAND_LINE
    from app.storage.keys import KeyStore

    _check_names(tenant, name)
    expires_at = _instant_after(expires) if expires is not None else None

    async def work(database: Database) -> tuple[str, StoredKey]:
        return await make_key(
            KeyStore(database), tenant=tenant, name=name, scopes=scope, expires_at=expires_at, by=COMMAND_LINE
        )  # fmt: skip

    api_key, stored = with_database(work)
    print_line(new_key_view(api_key, stored).model_dump_json() if as_json else api_key)
    say(f"Made the key {stored.key_id} of the tenant {stored.tenant}; it is shown only this once.")


@cli.command(name="list", epilog=examples("gateway keys list --tenant design"))
def list_(
    tenant: Annotated[str | None, typer.Option(help="Only the keys of this tenant.")] = None, as_json: Json = False
) -> None:  # fmt: skip
    """List keys, newest first; revoked and expired ones, too. Never the keys themselves.

    Elsewhere than on a terminal: id, tenant, name, scopes, created, expires, last used and revoked, separated by tabs.
    """
    from app.access.keys import KeyList, key_view
    from app.storage.keys import KeyStore

    found = with_database(lambda database: KeyStore(database).all(tenant))
    if as_json:
        print_line(KeyList(keys=[key_view(key) for key in found]).model_dump_json())
        return
    print_table(
        ("ID", "TENANT", "NAME", "SCOPES", "CREATED", "EXPIRES", "LAST USED", "REVOKED"),
        [(k.key_id, k.tenant, k.name, " ".join(k.scopes), k.created_at, k.expires_at, k.last_used_at, k.revoked_at)
         for k in found],
    )  # fmt: skip


@cli.command(epilog=examples("gateway keys revoke 3fb1c2d4"))
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="As keys list shows it.")], as_json: Json = False) -> None:
    """Revoke a key: from now on it opens nothing. Repeating it changes nothing; the last admin key stays (exit 4)."""
    from app.access.keys import key_view
    from app.storage.audit import COMMAND_LINE
    from app.storage.keys import KeyStore, LastAdminKeyError

    try:
        revoked = with_database(lambda database: KeyStore(database).revoke(key_id, by=COMMAND_LINE))
    except LastAdminKeyError as error:
        end(str(error), CONFLICT)
    if revoked is None:
        end("there is no such key", NOT_FOUND)
    if as_json:
        print_line(key_view(revoked).model_dump_json())
    say(f"The key {revoked.key_id} of the tenant {revoked.tenant} is revoked.")


def _check_names(tenant: str, name: str) -> None:
    from app.access.names import key_name, tenant_name

    for option, check, text in (("--tenant", tenant_name, tenant), ("--name", key_name, name)):
        try:
            check(text)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint=option) from None


def _instant_after(text: str) -> datetime:
    from datetime import UTC

    from pydantic import TypeAdapter, ValidationError

    from app.config import Duration

    try:
        return datetime.now(UTC) + TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise typer.BadParameter(message, param_hint="--expires") from None
