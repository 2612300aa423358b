"""`gateway worker`: the background duties alone, beside any number of other workers and API processes."""

from __future__ import annotations


def worker() -> None:
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
    uvloop.run(_work(settings))


async def _work(settings: object) -> None:
    import asyncio
    import signal
    import sys

    from app.config import Settings
    from app.main import open_gateway

    assert isinstance(settings, Settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_gateway(settings, with_duties=True):
        print("gateway: working", file=sys.stderr, flush=True)
        await stop.wait()
