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
from app.cli.commands import Commands
from app.cli.demo import demo
from app.cli.doctor import EPILOG as _DOCTOR
from app.cli.doctor import doctor
from app.cli.emulator import emulator
from app.cli.examples import examples as _examples
from app.cli.openapi import openapi
from app.cli.serve import serve
from app.cli.worker import worker
from app.exits import FAILED, OUT_OF_REACH, USAGE

cli = typer.Typer(
    name="gateway",
    cls=Commands,
    help="The Qwen-Image job gateway. Exit codes: 0 ok, 1 failed, 2 usage or settings, 3 not found, 4 conflict, "
    "5 database or upstream out of reach.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
cli.command(
    epilog=_examples("GATEWAY_UPSTREAM_API_KEY=sk-… GATEWAY_PUBLIC_BASE_URL=https://gateway.example.com gateway serve")
)(serve)
cli.command(epilog=_examples("gateway worker --metrics-port 9101"))(worker)
cli.command(epilog=_examples("gateway demo", "gateway demo --jobs 50 --serve"))(demo)
cli.command(
    epilog=_examples(
        "gateway emulator",
        "gateway emulator --port 0 --json --key sk-demo=500 --run-seconds 0.5-2",
        "gateway emulator --fault callback-lost=0.1 --fault callback-late=3@0.2 --fault submit-500@every-10",
    )
)(emulator)
cli.command(epilog=_DOCTOR)(doctor)
cli.command(hidden=True, epilog=_examples("gateway openapi --output docs/openapi.json"))(openapi)
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
        _say(error, USAGE)
    except StorageUnavailableError as error:
        _say(error, OUT_OF_REACH)
    except GatewayError as error:
        _say(error, FAILED)


def _say(error: Exception, code: int) -> None:
    print(f"gateway: {error}", file=sys.stderr)
    sys.exit(code)
