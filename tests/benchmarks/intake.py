"""Intake: `POST /jobs` against (a) a route that checks the same body and stores nothing, and (b) the usual ORM route with one
commit a request.

On PostgreSQL the gateway is an API process (`--no-worker`), and nothing is sent meanwhile. On SQLite, where one process does
everything, it is that process with its duties, and the dispatch is paused, so that nothing is sent either. wrk takes a share of
the same machine, a larger one the faster a server answers; the processor milliseconds a job are those of the server alone.

In each of three rounds all servers take turns, each on a new database. (b) has the size of its connection pool that was best in
a short trial on the same database, out of 1, 5 and 20; there are no connections beyond the pool.

Run it alone with: python -m tests.benchmarks.intake [SECONDS] [ROUNDS]
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from sqlalchemy import make_url

from tests.benchmarks.durable import durable_postgres
from tests.benchmarks.measured import Result, Say, machine, table
from tests.benchmarks.rounds import compared, how_many, rotated
from tests.benchmarks.servers import KEY, Server, baseline, gateway
from tests.benchmarks.wrk import Load, post_jobs
from tests.databases import Postgres, sqlite_url

NOTE = """
What is missed is missed by the processor of the one process that serves, which is busy all the time. Of the 0.66 ms that a
job takes with 32 connections on PostgreSQL, (a) takes 0.17: HTTP, routing, the body, the answer. The rest is what makes it
a job: the key looked up at this moment, the row with its event and its entry in the books, two lines of log, the place in
the queue; and a share of the transaction, in six round trips for a group, the larger the more callers there are. A profile
(py-spy, 400 samples a second) is flat: no function has more than 7 percent for itself, all of the writing a sixth with 128
connections and a third with 32. 0.6 of (a) would leave 0.28 ms for all of it, in Python.

(b) has a commit of its own for each job, which on this disk takes a tenth of a millisecond, a fifth to a twentieth of what
disks in a cloud take; the faster the commit, the nearer (b) comes. So it does 600 jobs a second on SQLite, and 8 times that
were 4,800: nearly what (a) does, which stores nothing. On a slower day of the same kind of machine, (b) made 190 to 340.

