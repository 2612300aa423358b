"""What an old open snapshot elsewhere (a report, a dump) costs: claims, confirmations and settlements with and without one.

PostgreSQL keeps every row version that such a snapshot may still see, so whatever walks an index from its start walks over all
that was claimed and settled since. Run it with: python -m tests.benchmarks.old_snapshot [JOBS]
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import timedelta

import psycopg

from app.lifecycle.answers import Accepted, Succeeded
from app.lifecycle.gate import GatePolicy
from app.lifecycle.news import Answered, Checked
from app.lifecycle.ownership import new_token
from app.lifecycle.policy import Policy
from app.lifecycle.transitions import decide
from app.storage.database import Database, database_url
from app.storage.due import DueStore
from app.storage.lives import LifeStore
from app.storage.queue import QueueStore
from tests.databases import running_postgres
from tests.storage.factory import new_job, take

GROUP = 100  #: jobs in one transaction
PARTS = 5  #: the work is timed in so many parts: does it slow down?


async def work_through(database: Database, jobs: int) -> list[dict[str, float]]:
    """Jobs a second of each step, part by part, from accept to settled."""
    policy = Policy(callback_grace=timedelta(microseconds=1))
    gate = GatePolicy(max_in_flight=1000, submit_rate=1e6, status_rate=1e6)
    queue, due, lives = QueueStore(database), DueStore(database), LifeStore(database)

    def decided(life, news, now):  # type: ignore[no-untyped-def]
        return decide(life, news, now, policy)

    for _ in range(jobs // GROUP):
        await take(database, [new_job() for _ in range(GROUP)])
    parts, done = [], 0
    for _ in range(PARTS):
        spent = {"claim": 0.0, "confirm": 0.0, "claim checks": 0.0, "settle": 0.0}
        for _ in range(jobs // GROUP // PARTS):
            began = time.perf_counter()
            taken = (await queue.claim_due(GROUP, gate, decided, new_token)).taken
            assert len(taken) == GROUP, len(taken)
            spent["claim"] += time.perf_counter() - began
            began = time.perf_counter()
            answers = [(c.after.job.job_id, Answered(1, Accepted(str(c.after.job.job_id)))) for c, _ in taken]
            await lives.apply(answers, decided)
            spent["confirm"] += time.perf_counter() - began
            began = time.perf_counter()
            looks = await due.claim_due(GROUP, gate, policy)
            assert len(looks.taken) == GROUP, len(looks.taken)
            spent["claim checks"] += time.perf_counter() - began
            began = time.perf_counter()
            read = Succeeded(("https://pictures.example/1.png",), 5)
            readings = [(d.life.job.job_id, Checked(1, str(d.task_id), looks.now, read)) for d in looks.taken]
            await lives.apply(readings, decided)
            spent["settle"] += time.perf_counter() - began
            done += GROUP
        parts.append({step: jobs / PARTS / seconds for step, seconds in spent.items()})
    assert done == jobs
    return parts


def main(jobs: int) -> None:
    with running_postgres() as postgres:
        for name, snapshot in (("without", False), ("with an old snapshot", True)):
            with postgres.fresh() as url, psycopg.connect(url) as report:
                if snapshot:
                    report.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                    report.execute("SELECT count(*) FROM jobs")
                for part in asyncio.run(measure(url, jobs)):
                    print(f"{name:22}", *(f"{step} {rate:8,.0f}/s" for step, rate in part.items()), sep="  ", flush=True)


async def measure(url: str, jobs: int) -> list[dict[str, float]]:
    database = Database(database_url(url))
    try:
        return await work_through(database, jobs)
    finally:
        await database.dispose()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
