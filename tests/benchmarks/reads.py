"""Reads: lists, searches, single jobs, figures and exports on a long history, on both databases.

Each look is made through the stores that the routes use, 45 times, in turn on the long history and on one of sixty thousand
jobs; told are the medians. What is flat costs no more on millions. A page has fifty jobs; page 1,000 (of one tenant, 500) is
asked for as the cursor of the page before asks. Jobs come five a second from fifty tenants, each with all that hangs on a job
in life. Half of them are one tenant's, which asks for the same as an administrator does for all.

What an index does not answer is tested job by job, at most 20,000 jobs a page: that bounds the time of a page, whatever there
is to find, and a page may be short or empty with more behind it. Whoever follows `next_cursor` to the end of a rare word tests
the whole history: so that is told, with its pages, and has no goal. Nor is /stats to be flat: it sums up a week, and the short
history is of three hours.

The export is over HTTP, of all jobs, as NDJSON; its memory is by how much the peak of the gateway's process rises above what it
held before.

Run it alone with: python -m tests.benchmarks.reads [JOBS,JOBS,… on PostgreSQL] [JOBS on SQLite]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.storage.database import Database, database_url
from tests.benchmarks.durable import durable_postgres
from tests.benchmarks.export import GROWTH, export
from tests.benchmarks.long_history import bytes_of, fill
from tests.benchmarks.looks import Look, Walk, looks_at, walks_through
from tests.benchmarks.measured import Figure, Line, Plan, Result, Say, machine, table
from tests.benchmarks.plans import plans_of
from tests.databases import Postgres, migrate, sqlite_url

SMALL = 60_000  #: jobs; more than any page may test, of all tenants and of the large one
SIZES = (1_000_000, 5_000_000)
FLAT = 1.5  #: times what it costs on the small history, at most
LOOKS = 45
EXPORTED_MAX = 1_000_000


def run(say: Say, sizes: Sequence[int] = SIZES, on_sqlite: int = SIZES[0], looks: int = LOOKS) -> list[Result]:
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as name, durable_postgres() as postgres:
        for kind, jobs in [*(("PostgreSQL", size) for size in sizes), ("SQLite", on_sqlite)]:
            with _fresh(kind, postgres, Path(name)) as large, _fresh(kind, postgres, Path(name)) as small:
                results += asyncio.run(_compared(say, kind, small, large, jobs, looks))
                if jobs <= EXPORTED_MAX:
                    results += _exported(say, kind, large, Path(name), jobs)
    return results


@contextmanager
def _fresh(kind: str, postgres: Postgres, folder: Path) -> Iterator[str]:
    if kind == "PostgreSQL":
        with postgres.fresh() as url:
            yield url
        return
    with tempfile.TemporaryDirectory(dir=folder) as place:
        url = sqlite_url(Path(place) / "gateway.db")
        migrate(url)
        yield url


@dataclass(frozen=True)
class _History:
    """One that is looked at."""

    database: Database
    jobs: int
    looks: Mapping[str, Look]


async def _compared(say: Say, kind: str, small_url: str, large_url: str, jobs: int, looks: int) -> list[Result]:
    small_database, large_database = Database(database_url(small_url)), Database(database_url(large_url))
    newest, what = datetime.now(UTC), f"{kind}, {jobs:,} jobs"
    try:
        results = await _filled(say, what, large_database, jobs, newest)
        await fill(small_database, SMALL, newest)
        small = _History(small_database, SMALL, looks_at(small_database, SMALL, newest))
        large = _History(large_database, jobs, looks_at(large_database, jobs, newest))
        results += await _in_turn(say, what, small, large, looks)
        results += await _walked(say, what, small, large)
        results += [*await _plans(kind, small), *await _plans(kind, large)]
    finally:
        await small_database.dispose()
        await large_database.dispose()
    return results


async def _filled(say: Say, what: str, database: Database, jobs: int, newest: datetime) -> list[Result]:
    began = time.perf_counter()
    await fill(database, jobs, newest)
    rate, size = jobs / (time.perf_counter() - began), await bytes_of(database)
    say(f"{what}: filled at {rate:,.0f} jobs/s, {size / 2**30:.2f} GiB, {size / jobs / 1024:.2f} KiB a job")
    return [Figure(f"{what}: filled at", rate, "jobs/s"), Figure(f"{what}: on the disk", size / 2**30, "GiB")]


async def _in_turn(say: Say, what: str, small: _History, large: _History, looks: int) -> list[Result]:
    results: list[Result] = []
    for name, look in large.looks.items():
        before, took = await _medians(small.looks[name].make, look.make, looks)
        goal = FLAT if look.flat else None
        results.append(Line(f"{what}: {name}", took, _baseline(small), before, "ms", goal, at_most=True, bound=look.bound))
        say(f"{what}: {name}: {took:.1f} ms, {before:.1f} ms on {_baseline(small)}")
    return results


async def _medians(
    one: Callable[[], Awaitable[object]], other: Callable[[], Awaitable[object]], looks: int
) -> tuple[float, float]:
    """Milliseconds of two looks that take turns, so that what else the machine does falls on both."""
    await one()
    await other()
    times = [(await _timed(one), await _timed(other)) for _ in range(looks)]
    return statistics.median(first for first, _ in times), statistics.median(second for _, second in times)


async def _timed(look: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await look()
    return (time.perf_counter() - began) * 1000


async def _walked(say: Say, what: str, small: _History, large: _History) -> list[Result]:
    """Once each: they take long."""
    before, after = [await walks_through(history.database, history.jobs) for history in (small, large)]
    say(f"{what}: to the end: {after}")
    return [_walk(f"{what}: {name}", walk, _baseline(small), before[name]) for name, walk in after.items()]


def _walk(what: str, walk: Walk, baseline: str, before: Walk) -> Line:
    return Line(
        f"{what}, to its end: {walk.found:,} jobs on {walk.pages:,} pages", walk.ms, f"{baseline}, {before.pages} pages",
        before.ms, "ms",
    )  # fmt: skip


async def _plans(kind: str, history: _History) -> list[Plan]:
    of = f"{kind}, {history.jobs:,} jobs"
    return [Plan(name, await plans_of(history.database, look.make), of) for name, look in history.looks.items()]


def _exported(say: Say, kind: str, url: str, folder: Path, jobs: int) -> list[Result]:
    rate, grown = export(url, folder, jobs)
    say(f"{kind}: export of {jobs:,} rows: {rate:,.0f} rows/s, the process grew by {grown:.1f} MiB")
    return [
        Figure(f"{kind}: export of {jobs:,} jobs", rate, "rows/s"),
        Figure(f"{kind}: memory that the export of {jobs:,} jobs took at most", grown, "MiB", GROWTH, at_most=True),
    ]


def _baseline(small: _History) -> str:
    return f"{small.jobs:,} jobs"


def main(arguments: Sequence[str]) -> None:
    sizes = tuple(int(size) for size in arguments[0].split(",")) if arguments else SIZES
    on_sqlite = int(arguments[1]) if len(arguments) > 1 else sizes[0]
    print(machine())
    print(table(run(lambda text: print(text, file=sys.stderr, flush=True), sizes, on_sqlite)))


if __name__ == "__main__":
    main(sys.argv[1:])
