"""Checks: a hundred thousand open submissions that nobody calls back for, on PostgreSQL, and what looking for work costs.

While all are due, the gateway may ask at a permitted rate (`GATEWAY_UPSTREAM_STATUS_RATE`), and the upstream, a process of its
own, counts what it is asked: the baseline is the permitted rate. What is used beyond the checks themselves is what is left at
the lowest rate when each check is taken off, at what each one more costs up to the highest rate. At a higher rate claims are
larger, not more, so this is what the duties take that find nothing, and the transactions: some five claims a second, and as
many in which readings are written down, whatever each brings. Then none is due for an hour, and the processor is watched: the
gateway's process, and all of PostgreSQL, in cores.

The sweeps are those of the duties: claims of fifty due submissions and of fifty queued jobs, and looks that find nothing due
for these, for deliveries, pictures, jobs to prune, and operations. They are made in turn with a thousand and with a million
settled jobs in the tables, which are not vacuumed meanwhile; told are the median time, and the processor time of PostgreSQL for
each, of the processes that serve the database. Claims of deliveries, pictures and operations, and the pruning itself, are not
measured; nor are the sweeps of housekeeping.

Run it alone with: python -m tests.benchmarks.checks [SUBMISSIONS] [HISTORY] [SECONDS] [LOOKS]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import psycopg
from sqlalchemy import make_url

from tests.benchmarks.durable import durable_postgres
from tests.benchmarks.measured import Figure, Line, Result, Say, machine, table
from tests.benchmarks.open_tasks import open_submissions, open_tasks
from tests.benchmarks.process_tree import cpu_seconds, parent_of
from tests.benchmarks.servers import Server, gateway
from tests.benchmarks.sweeps import costs_of_sweeps
from tests.databases import Postgres

RATES = (20, 50, 200)  #: permitted checks a second; the first is the default
USED, IDLE, FLAT = 0.95, 0.05, 1.5
SMALL = 1_000  #: settled jobs
WARM = 3.0  #: seconds


def run(say: Say, submissions: int = 100_000, history: int = 1_000_000, seconds: int = 20, looks: int = 2_000) -> list[Result]:
    with tempfile.TemporaryDirectory() as name, durable_postgres() as postgres:
        results = _rates(say, postgres, Path(name), submissions, seconds)
        results += _idle(say, postgres, Path(name), submissions, seconds)
        return results + _sweeps(say, postgres, history, looks)


# --- rates and idleness ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Use:
    """Over some seconds."""

    checks: float  #: a second
    gateway: float  #: cores
    postgres: float  #: cores


def _rates(say: Say, postgres: Postgres, folder: Path, submissions: int, seconds: int) -> list[Result]:
    results, uses = list[Result](), list[_Use]()
    with postgres.fresh() as url, open_tasks(folder) as upstream:
        asyncio.run(open_submissions(url, submissions, due_in=timedelta(0)))
        for rate in RATES:
            with _checking(url, folder, submissions, upstream, rate) as server:
                uses.append(use := _watched(server, url, upstream, seconds))
            say(f"{rate} checks/s permitted: {use}")
            results += [
                Line(f"checks, {submissions:,} due", use.checks, "permitted", rate, "checks/s", USED),
                Figure(f"processor meanwhile, at {rate}/s: the gateway", use.gateway, "cores"),
                Figure(f"processor meanwhile, at {rate}/s: PostgreSQL", use.postgres, "cores"),
            ]
    what = f"processor beyond the checks themselves, {submissions:,} due"
    least, most = uses[0], uses[-1]
    return [
        *results,
        Figure(f"{what}: the gateway", _beyond(least, most, lambda use: use.gateway), "cores", IDLE, at_most=True),
        Figure(f"{what}: PostgreSQL", _beyond(least, most, lambda use: use.postgres), "cores", IDLE, at_most=True),
    ]


def _beyond(least: _Use, most: _Use, cores: Callable[[_Use], float]) -> float:
    """What is left of the cores at the lowest rate without the checks, at what each check more costs."""
    of_a_check = (cores(most) - cores(least)) / (most.checks - least.checks)
    return cores(least) - least.checks * of_a_check


def _idle(say: Say, postgres: Postgres, folder: Path, submissions: int, seconds: int) -> list[Result]:
    """With as many open submissions, and with one: what the duties cost that look and find nothing."""
    found: list[_Use] = []
    for count in (submissions, 1):
        with postgres.fresh() as url, open_tasks(folder) as upstream:
            asyncio.run(open_submissions(url, count, due_in=timedelta(hours=1)))
            with _checking(url, folder, submissions, upstream, RATES[0]) as server:
                found.append(_watched(server, url, upstream, seconds))
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


def _watched(server: Server, url: str, upstream: Server, seconds: int) -> _Use:
    time.sleep(WARM)
    roots = [_postmaster(url)]
    asked, cpu, began = _asked(upstream), cpu_seconds(roots), time.monotonic()
    ours = server.cores(seconds)
    took = time.monotonic() - began
    return _Use((_asked(upstream) - asked) / took, ours, (cpu_seconds(roots) - cpu) / took)


def _asked(upstream: Server) -> int:
    return int(httpx.get(f"{upstream.url}/asked", trust_env=False).json()["asked"])


def _postmaster(url: str) -> int:
    """The process that all of PostgreSQL comes from."""
    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        return parent_of(connection.info.backend_pid)


# --- the cost of a sweep ---------------------------------------------------------------------------------------------------


def _sweeps(say: Say, postgres: Postgres, history: int, looks: int) -> list[Result]:
    with postgres.fresh() as few, postgres.fresh() as many:
        costs = asyncio.run(costs_of_sweeps((few, many), (SMALL, history), looks))
    before, results = f"{SMALL:,} jobs", list[Result]()
    for what, (small, large) in costs.items():
        say(f"{what}: {large} with {history:,} settled jobs, {small} with {before}")
        of_what = f"{what}, {history:,} settled jobs"
        results += [
            Line(of_what, large.took, before, small.took, "ms", FLAT, at_most=True),
            Line(f"{of_what}: PostgreSQL's processor", large.cpu, before, small.cpu, "ms", FLAT, at_most=True),
        ]
    return results


if __name__ == "__main__":
    print(machine())
    print(table(run(lambda text: print(text, file=sys.stderr), *map(int, sys.argv[1:]))))
