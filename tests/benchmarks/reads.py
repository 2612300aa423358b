"""Reads: lists, searches, single jobs, figures and exports on a long history, on both databases.

Each look is made through the stores that the routes use, fifteen times; told is the median. The baseline is the same look on
sixty thousand jobs, more than any page may test: what is flat costs no more on millions. Each look must find what it is to
find. A page has fifty jobs; page 1,000 is asked for as the cursor of page 999 asks. Jobs come five a second from fifty tenants,
each with a submission and a pair of metadata; one in twenty failed; the rare word is in one of a hundred thousand prompts, the
Chinese ones in one of a thousand. The export is over HTTP, of all jobs, as NDJSON; its memory is by how much the gateway's
process grew.

Run it alone with: python -m tests.benchmarks.reads [JOBS,JOBS,… on PostgreSQL] [JOBS on SQLite]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx

from app.lifecycle.policy import Policy
from app.lifecycle.states import CompletedVia, ErrorCode, JobState
from app.stats.figures import Figures
from app.stats.pace import Window
from app.storage.database import Database, database_url
from app.storage.history import HistoryStore
from app.storage.job_filter import JobFilter
from app.storage.lives import LifeStore
from app.storage.search import Page
from tests.benchmarks.history import id_of, instant, job_id, multiply, numbered, run_each, settled_down, task_of
from tests.benchmarks.measured import Figure, Line, Plan, Result, Say, machine, table
from tests.benchmarks.servers import KEY, gateway
from tests.databases import Postgres, migrate, running_postgres, sqlite_url
from tests.storage.factory import Factory
from tests.storage.watch import statements_of

SMALL = 60_000
SIZES = (1_000_000, 5_000_000)
FLAT = 3.0  #: times what it costs on the small history, at most
LOOKS = 15
PAGE, DEEP = 50, 1_000
STEP = timedelta(milliseconds=200)  #: between two jobs
SET, TENANTS = 1, 50
EXPORTED_MAX = 1_000_000
LINES, COLUMNS = 60, 200  #: kept of a plan

#: One job in so many has the word.
_PROMPT = (
    "'A ' || CASE WHEN n % 2 = 0 THEN 'fox' ELSE 'lighthouse' END || CASE WHEN n % 100000 = 777 THEN ' zeppelin' ELSE '' END"
    " || CASE WHEN n % 1000 = 5 THEN ' 一只红色的狐狸在雪地里' ELSE '' END || ' number ' || n"
)
_FAILED = "n % 20 = 3"

Look = Callable[[], Awaitable[object]]


def run(say: Say, sizes: Sequence[int] = SIZES, on_sqlite: int = SIZES[0]) -> list[Result]:
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as name, running_postgres(durable=True) as postgres:
        for kind, jobs in (("PostgreSQL", sizes), ("SQLite", (on_sqlite,))):
            results += _on(kind, jobs, postgres, Path(name), say)
    return results


def _on(kind: str, sizes: Sequence[int], postgres: Postgres, folder: Path, say: Say) -> list[Result]:
    results: list[Result] = []
    with _fresh(kind, postgres, folder) as url:
        small, _ = asyncio.run(_looked_at(url, SMALL))
    for jobs in sizes:
        with _fresh(kind, postgres, folder) as url:
            large, plans = asyncio.run(_looked_at(url, jobs))
            say(f"{kind}, {jobs:,} jobs: { ({n: round(ms, 1) for n, ms in large.items()}) } ms")
            for name, took in large.items():
                what = f"{kind}, {jobs:,} jobs: {name}"
                results.append(Line(what, took, f"{SMALL:,} jobs", small[name], "ms", FLAT, at_most=True))
            if jobs == max(sizes):
                results += [Plan(f"{jobs:,} jobs: {name}", told) for name, told in plans.items()]
            if jobs <= EXPORTED_MAX:
                rate, grown = _exported(url, folder, jobs)
                say(f"{kind}: export of {jobs:,} rows: {rate:,.0f} rows/s, the process grew by {grown:.0f} MiB")
                results.append(Figure(f"{kind}: export of {jobs:,} jobs", rate, "rows/s"))
                results.append(Figure(f"{kind}: memory that the export of {jobs:,} jobs took", grown, "MiB"))
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


# --- the history -----------------------------------------------------------------------------------------------------------


async def fill(database: Database, jobs: int, newest: datetime) -> None:
    """Copies one job that went the whole way, with other instants, prompts, tenants, keys and ends."""
    life = await Factory(database).in_state(JobState.SUCCEEDED)
    created, sent, ended = (instant(database, newest + timedelta(seconds=later), STEP) for later in (0, 1, 12))
    tenant = f"'tenant-' || (n % {TENANTS})"
    changed = {
        "created_at": created, "submitted_at": sent, "finished_at": ended, "updated_at": ended, "prompt": _PROMPT,
        "tenant": tenant, "idempotency_key": "'order-' || n",
        "state": f"CASE WHEN {_FAILED} THEN 'failed' ELSE state END",
        "error_code": f"CASE WHEN {_FAILED} THEN 'generation_failed' END",
    }  # fmt: skip
    times = {"sent_at": sent, "answered_at": sent, "checked_at": ended, "closed_at": ended}
    await multiply(database, life, jobs, set_no=SET, jobs=changed, submissions=times)
    tenants, pairs = numbered(database, 0, TENANTS - 1), numbered(database, 0, jobs - 1)
    await run_each(
        database,
        f"INSERT INTO tenants (name, created_at) SELECT 'tenant-' || n, {instant(database, newest)} FROM {tenants}",
        "INSERT INTO job_metadata (job_id, tenant, key, value, created_at) "
        f"SELECT {job_id(database, SET)}, {tenant}, 'order', '' || (n % 10000), {created} FROM {pairs}",
    )
    await settled_down(database)


# --- the looks -------------------------------------------------------------------------------------------------------------


async def _looked_at(url: str, jobs: int) -> tuple[dict[str, float], dict[str, str]]:
    """Milliseconds of each look; and on PostgreSQL, the plans of its statements."""
    database, newest = Database(database_url(url)), datetime.now(UTC)
    try:
        await fill(database, jobs, newest)
        looks = _looks(database, jobs, newest)
        took = {name: await _median(look) for name, look in looks.items()}
        return took, {} if database.is_sqlite else {name: await _plans(database, look) for name, look in looks.items()}
    finally:
        await database.dispose()


def _looks(database: Database, jobs: int, newest: datetime) -> dict[str, Look]:
    history, lives = HistoryStore(database), LifeStore(database)
    last = PAGE * (DEEP - 1) - 1  # of page 999
    deep = (newest - STEP * last, UUID(id_of(SET, last)))
    amid = jobs // 2
    between = JobFilter(created_before=newest - STEP * (jobs // 3), created_after=newest - STEP * amid)

    def page(wanted: JobFilter = JobFilter(), finds: int = PAGE) -> Look:
        return lambda: _found(history.page(wanted, limit=PAGE), finds)

    return {
        "first page": page(),
        "page 1,000": lambda: _found(history.page(JobFilter(), limit=PAGE, after=deep)),
        "tenant": page(JobFilter(tenant="tenant-7")),
        "state": page(JobFilter(states=(JobState.FAILED,))),
        "tenant and state": page(JobFilter(tenant="tenant-3", states=(JobState.FAILED,))),
        "a state that no job has": page(JobFilter(states=(JobState.RUNNING,)), finds=0),
        "error code": page(JobFilter(error_code=ErrorCode.GENERATION_FAILED)),
        "how it ended": page(JobFilter(completed_via=CompletedVia.POLL)),
        "metadata": page(JobFilter(metadata=(("order", "4711"),)), finds=min(PAGE, jobs // 10_000)),
        "idempotency key": page(JobFilter(idempotency_key=f"order-{amid}"), finds=1),
        "task id": page(JobFilter(task_id=task_of(SET, amid)), finds=1),
        "between two instants": page(between),
        "a common word": page(JobFilter(words=("fox",))),
        "a rare word": page(JobFilter(words=("zeppelin",)), finds=1),
        "an absent word": page(JobFilter(words=("quokka",)), finds=0),
        "Chinese words": page(JobFilter(words=("红色的狐狸",)), finds=20),
        "a job by its id": lambda: lives.find(UUID(id_of(SET, amid))),
        "figures of /stats": lambda: _figures(database),
    }


async def _found(page: Awaitable[Page], jobs: int = PAGE) -> None:
    found = len((await page).lives)
    assert found == jobs, (found, jobs)


async def _figures(database: Database) -> None:
    """As `GET /stats` asks for them, when nothing is remembered."""
    figures = Figures(database, Policy())
    await figures.vitals()
    for window in Window:
        await figures.stretches(window, None)
    await figures.credits_this_month(None)


async def _median(look: Look) -> float:
    await look()
    return statistics.median([await _timed(look) for _ in range(LOOKS)])


async def _timed(look: Look) -> float:
    began = time.perf_counter()
    await look()
    return (time.perf_counter() - began) * 1000


async def _plans(database: Database, look: Look) -> str:
    """What EXPLAIN ANALYZE tells of its statements, each under the settings that were made before it."""
    with statements_of(database) as sent:
        await look()
    told = []
    async with database.reading() as connection:
        for statement, parameters in list(sent):
            if "set_config" in statement:
                await connection.exec_driver_sql(statement)
            elif "FROM" in statement:
                rows = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)
                told.append(_short([*statement.splitlines(), "", *(row[0] for row in rows)]))
    return "\n\n".join(told)


def _short(lines: Sequence[str]) -> str:
    """What a person reads of it: parameters by the hundred, and the same branch for every hour of a week, are left out."""
    kept = [line if len(line) <= COLUMNS else f"{line[:COLUMNS]} …" for line in lines[:LINES]]
    return "\n".join([*kept, *([f"… and {len(lines) - LINES} lines more"] if len(lines) > LINES else [])])


# --- the export ------------------------------------------------------------------------------------------------------------


def _exported(url: str, folder: Path, jobs: int) -> tuple[float, float]:
    """Rows a second of a whole export over HTTP, and by how many MiB it made the process grow."""
    with gateway(url, folder, "--no-worker") as server, httpx.Client(trust_env=False, timeout=600) as caller:
        key, rows, before = {"Authorization": f"Bearer {KEY}"}, 0, server.resident_mib()
        began, most = time.perf_counter(), before
        with caller.stream("GET", f"{server.url}/jobs/export?format=ndjson", headers=key) as answer:
            for chunk in answer.iter_raw():
                rows += chunk.count(b"\n")
                most = max(most, server.resident_mib())
        took = time.perf_counter() - began
    assert rows == jobs, (rows, jobs)
    return rows / took, most - before


def main(arguments: Sequence[str]) -> None:
    sizes = tuple(int(size) for size in arguments[0].split(",")) if arguments else SIZES
    on_sqlite = int(arguments[1]) if len(arguments) > 1 else sizes[0]
    print(machine())
    print(table(run(lambda text: print(text, file=sys.stderr, flush=True), sizes, on_sqlite)))


if __name__ == "__main__":
    main(sys.argv[1:])
