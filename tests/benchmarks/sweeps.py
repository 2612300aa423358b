"""What the sweeps of the duties cost PostgreSQL, with few settled jobs in the tables and with many: the two take turns."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

import psycopg
from sqlalchemy import make_url

from app.lifecycle.gate import GatePolicy
from app.lifecycle.ownership import new_token
from app.lifecycle.policy import Policy
from app.lifecycle.senders import Room, SenderLimits
from app.lifecycle.states import JobState
from app.storage.database import Database, database_url
from app.storage.deliveries import DeliveryStore
from app.storage.due import DueStore
from app.storage.images import PictureRows
from app.storage.operations import OperationStore
from app.storage.queue import QueueStore
from app.storage.retention import RetentionStore
from tests.benchmarks.history import call_back, instant, multiply, run_each, settled_down
from tests.benchmarks.process_tree import cpu_seconds
from tests.storage.factory import Factory

GROUP, CLAIMS = 50, 60  #: jobs of a claim; claims that are timed
WARM = 5  #: sweeps of each kind that are not
RETENTION, LEASE = timedelta(days=90), timedelta(minutes=1)
COPIED = ("jobs", "submissions", "events", "callbacks", "images")

Sweep = Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Cost:
    """Milliseconds of one sweep."""

    took: float
    cpu: float  #: of the processes of PostgreSQL that serve the database


@dataclass(frozen=True)
class _Side:
    """One of the two databases."""

    url: str
    database: Database


async def costs_of_sweeps(urls: tuple[str, str], jobs: tuple[int, int], looks: int) -> dict[str, tuple[Cost, Cost]]:
    """By what they find, the costs with each number of settled jobs: of claims, and of so many looks that find nothing due."""
    few, many = sides = [_Side(url, Database(database_url(url))) for url in urls]
    try:
        for side, settled in zip(sides, jobs, strict=True):
            await _fill(side.database, settled)
        costs = {}
        claims = _claims(few.database), _claims(many.database)
        for name in claims[0]:
            costs[f"a claim of {GROUP} {name}"] = await _costs(sides, [its[name] for its in claims], CLAIMS, GROUP)
        for side in sides:
            await _put_off(side.database)
        empty = {**claims[0], **_others(few.database)}, {**claims[1], **_others(many.database)}
        for name in empty[0]:
            costs[f"a look for {name}, none due"] = await _costs(sides, [its[name] for its in empty], looks, 0)
        return costs
    finally:
        for side in sides:
            await side.database.dispose()


async def _costs(sides: list[_Side], sweeps: list[Sweep], times: int, finds: int) -> tuple[Cost, Cost]:
    """The processor's time is counted in hundredths of a second: only that of many sweeps means anything."""
    for sweep in sweeps:
        for _ in range(WARM):
            await sweep()
    before, took = [_used(side.url) for side in sides], [list[float](), list[float]()]
    for _ in range(times):
        for sweep, its in zip(sweeps, took, strict=True):
            began = time.perf_counter()
            found = await sweep()
            its.append((time.perf_counter() - began) * 1000)
            assert found == finds, (found, finds)
    used = [_more(was, _used(side.url)) / times * 1000 for was, side in zip(before, sides, strict=True)]
    return Cost(median(took[0]), used[0]), Cost(median(took[1]), used[1])


def _claims(database: Database) -> dict[str, Sweep]:
    gate = GatePolicy(max_in_flight=100_000, submit_rate=10_000, status_rate=10_000)
    due, queue, factory, policy = DueStore(database), QueueStore(database), Factory(database), Policy()

    async def checks() -> int:
        return len((await due.claim_due(GROUP, gate, policy)).taken)

    async def sends() -> int:
        return len((await queue.claim_due(GROUP, gate, factory.decide, new_token)).taken)

    return {"due submissions": checks, "queued jobs": sends}


def _others(database: Database) -> dict[str, Sweep]:
    """Of the duties of which nothing is ever due here."""
    delivered, pictures = DeliveryStore(database), PictureRows(database)
    retention, operations = RetentionStore(database), OperationStore(database)

    async def deliveries() -> int:
        return len((await delivered.claim_due(Room(SenderLimits()), lambda _format, _life: None)).taken)

    async def fetches() -> int:
        return len((await pictures.claim_due(GROUP, LEASE)).taken)

    async def old_jobs() -> int:
        return (await retention.prune(RETENTION, archiving=True)).jobs

    async def bulk_work() -> int:
        return int((await operations.claim_due()).operation is not None)

    return {"deliveries": deliveries, "pictures": fetches, "jobs to prune": old_jobs, "operations": bulk_work}


async def _put_off(database: Database) -> None:
    """Nothing is due for a day: neither what is left, nor what was claimed, whose leases would end meanwhile."""
    later = "clock_timestamp() + interval '1 day'"
    await run_each(
        database,
        f"UPDATE submissions SET due_at = {later} WHERE due_at IS NOT NULL",
        f"UPDATE submissions SET lease_until = {later} WHERE lease_until IS NOT NULL",
        f"UPDATE jobs SET due_at = {later} WHERE due_at IS NOT NULL",
    )
    await settled_down(database)


async def _fill(database: Database, settled: int) -> None:
    """So many settled jobs, and enough that are due; nothing is vacuumed behind our back from then on."""
    factory, count, now = Factory(database), GROUP * (CLAIMS + 2 * WARM), datetime.now(UTC)
    long_ago, recently = (instant(database, at, timedelta(milliseconds=200)) for at in (now - timedelta(days=1), now))
    done, running, queued = [await factory.in_state(JobState(s)) for s in ("succeeded", "running", "queued")]
    await call_back(database, done)
    await run_each(database, *(f"ALTER TABLE {name} SET (autovacuum_enabled = false)" for name in COPIED))
    jobs = dict.fromkeys(("created_at", "submitted_at", "finished_at", "updated_at"), long_ago)
    times = {"sent_at": long_ago, "answered_at": long_ago, "closed_at": long_ago}
    await multiply(database, done, settled, set_no=1, jobs=jobs, submissions=times)
    at = {"sent_at": recently, "answered_at": recently, "due_at": recently, "check_at": recently}
    await multiply(database, running, count, set_no=2, jobs={"created_at": recently, "submitted_at": recently}, submissions=at)
    await multiply(database, queued, count, set_no=3, jobs={"created_at": recently, "due_at": recently}, submissions={})
    await settled_down(database)


def _used(url: str) -> dict[int, float]:
    """Seconds of the processor, of each process that serves the database."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(address) as connection:
        return {pid: cpu_seconds([pid]) for (pid,) in connection.execute(query).fetchall()}


def _more(before: Mapping[int, float], now: Mapping[int, float]) -> float:
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in now.items())
