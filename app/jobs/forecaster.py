"""When a job will probably be settled, and how many go before it."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

from app.clock import Clock, system_clock
from app.lifecycle.forecast import Estimate, Pace, estimate, pace_of
from app.lifecycle.job import Job
from app.lifecycle.states import JobState, Priority
from app.storage.forecast import ForecastStore

PACE_SECONDS = 15.0  #: how long the pace of recent jobs is believed
DEPTH_SECONDS = 1.0  #: how long the depth of a queue is believed
_LANES = 1000  #: depths that are remembered


class Forecaster:
    """Answers from memory where it can: thousands of callers ask for the same few figures."""

    def __init__(self, store: ForecastStore, clock: Clock = system_clock) -> None:
        self._store, self._clock = store, clock
        self._pace: Pace | None = None
        self._pace_until = 0.0
        self._asking = asyncio.Lock()
        self._depths: OrderedDict[tuple[str, Priority], tuple[float, int]] = OrderedDict()

    async def pace(self) -> Pace | None:
        if time.monotonic() >= self._pace_until:
            async with self._asking:
                if time.monotonic() >= self._pace_until:
                    recent, _ = await self._store.recent()
                    self._pace, self._pace_until = pace_of(recent), time.monotonic() + PACE_SECONDS
        return self._pace

    async def depth(self, tenant: str, priority: Priority) -> int:
        """About how many go before a new job."""
        until, depth = self._depths.get((tenant, priority), (0.0, 0))
        if time.monotonic() >= until:
            self._depths[tenant, priority] = (time.monotonic() + DEPTH_SECONDS, depth)  # whoever comes meanwhile asks not
            depth = await self._store.depth(tenant, priority)
            self._depths[tenant, priority] = (time.monotonic() + DEPTH_SECONDS, depth)
            while len(self._depths) > _LANES:
                self._depths.popitem(last=False)
        return depth

    async def place(self, job: Job) -> int | None:
        return await self._store.place(job) if job.state is JobState.QUEUED else None

    async def estimate(self, job: Job, place: int | None) -> Estimate | None:
        pace = await self.pace()
        return estimate(job, place, pace, self._clock()) if pace is not None else None
