"""Checks: a hundred thousand open submissions that nobody calls back for, on PostgreSQL, and what looking for work costs.

While all are due, the gateway may ask at a permitted rate (`GATEWAY_UPSTREAM_STATUS_RATE`), and the upstream, a process of its
own, counts what it is asked: the baseline is the permitted rate. Then none is due for an hour, and the processor is watched:
the gateway's process, and all of PostgreSQL, in cores.

The sweeps are those of the duties: each claims fifty due submissions, or fifty queued jobs, or finds nothing due. They are made
with a thousand and with a million settled jobs in the tables; told are the median time, and the processor time of PostgreSQL
for each.

Run it alone with: python -m tests.benchmarks.checks [SUBMISSIONS] [HISTORY] [SECONDS]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import httpx
import psycopg
from sqlalchemy import make_url

from app.lifecycle.gate import GatePolicy
from app.lifecycle.ownership import new_token
from app.lifecycle.policy import Policy
from app.lifecycle.states import JobState
from app.storage.database import Database, database_url
from app.storage.due import DueStore
from app.storage.queue import QueueStore
from tests.benchmarks.history import instant, multiply, settled_down
from tests.benchmarks.measured import Figure, Line, Result, Say, machine, table
from tests.benchmarks.open_tasks import open_submissions, open_tasks
from tests.benchmarks.process_tree import cpu_seconds, parent_of
from tests.benchmarks.servers import Server, gateway
from tests.databases import Postgres, running_postgres
from tests.storage.factory import Factory

RATES = (20, 50, 200)  #: permitted checks a second; the first is the default
USED, IDLE, FLAT = 0.95, 0.05, 1.5
SMALL = 1_000  #: settled jobs
GROUP, SWEEPS = 50, 60
WARM = 3.0  #: seconds


def run(say: Say, submissions: int = 100_000, history: int = 1_000_000, seconds: int = 20) -> list[Result]:
    with tempfile.TemporaryDirectory() as name, running_postgres(durable=True) as postgres:
        results = _rates(say, postgres, Path(name), submissions, seconds)
        results += _idle(say, postgres, Path(name), submissions, seconds)
        return results + _sweeps(say, postgres, history)


# --- rates and idleness ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shares:
    """In cores."""

    gateway: float
    postgres: float


def _rates(say: Say, postgres: Postgres, folder: Path, submissions: int, seconds: int) -> list[Result]:
    results: list[Result] = []
    with postgres.fresh() as url, open_tasks(folder) as upstream:
        asyncio.run(open_submissions(url, submissions, due_in=timedelta(0)))
        for rate in RATES:
            with _checking(url, folder, submissions, upstream, rate) as server:
                before = _asked(upstream), time.monotonic()
                shares = _watched(server, url, seconds)
                used = (_asked(upstream) - before[0]) / (time.monotonic() - before[1])
            say(f"{rate} checks/s permitted: {used:.1f} used, {shares}")
            results += [
                Line(f"checks, {submissions:,} due", used, "permitted", rate, "checks/s", USED),
                Figure(f"processor meanwhile, at {rate}/s: the gateway", shares.gateway, "cores"),
                Figure(f"processor meanwhile, at {rate}/s: PostgreSQL", shares.postgres, "cores"),
            ]
    return results


def _idle(say: Say, postgres: Postgres, folder: Path, submissions: int, seconds: int) -> list[Result]:
    """With as many open submissions, and with none: what the duties cost that look and find nothing."""
    found: list[_Shares] = []
    for count in (submissions, 1):
        with postgres.fresh() as url, open_tasks(folder) as upstream:
            asyncio.run(open_submissions(url, count, due_in=timedelta(hours=1)))
            with _checking(url, folder, submissions, upstream, RATES[0]) as server:
                found.append(_watched(server, url, seconds))
                assert not _asked(upstream), "something was due"
    many, one = found
    say(f"none due: {many}; with a single open submission: {one}")
    what = f"processor idle, {submissions:,} open, none due"
    return [
        Figure(f"{what}: the gateway", many.gateway, "cores", IDLE, at_most=True),
        Figure(f"{what}: PostgreSQL", many.postgres, "cores", IDLE, at_most=True),
        Line(f"{what}: both", many.gateway + many.postgres, "one open submission", one.gateway + one.postgres, "cores"),
    ]


def _checking(url: str, folder: Path, submissions: int, upstream: Server, rate: int) -> AbstractContextManager[Server]:
    settings = {
        "GATEWAY_PUBLIC_BASE_URL": "http://127.0.0.1:9",  # callbacks are expected, and none comes
        "GATEWAY_UPSTREAM_BASE_URL": upstream.url,
        "GATEWAY_UPSTREAM_STATUS_RATE": str(rate),
        "GATEWAY_UPSTREAM_MAX_IN_FLIGHT": str(max(submissions, 100)),  # else nobody would have so many
    }
    return gateway(url, folder, **settings)


def _watched(server: Server, url: str, seconds: int) -> _Shares:
    time.sleep(WARM)
    roots = [_postmaster(url)]
    before, began = cpu_seconds(roots), time.monotonic()
    ours = server.cores(seconds)
    return _Shares(ours, (cpu_seconds(roots) - before) / (time.monotonic() - began))


def _asked(upstream: Server) -> int:
    return int(httpx.get(f"{upstream.url}/asked", trust_env=False).json()["asked"])


def _postmaster(url: str) -> int:
    """The process that all of PostgreSQL comes from."""
    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        return parent_of(connection.info.backend_pid)


# --- the cost of a sweep ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cost:
    """Milliseconds of one sweep."""

    took: float
    cpu: float  #: of PostgreSQL


def _sweeps(say: Say, postgres: Postgres, history: int) -> list[Result]:
    costs = []
    for jobs in (SMALL, history):
        with postgres.fresh() as url:
            costs.append(asyncio.run(_cost_of_sweeps(url, jobs)))
        say(f"sweeps with {jobs:,} settled jobs: {costs[-1]}")
    small, large = costs
    before, results = f"{SMALL:,} jobs", list[Result]()
    for what in large:
        of_what = f"{what}, {history:,} settled jobs"
        results += [
            Line(of_what, large[what].took, before, small[what].took, "ms", FLAT, at_most=True),
            Line(f"{of_what}: PostgreSQL's processor", large[what].cpu, before, small[what].cpu, "ms", FLAT, at_most=True),
        ]
    return results


async def _cost_of_sweeps(url: str, history: int) -> dict[str, _Cost]:
    database, policy = Database(database_url(url)), Policy()
    gate = GatePolicy(max_in_flight=100_000, submit_rate=10_000, status_rate=10_000)
    due, queue, factory = DueStore(database), QueueStore(database), Factory(database)
    try:
        await _fill(database, history)

        async def checks() -> int:
            return len((await due.claim_due(GROUP, gate, policy)).taken)

        async def sends() -> int:
            return len((await queue.claim_due(GROUP, gate, factory.decide, new_token)).taken)

        claims = {"a claim of 50 due submissions": checks, "a claim of 50 queued jobs": sends}
        costs = {name: await _cost(url, claim, GROUP) for name, claim in claims.items()}
        while await checks() or await sends():
            pass
        return {**costs, "a look that finds nothing due": await _cost(url, checks, 0)}
    finally:
        await database.dispose()


async def _cost(url: str, sweep: Callable[[], Awaitable[int]], finds: int) -> _Cost:
    """The processor's time is counted in hundredths of a second: only that of many sweeps means anything."""
    roots, times = [_postmaster(url)], list[float]()
    for _ in range(5):
        await sweep()
    before = cpu_seconds(roots)
    for _ in range(SWEEPS):
        began = time.perf_counter()
        found = await sweep()
        times.append((time.perf_counter() - began) * 1000)
        assert found == finds, (found, finds)
    return _Cost(median(times), (cpu_seconds(roots) - before) / SWEEPS * 1000)


async def _fill(database: Database, history: int) -> None:
    """So many settled jobs, and enough that are due."""
    factory, count, now = Factory(database), GROUP * (SWEEPS + 10), datetime.now(UTC)
    long_ago, recently = (instant(database, at, timedelta(milliseconds=200)) for at in (now - timedelta(days=1), now))
    settled, running, queued = [await factory.in_state(JobState(s)) for s in ("succeeded", "running", "queued")]
    jobs = dict.fromkeys(("created_at", "submitted_at", "finished_at", "updated_at"), long_ago)
    times = {"sent_at": long_ago, "answered_at": long_ago, "closed_at": long_ago}
    await multiply(database, settled, history, set_no=1, jobs=jobs, submissions=times)
    at = {"sent_at": recently, "answered_at": recently, "due_at": recently, "check_at": recently}
    await multiply(database, running, count, set_no=2, jobs={"created_at": recently, "submitted_at": recently}, submissions=at)
    await multiply(database, queued, count, set_no=3, jobs={"created_at": recently, "due_at": recently}, submissions={})
    await settled_down(database)


if __name__ == "__main__":
    print(machine())
    print(table(run(lambda text: print(text, file=sys.stderr), *map(int, sys.argv[1:]))))
