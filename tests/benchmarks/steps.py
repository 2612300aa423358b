"""The steps of many lives, made through the stores alone, and how many of each go in a second."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from app.lifecycle.answers import Accepted, Succeeded
from app.lifecycle.gate import GatePolicy
from app.lifecycle.job import Life
from app.lifecycle.news import Answered, Checked, News
from app.lifecycle.ownership import new_token
from app.lifecycle.policy import Policy
from app.lifecycle.transitions import Change, decide
from app.storage.database import Database, database_url
from app.storage.due import DueStore
from app.storage.lives import LifeStore
from app.storage.queue import QueueStore
from tests.storage.factory import new_job, take

GROUP = 100  #: jobs in one transaction
PARTS = 5  #: the work is timed in so many parts: does it slow down?
STEPS = ("claim", "confirm", "claim checks", "settle")

#: Checks are due at once. So are the leases of senders over, as those are that have lain about for longer than this lasts.
_POLICY = Policy(callback_grace=timedelta(microseconds=1), lease=timedelta(microseconds=1))
_GATE = GatePolicy(max_in_flight=1000, submit_rate=1e6, status_rate=1e6)
_READ = Succeeded(("https://pictures.example/1.png",), 5)


async def steps_a_second(url: str, jobs: int) -> list[dict[str, float]]:
    """Takes in so many jobs, then brings all to their end; jobs a second of each of `STEPS`, part by part."""
    database = Database(database_url(url))
    try:
        for _ in range(jobs // GROUP):
            await take(database, [new_job() for _ in range(GROUP)])
        work = _Work(database)
        groups = jobs // GROUP // PARTS
        spent = [[await work.bring_a_group_to_its_end() for _ in range(groups)] for _ in range(PARTS)]
    finally:
        await database.dispose()
    return [{step: groups * GROUP / sum(times[step] for times in part) for step in STEPS} for part in spent]


class _Work:
    def __init__(self, database: Database) -> None:
        self._queue, self._due, self._lives = QueueStore(database), DueStore(database), LifeStore(database)

    async def bring_a_group_to_its_end(self) -> dict[str, float]:
        """Seconds of each step."""
        began = time.perf_counter()
        taken = (await self._queue.claim_due(GROUP, _GATE, _decided, new_token)).taken
        assert len(taken) == GROUP, len(taken)
        claimed = time.perf_counter()
        await self._lives.apply(
            [(c.after.job.job_id, Answered(1, Accepted(str(c.after.job.job_id)))) for c, _ in taken], _decided
        )
        confirmed = time.perf_counter()
        looks = await self._due.claim_due(GROUP, _GATE, _POLICY)
        assert len(looks.taken) == GROUP, len(looks.taken)
        looked = time.perf_counter()
        await self._lives.apply(
            [(d.life.job.job_id, Checked(1, str(d.task_id), looks.now, _READ)) for d in looks.taken], _decided
        )
        times = (claimed - began, confirmed - claimed, looked - confirmed, time.perf_counter() - looked)
        return dict(zip(STEPS, times, strict=True))


def _decided(life: Life, news: News, now: datetime) -> Change:
    return decide(life, news, now, _POLICY)
