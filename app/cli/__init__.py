"""`gateway …`: one module a noun. Heavy imports stay inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import sys

import typer

from app.cli import database as _database
from app.cli import dispatch as _dispatch
from app.cli import jobs as _jobs
from app.cli import keys as _keys
from app.cli import receivers as _receivers
from app.cli import tenants as _tenants
from app.cli.demo import demo
from app.cli.emulator import emulator
from app.cli.openapi import openapi
from app.cli.serve import serve
from app.cli.worker import worker

cli = typer.Typer(
    name="gateway",
    help="The Qwen-Image job gateway. Exit codes: 0 ok, 1 failed, 2 usage or settings, 3 not found, 4 conflict, "
    "5 database or upstream out of reach.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
cli.command()(serve)
cli.command()(worker)
cli.command()(demo)
cli.command()(emulator)
cli.command(hidden=True)(openapi)
cli.add_typer(_jobs.cli, name="jobs")
cli.add_typer(_dispatch.cli, name="dispatch")
cli.add_typer(_database.cli, name="db")
cli.add_typer(_keys.cli, name="keys")
cli.add_typer(_receivers.cli, name="receivers")
cli.add_typer(_tenants.cli, name="tenants")


def run() -> None:
    """Runs the command line; what the gateway can explain becomes one line and an exit code."""
    from app.errors import AlreadyRunningError, GatewayError, SchemaError, SettingsError, StorageUnavailableError

    try:
        cli()
    except (SettingsError, AlreadyRunningError, SchemaError) as error:
        _say(error, 2)
    except StorageUnavailableError as error:
        _say(error, 5)
    except GatewayError as error:
        _say(error, 1)


def _say(error: Exception, code: int) -> None:
    print(f"gateway: {error}", file=sys.stderr)
    sys.exit(code)
