"""Who waits for a job to be settled: rung at once by this process, and within a second by what other replicas did."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from uuid import UUID

from app.lifecycle.job import Life
from app.storage.lives import LifeStore


class Watchers:
    """Thousands may wait: each costs a future, and all of them together one query a second."""

    def __init__(self, lives: LifeStore) -> None:
        self._lives = lives
        self._bells: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._stopped = False

    async def until_settled(self, job_id: UUID, seconds: float) -> Life | None:
        """The job once it is settled, or as it is after `seconds`, or when the process is told to stop."""
        bell = asyncio.Event()
        self._bells[job_id].add(bell)
        try:
            life = await self._lives.find(job_id)  # after the bell is hung: a settlement in between rings it
            if life is None or life.job.is_settled or self._stopped:
                return life
            async with asyncio.timeout(seconds):
                await bell.wait()
        except TimeoutError:
            pass
        finally:
            self._bells[job_id].discard(bell)
            if not self._bells[job_id]:
                del self._bells[job_id]
        return await self._lives.find(job_id)

    def ring(self, job_id: UUID) -> None:
        for bell in self._bells.get(job_id, ()):
            bell.set()

    async def sweep(self) -> float | None:
        """Rings for what other replicas settled."""
        waited_for = list(self._bells)
        for start in range(0, len(waited_for), 1000):
            for job_id in await self._lives.settled_among(waited_for[start : start + 1000]):
                self.ring(job_id)
        return None

    def stop(self) -> None:
        """Lets everybody go with the job as it is."""
        self._stopped = True
        for job_id in list(self._bells):
            self.ring(job_id)
