"""Lists, searches and exports on history: what a page costs on a million jobs against thirty thousand, on both databases.

Run it with: python -m tests.benchmarks.reads [JOBS]
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

from app.lifecycle.states import ErrorCode, JobState
from app.storage import tables as t
from app.storage.database import Database, database_url
from app.storage.history import HistoryStore
from app.storage.job_filter import JobFilter
from app.storage.lives import LifeStore
from tests.benchmarks.measured import Line, Say, machine, table
from tests.benchmarks.servers import KEY, gateway
from tests.databases import migrate, running_postgres, sqlite_url
from tests.storage.factory import Factory

SMALL = 30_000  #: more than a page may test
FLAT = 3.0  #: times what it costs on the small history, at most
LOOKS = 15
NEWEST = datetime(2026, 11, 1, tzinfo=UTC)
STEP = timedelta(milliseconds=200)  #: between two jobs

#: One job in so many has the word, and its tenant, state and pair.
_PROMPT = (
    "'A ' || CASE WHEN n % 2 = 0 THEN 'fox' ELSE 'lighthouse' END || CASE WHEN n % 100000 = 77 THEN ' zeppelin' ELSE '' END"
    " || CASE WHEN n % 1000 = 5 THEN ' 一只红色的狐狸在雪地里' ELSE '' END || ' number ' || n"
)
_ID = {
    "postgresql": "('01900000-0000-7000-8000-' || lpad(to_hex({jobs} - n), 12, '0'))::uuid",
    "sqlite": "printf('01900000000070008000%012x', {jobs} - n)",
}
_AT = {
    "postgresql": f"timestamptz '{NEWEST.isoformat()}' - n * interval '{STEP.total_seconds()} seconds'",
    "sqlite": f"{int(NEWEST.timestamp()) * 1_000_000} - n * {int(STEP.total_seconds() * 1e6)}",
}
_NUMBERS = {
    "postgresql": "generate_series(0, {last}) AS series(n)",
    "sqlite": "(WITH RECURSIVE up(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM up WHERE n < {last}) SELECT n FROM up)",
}

Look = Callable[[], Awaitable[object]]


async def fill(database: Database, jobs: int) -> None:
    """Copies one job that went the whole way, with other ids, instants, prompts, tenants and ends."""
    template = await Factory(database).in_state(JobState.SUCCEEDED)
    kind = "sqlite" if database.is_sqlite else "postgresql"
    identity, numbers = _ID[kind].format(jobs=jobs), _NUMBERS[kind].format(last=jobs - 1)
    changed = {
        "job_id": identity, "created_at": _AT[kind], "prompt": _PROMPT, "tenant": "'tenant-' || n % 50",
        "state": "CASE WHEN n % 20 = 3 THEN 'failed' ELSE state END",
        "error_code": "CASE WHEN n % 20 = 3 THEN 'generation_failed' END",
    }  # fmt: skip
    values = ", ".join(changed.get(column.name, f"jobs.{column.name}") for column in t.jobs.c)
    names = ", ".join(column.name for column in t.jobs.c)
    only = f"'{template.job.job_id.hex if database.is_sqlite else template.job.job_id}'"
    copied = f"INSERT INTO jobs ({names}) SELECT {values} FROM jobs, {numbers} WHERE jobs.job_id = {only}"
    pairs = (
        "INSERT INTO job_metadata (job_id, tenant, key, value, created_at) "
        f"SELECT {identity}, 'tenant-' || n % 50, 'order', '' || n % 10000, {_AT[kind]} FROM {numbers}"
    )
    async with database.writing() as connection:
        if not database.is_sqlite:
            await connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        for statement in (copied, pairs):
            await connection.exec_driver_sql(statement if database.is_sqlite else statement.replace("%", "%%"))
    async with database.writing() as connection:
        await connection.exec_driver_sql("ANALYZE")


def looks(database: Database, jobs: int) -> dict[str, Look]:
    history, lives = HistoryStore(database), LifeStore(database)
    deep = (NEWEST - STEP * (jobs // 2), UUID(int=2**128 - 1))
    middle = UUID(f"01900000-0000-7000-8000-{jobs // 2:012x}")

    def page(**fields: object) -> Look:
        return lambda: history.page(JobFilter(**fields), limit=50)  # type: ignore[arg-type]

    return {
        "first page": page(),
        "a page amid history": lambda: history.page(JobFilter(), limit=50, after=deep),
        "one tenant": page(tenant="tenant-7"),
        "failed": page(states=(JobState.FAILED,)),
        "failed of one tenant": page(tenant="tenant-3", states=(JobState.FAILED,)),
        "by error code": page(error_code=ErrorCode.GENERATION_FAILED),
        "by metadata": page(metadata=(("order", "4711"),)),
        "between two instants": page(created_before=NEWEST - STEP * (jobs // 3), created_after=NEWEST - STEP * (jobs // 2)),
        "a common word": page(words=("fox",)),
        "a rare word": page(words=("zeppelin",)),
        "an absent word": page(words=("quokka",)),
        "Chinese words": page(words=("红色的狐狸",)),
        "a job by its id": lambda: lives.find(middle),
    }


async def medians(url: str, jobs: int) -> dict[str, float]:
    """Milliseconds of each look."""
    database = Database(database_url(url))
    try:
        await fill(database, jobs)
        return {name: await _median(look) for name, look in looks(database, jobs).items()}
    finally:
        await database.dispose()


async def _median(look: Look) -> float:
    await look()
    return statistics.median([await _timed(look) for _ in range(LOOKS)])


async def _timed(look: Look) -> float:
    began = time.perf_counter()
    await look()
    return (time.perf_counter() - began) * 1000


def exported(url: str, folder: Path) -> tuple[float, float]:
    """Rows a second of a whole export over HTTP, and by how many MiB it made the process grow."""
    with gateway(url, folder, "--no-worker") as server, httpx.Client(trust_env=False, timeout=600) as caller:
        key, rows, before = {"Authorization": f"Bearer {KEY}"}, 0, server.resident_mib()
        began, most = time.perf_counter(), before
        with caller.stream("GET", f"{server.url}/jobs/export?format=ndjson", headers=key) as answer:
            for chunk in answer.iter_raw():
                rows += chunk.count(b"\n")
                most = max(most, server.resident_mib())
        return rows / (time.perf_counter() - began), most - before


def run(say: Say, jobs: int = 1_000_000) -> list[Line]:
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as name, running_postgres(durable=True) as postgres:
        for kind in ("PostgreSQL", "SQLite"):
            with _fresh(kind, postgres, Path(name)) as url:
                small = asyncio.run(medians(url, SMALL))
            with _fresh(kind, postgres, Path(name)) as url:
                large = asyncio.run(medians(url, jobs))
                say(f"{kind}: { ({n: round(ms, 1) for n, ms in large.items()}) }")
                rate, grown = exported(url, Path(name))
            lines += [
                Line(f"{kind}: {look}", large[look], f"{SMALL:,} jobs", small[look], "ms", FLAT, at_most=True) for look in large
            ]
            say(f"{kind}: export of {jobs:,} rows: {rate:,.0f} rows/s, the process grew by {grown:.0f} MiB")
    return lines


@contextmanager
def _fresh(kind: str, postgres: object, folder: Path) -> Iterator[str]:
    if kind == "PostgreSQL":
        with postgres.fresh() as url:  # type: ignore[attr-defined]
            yield url
        return
    path = folder / f"{time.monotonic_ns()}.db"
    migrate(sqlite_url(path))
    yield sqlite_url(path)


def main(arguments: Sequence[str]) -> None:
    jobs = int(arguments[0]) if arguments else 1_000_000
    print(machine(), f"{jobs:,} jobs")
    print(table(run(lambda text: print(text, file=sys.stderr, flush=True), jobs)))


if __name__ == "__main__":
    main(sys.argv[1:])