More jobs a second than one process takes are for more processes, on PostgreSQL.
"""

CONNECTIONS = (32, 128)
DATABASES = ("PostgreSQL", "SQLite")
POOLS = (1, 5, 20)  #: connections
TRIAL, WARM = 2, 2  #: seconds
FULL = 5  #: seconds; a run with less only shows whether it works
OVER_A, OVER_B, P99 = 0.6, {"PostgreSQL": 3.0, "SQLite": 8.0}, 1.0  #: the goals

_NOTHING, _OURS, _THEIRS = "stores nothing", "gateway", "ORM route"


@dataclass(frozen=True)
class Taken:
    """What the callers saw of a server, and what it took."""

    load: Load
    cpu: float  #: milliseconds a request


Found = dict[int, Taken]  #: by connections
Start = Callable[[], AbstractContextManager[Server]]


def run(say: Say, seconds: int = 6, repeats: int | None = None) -> list[Result]:
    """`repeats` are the rounds."""
    found: dict[str, list[Found]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name, durable_postgres() as postgres:
        databases = _Databases(Path(name), postgres)
        starts: dict[str, Start] = {_NOTHING: partial(baseline, "stores_nothing", databases.folder)}
        for database in DATABASES:
            pool = _best_pool(say, databases, database)
            starts[_on(_OURS, database)] = partial(_gateway, databases, database)
            starts[_on(_THEIRS, database)] = partial(_orm_route, databases, database, pool)
        for number in range(how_many(repeats, full=seconds >= FULL)):
            for server in rotated(list(starts), number):
                found[server].append(_loads(starts[server], seconds))
                say(f"round {number + 1}, {server}: {found[server][-1]}")
    return [line for database in DATABASES for connections in CONNECTIONS for line in _lines(found, database, connections)]


def _lines(found: dict[str, list[Found]], database: str, connections: int) -> Iterator[Result]:
    def figures(server: str, figure: Callable[[Taken], float]) -> list[float]:
        return [figure(taken[connections]) for taken in found[server]]

    ours, theirs = _on(_OURS, database), _on(_THEIRS, database)
    what = f"intake, {database}, {connections} connections"
    for server, name, goal in ((_NOTHING, _NOTHING, OVER_A), (theirs, _THEIRS, OVER_B[database])):
        yield from compared(what, figures(ours, _rate), name, figures(server, _rate), "jobs/s", goal)
    yield from compared(f"{what}, p99", figures(ours, _p99), _THEIRS, figures(theirs, _p99), "ms", P99, at_most=True)
    for server, name in ((_NOTHING, _NOTHING), (theirs, _THEIRS)):
        own = f"{what}, the server's own processor"
        yield from compared(own, figures(ours, _cpu), name, figures(server, _cpu), "ms/job")


def _rate(taken: Taken) -> float:
    return taken.load.per_second


def _p99(taken: Taken) -> float:
    return taken.load.p99


def _cpu(taken: Taken) -> float:
    return taken.cpu


def _on(server: str, database: str) -> str:
    return f"{server}, {database}"


def _loads(start: Start, seconds: int) -> Found:
    with start() as server:
        post_jobs(server.url, KEY, connections=8, seconds=WARM)
        return {connections: _taken(server, connections, seconds) for connections in CONNECTIONS}


def _taken(server: Server, connections: int, seconds: int) -> Taken:
    before = server.cpu_seconds()
    load = post_jobs(server.url, KEY, connections=connections, seconds=seconds)
    return Taken(load, (server.cpu_seconds() - before) / load.requests * 1000)


def _best_pool(say: Say, databases: _Databases, database: str) -> int:
    """The size with which the ORM route takes the most jobs; one with which it fails is none."""
    rates = {}
    for pool in POOLS:
        with _orm_route(databases, database, pool) as server:
            try:
                rates[pool] = post_jobs(server.url, KEY, connections=CONNECTIONS[0], seconds=TRIAL).per_second
            except RuntimeError as error:
                say(f"{_on(_THEIRS, database)}, {pool} connections: {error}")
    say(f"{_on(_THEIRS, database)}, jobs/s by the size of its pool: {rates}")
    return max(rates, key=rates.__getitem__)


@contextmanager
def _gateway(databases: _Databases, database: str) -> Iterator[Server]:
    alone = ["--no-worker"] if database == "PostgreSQL" else []
    with databases.fresh(database) as url, gateway(url, databases.folder, *alone) as server:
        if not alone:
            _pause(server)
        yield server


def _pause(server: Server) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    httpx.post(f"{server.url}/dispatch/pause", headers=headers, trust_env=False).raise_for_status()


@contextmanager
def _orm_route(databases: _Databases, database: str, pool: int) -> Iterator[Server]:
    driver = {"PostgreSQL": "postgresql+psycopg", "SQLite": "sqlite+aiosqlite"}[database]
    with databases.fresh(database) as url:
        address = make_url(url).set(drivername=driver).render_as_string(hide_password=False)
        with baseline("orm_route", databases.folder, BENCH_DATABASE_URL=address, BENCH_POOL_SIZE=str(pool)) as server:
            yield server


@dataclass(frozen=True)
class _Databases:
    folder: Path
    postgres: Postgres

    @contextmanager
    def fresh(self, database: str) -> Iterator[str]:
        """The URL of a new one; gone afterwards."""
        if database == "PostgreSQL":
            with self.postgres.fresh() as url:
                yield url
        else:
            with tempfile.TemporaryDirectory(dir=self.folder) as place:
                yield sqlite_url(Path(place) / "jobs.db")


if __name__ == "__main__":
    print(machine())
    print(table(run(lambda text: print(text, file=sys.stderr), *map(int, sys.argv[1:]))))
