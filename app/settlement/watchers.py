"""Who waits for a job: until it is settled, or for whatever happens to it next.

This process rings for what it did itself, at once. What other replicas did is found by a sweep over all jobs that anybody waits
for, once a second or when they tell.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from uuid import UUID

from app.lifecycle.job import Life
from app.storage.history import HistoryStore, StoredEvent
from app.storage.lives import LifeStore

EVENTS_AT_ONCE = 100  #: what a watch holds of a long timeline; the rest stays in the database until it is asked for
_READING_AT_ONCE = 4  #: when very many are rung together, requests still find a free connection
_SWEPT_AT_ONCE = 1000


class Watch:
    """A place in one job's timeline, and a bell that rings when there may be more behind it. Made by `Watchers.watch`."""

    def __init__(self, job_id: UUID, after: int, reader: _Reader) -> None:
        self.seen = after  #: the last event that was read
        self.stopped = False  #: the process is told to stop
        self._job_id, self._reader = job_id, reader
        self._bell = asyncio.Event()

    async def more(self) -> list[StoredEvent]:
        """The next events, at most `EVENTS_AT_ONCE`; none when all that happened was read.

        Raises:
            StorageUnavailableError: the database is out of reach. The bell rings when it is back, if there is more.
        """
        events = await self._reader.events(self._job_id, self.seen)
        if events:
            self.seen = events[-1].event_id
        return events

    async def rung(self, seconds: float) -> bool:
        """True at the next ring, or at once after one that nobody waited for; False after `seconds` without."""
        try:
            async with asyncio.timeout(seconds):
                await self._bell.wait()
        except TimeoutError:
            return False
        self._bell.clear()
        return True

    def ring(self) -> None:
        self._bell.set()


class Watchers:
    """Thousands may wait: each costs a future, and all of them together one or two queries a second."""

    def __init__(self, lives: LifeStore) -> None:
        self._lives, self._history = lives, HistoryStore(lives.database)
        self._bells: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._watches: defaultdict[UUID, set[Watch]] = defaultdict(set)
        self._reader = _Reader(self._history)
        self._stopped = False

    @property
    def waiting(self) -> int:
        """How many wait, of both kinds."""
        return sum(map(len, self._bells.values())) + sum(map(len, self._watches.values()))

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

    @contextmanager
    def watch(self, job_id: UUID, after: int) -> Iterator[Watch]:
        """Watches a job's timeline from behind the event `after`, while the block runs. Read first, then wait for a ring."""
        watch = Watch(job_id, after, self._reader)
        watch.stopped = self._stopped
        self._watches[job_id].add(watch)
        try:
            yield watch
        finally:
            self._watches[job_id].discard(watch)
            if not self._watches[job_id]:
                del self._watches[job_id]

    def ring(self, job_id: UUID) -> None:
        """The job was settled."""
        for bell in self._bells.get(job_id, ()):
            bell.set()

    def happened(self, job_id: UUID) -> None:
        """There is more on the job's timeline."""
        for watch in self._watches.get(job_id, ()):
            watch.ring()

    async def sweep(self) -> float | None:
        """Rings for what other replicas did."""
        for some in _in_parts(self._bells):
            for job_id in await self._lives.settled_among(some):
                self.ring(job_id)
        for some in _in_parts(self._watches):
            for job_id, newest in (await self._history.newest_events(some)).items():
                self._ring_behind(job_id, newest)
        return None

    def stop(self) -> None:
        """Lets everybody go with the job as it is."""
        self._stopped = True
        for job_id in list(self._bells):
            self.ring(job_id)
        for job_id, watches in self._watches.items():
            for watch in watches:
                watch.stopped = True
            self.happened(job_id)

    def _ring_behind(self, job_id: UUID, newest: int) -> None:
        for watch in self._watches.get(job_id, ()):
            if watch.seen < newest:
                watch.ring()


class _Reader:
    """Reads timelines for all watches, few at a time."""

    def __init__(self, history: HistoryStore) -> None:
        self._history = history
        self._turns = asyncio.Semaphore(_READING_AT_ONCE)
        self._reading: set[asyncio.Task[list[StoredEvent]]] = set()

    async def events(self, job_id: UUID, after: int) -> list[StoredEvent]:
        async with self._turns:
            # Clients hang up at any time. A read that is cancelled halfway costs its connection; it is short, so it ends.
            task = asyncio.create_task(self._history.events(job_id, after=after, limit=EVENTS_AT_ONCE))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)
            return await asyncio.shield(task)


def _in_parts(waited_for: dict[UUID, set[asyncio.Event]] | dict[UUID, set[Watch]]) -> Iterator[list[UUID]]:
    """The jobs as they are now, in parts that fit one query."""
    ids = iter(list(waited_for))
    while some := list(islice(ids, _SWEPT_AT_ONCE)):
        yield some
