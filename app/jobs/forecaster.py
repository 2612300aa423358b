"""When a job will probably be settled, and how many go before it."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from app.errors import StorageUnavailableError
from app.lifecycle.forecast import Estimate, Pace, estimate, pace_of
from app.lifecycle.job import Job
from app.lifecycle.states import JobState, Priority
from app.storage.forecast import ForecastStore

log = structlog.get_logger(__name__)

PACE_SECONDS = 15.0  #: how long the pace of recent jobs is believed
RETRY_SECONDS = 1.0  #: how long the one before is believed where it could not be read
PATIENCE = 1.0  #: seconds
DEPTH_SECONDS = 1.0  #: how long the depth of a queue is believed
_LANES = 1000  #: depths that are remembered
_NEVER = -math.inf, 0  #: until when the depth of a lane is believed that was never counted

_Lane = tuple[str, Priority]  # of a tenant


class Forecaster:
    """Answers from memory where it can: thousands of callers ask for the same few figures."""

    def __init__(
        self,
        store: ForecastStore,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
    ) -> None:
        """
        Args:
            patience: seconds that an answer waits for the pace of recent jobs.
        """
        self._store, self._monotonic, self._patience = store, monotonic, patience
        self._pace: Pace | None = None
        self._read_at: tuple[datetime, float] | None = None  # when it was read, by the database's clock and by ours
        self._pace_until = 0.0
        self._asking = asyncio.Lock()
        self._depths: OrderedDict[_Lane, tuple[float, int]] = OrderedDict()  # until when each is believed
        self._counting: dict[_Lane, asyncio.Task[int]] = {}

    async def pace(self) -> Pace | None:
        """Of recent jobs; None where it is not known. While it cannot be read, the one before is believed."""
        if self._monotonic() >= self._pace_until:
            async with self._asking:
                if self._monotonic() >= self._pace_until:
                    await self._read_pace()
        return self._pace

    async def depth(self, tenant: str, priority: Priority) -> int:
        """About how many go before a new job.

        Raises:
            StorageUnavailableError: the database is out of reach, and nothing was counted lately.
        """
        until, depth = self._depths.get((tenant, priority), _NEVER)
        return depth if self._monotonic() < until else await self._counted((tenant, priority))

    async def joined(self, job: Job) -> int | None:
        """About the place of a job that was accepted just now, the last of its lane; None unless it is queued."""
        if job.state is not JobState.QUEUED:
            return None
        lane = job.tenant, job.priority
        until, depth = self._depths.get(lane, _NEVER)
        # While it is counted anew, what was counted before will do: who is accepted shall not wait.
        if self._monotonic() < (until + DEPTH_SECONDS if lane in self._counting else until):
            self._depths[lane] = until, depth + 1
            return depth + 1
        return max(1, await self._counted(lane))  # this job with the others

    async def place(self, job: Job) -> int | None:
        return await self._store.place(job) if job.state is JobState.QUEUED else None

    async def places(self, jobs: Sequence[Job]) -> list[int | None]:
        """The places of jobs of one order, in its order; None of those that are not queued.

        Those that joined a lane at one instant stand behind each other in it, so the first of them tells of all.
        """
        places: list[int | None] = []
        following: dict[tuple[Priority, datetime | None], int] = {}
        for job in jobs:
            lane = job.priority, job.due_at
            place = following.get(lane) or await self.place(job) if job.state is JobState.QUEUED else None
            if place is not None:
                following[lane] = place + 1
            places.append(place)
        return places

    async def drained(self) -> None:
        """Returns when nothing is being counted."""
        await asyncio.gather(*self._counting.values(), return_exceptions=True)

    async def _counted(self, lane: _Lane) -> int:
        """Counts the lane, once for all who ask meanwhile. Whoever stops waiting ends it for nobody."""
        count = self._counting.get(lane)
        if count is None:
            count = self._counting[lane] = asyncio.create_task(self._count(lane))
            count.add_done_callback(lambda _: self._counting.pop(lane))
        return await asyncio.shield(count)

    async def _count(self, lane: _Lane) -> int:
        depth = await self._store.depth(*lane)
        self._depths[lane] = self._monotonic() + DEPTH_SECONDS, depth
        while len(self._depths) > _LANES:
            self._depths.popitem(last=False)
        return depth

    async def _read_pace(self) -> None:
        try:
            async with asyncio.timeout(self._patience):
                recent, now = await self._store.recent()
        except (StorageUnavailableError, TimeoutError) as error:
            log.warning("the pace of recent jobs cannot be read", reason=str(error) or "no answer in time")
            self._pace_until = self._monotonic() + RETRY_SECONDS
        else:
            self._pace, self._read_at = pace_of(recent), (now, self._monotonic())
            self._pace_until = self._monotonic() + PACE_SECONDS

    async def estimate(self, job: Job, place: int | None) -> Estimate | None:
        pace = await self.pace()
        if pace is None or self._read_at is None:
            return None
        # The database's time, as all instants of jobs are: carried on by a clock that nobody sets.
        then, seconds = self._read_at
        return estimate(job, place, pace, then + timedelta(seconds=self._monotonic() - seconds))
