"""A background duty's loop: sweeps on a wake-up or a timer, survives its errors, stops cleanly."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from app.errors import StorageUnavailableError

log = structlog.get_logger(__name__)

#: One pass over what is due. Returns in how many seconds it wants to run again (0: at once); None leaves it to the floor.
Sweep = Callable[[], Awaitable[float | None]]

_JITTER = 0.2  #: replicas that started together should not sweep together
_PAUSE_MIN, _PAUSE_MAX = 0.5, 30.0  #: seconds between tries while a sweep keeps failing: at least, whoever rings, and at most


class Wake:
    """Rings a loop. A ring during a sweep is not lost: the loop sweeps once more."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Returns at the next ring, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()


class Loop:
    """Runs `sweep` until it is stopped, at least every `floor` seconds."""

    def __init__(self, name: str, sweep: Sweep, *, floor: float, wake: Wake | None = None) -> None:
        self.name, self._sweep, self._floor = name, sweep, floor
        self._wake = wake or Wake()
        self._stopping = False
        self._failures = 0

    async def run(self) -> None:
        while not self._stopping:
            wanted = await self._pass()
            if self._failures:
                await asyncio.sleep(_PAUSE_MIN)
            await self._wake.wait(wanted)

    def stop(self) -> None:
        """Lets the sweep that is under way end, and starts no other."""
        self._stopping = True
        self._wake.ring()

    async def _pass(self) -> float:
        try:
            wanted = await self._sweep()
        except StorageUnavailableError as error:
            return self._after_failure(str(error), trace=False)
        except Exception as error:  # noqa: BLE001 - a duty that dies of a surprise would leave jobs waiting for ever
            return self._after_failure(repr(error), trace=True)
        self._failures = 0
        floor = self._floor * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load, hides nothing
        return floor if wanted is None else min(max(wanted, 0.0), floor)

    def _after_failure(self, reason: str, *, trace: bool) -> float:
        self._failures += 1
        pause: float = min(0.5 * 2 ** min(self._failures, 10), _PAUSE_MAX)
        log.error("sweep failed", loop=self.name, reason=reason, again_in=pause, exc_info=trace)
        return pause
