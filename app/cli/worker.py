"""`gateway worker`: the background duties alone, beside any number of other workers and API processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from app.config import Settings


def worker(
    metrics_port: Annotated[
        int | None,
        typer.Option(help="Port for /metrics, /healthz and /readyz of this process; 0 takes a free one.", min=0, max=65535),
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="Address for that port.")] = "127.0.0.1",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output when ready.")] = False,
) -> None:
    """Send, check and settle jobs, without serving the API. Needs PostgreSQL; any number may run.

    Stops cleanly on SIGTERM: what is in flight is finished, what is unsent is given back.
    """
    import uvloop

    from app import config, log
    from app.errors import SettingsError
    from app.storage.database import database_url

    settings = config.load()
    log.configure(settings.log_format)
    if database_url(settings.database_url).get_backend_name() == "sqlite":
        raise SettingsError("GATEWAY_DATABASE_URL: a worker needs PostgreSQL; SQLite is for one process, gateway serve")
    uvloop.run(_work(settings, metrics_host, metrics_port, as_json))


async def _work(settings: Settings, metrics_host: str, metrics_port: int | None, as_json: bool) -> None:
    import asyncio
    import json
    import signal
    import sys
    from contextlib import AsyncExitStack

    from app.cli.server import serving_beside
    from app.main import monitor_app
    from app.opening import open_gateway

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(open_gateway(settings, with_duties=True))
        metrics_url = None
        if metrics_port is not None:
            monitor = serving_beside(monitor_app(gateway), host=metrics_host, port=metrics_port)
            metrics_url = f"{await stack.enter_async_context(monitor)}/metrics"
            print(f"gateway: metrics at {metrics_url}", file=sys.stderr, flush=True)
        print("gateway: working", file=sys.stderr, flush=True)
        if as_json:
            print(json.dumps({"metrics_url": metrics_url}), flush=True)
        await stop.wait()
        gateway.let_go()  # at once: what ends with the block takes a moment, and that is not for new work
