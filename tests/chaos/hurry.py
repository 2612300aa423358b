"""Settings whose leases and pauses are seconds, and the gateway's processes with them."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace
from datetime import timedelta

from app import log
from app.cli.server import run_server
from app.config import Settings
from app.gateway import Seams
from app.lifecycle.gate import GatePolicy
from app.lifecycle.policy import Policy
from app.main import create_app
from app.opening import open_gateway
from app.upstream.client import Timeouts

LEASE = timedelta(seconds=10)  #: less a submit's time and the dispatcher's margin of 5 s, three are left for a slow machine
SEAMS = Seams(timeouts=Timeouts(submit=timedelta(seconds=2), status=timedelta(seconds=2)))
READY = "ready"


class HurriedSettings(Settings):
    """The same law, on a shorter scale. What settings there are for it is set by the stage."""

    def policy(self) -> Policy:
        return replace(
            super().policy(),
            lease=LEASE,
            check_lease=timedelta(seconds=4),
            check_spacing=timedelta(milliseconds=300),
            young=timedelta(seconds=2),
            lost_after=timedelta(seconds=3),
            lost_count=3,
            retry_min=timedelta(milliseconds=200),
            retry_max=timedelta(seconds=1),
        )

    def gate_policy(self) -> GatePolicy:
        return replace(
            super().gate_policy(),
            pause_min=timedelta(milliseconds=200),
            pause_max=timedelta(seconds=1),
            account_pause_min=timedelta(milliseconds=200),
            account_pause_max=timedelta(milliseconds=500),
            probe_lease=timedelta(seconds=4),
            probe_every=timedelta(milliseconds=500),
            missing_max=timedelta(seconds=5),
        )


def serve(port: int) -> None:
    settings = HurriedSettings()
    log.configure("json")
    run_server(create_app(settings, seams=SEAMS), host="127.0.0.1", port=port, ready=lambda _: _say_ready())


def work() -> None:
    settings = HurriedSettings()
    log.configure("json")
    asyncio.run(_work(settings))


async def _work(settings: Settings) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with open_gateway(settings, with_duties=True, seams=SEAMS):
        _say_ready()
        await stop.wait()


def _say_ready() -> None:
    print(READY, file=sys.stderr, flush=True)
