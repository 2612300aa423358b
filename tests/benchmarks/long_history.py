"""A long history: settled jobs of fifty tenants, five a second, each with all that hangs on a job in life.

Each has a submission, its events, a callback, a stored picture and a pair of metadata. Half of all jobs are the large tenant's.
One in nineteen failed, one in some four hundred lost its task, as many were canceled. Ten jobs have the rare word, all of them
in the oldest third; one in about a thousand has the Chinese ones, and every other one the common word.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import text

from app.lifecycle.states import JobState
from app.storage.database import Database
from tests.benchmarks.history import call_back, instant, job_id, multiply, numbered, run_each, settled_down
from tests.storage.factory import Factory

STEP = timedelta(milliseconds=200)  #: between two jobs
SET, TENANTS = 1, 50
LARGE, SMALL = "tenant-0", "tenant-7"  #: with half of all jobs, and with a hundredth
COMMON, RARE, CHINESE, ABSENT = "fox", "zeppelin", "红色的狐狸", "quokka"
PAIRS = 499  #: values of the pair `order`

_TENANT = f"CASE WHEN n % 2 = 0 THEN '{LARGE}' ELSE 'tenant-' || (1 + (n / 2) % {TENANTS - 1}) END"
_CANCELED, _LOST, _FAILED, _IN_CHINESE = "n % 397 = 11", "n % 401 = 7", "n % 19 = 3", (997, 5)


async def fill(database: Database, jobs: int, newest: datetime) -> None:
    """Copies one job that went the whole way, with other instants, prompts, tenants, keys and ends."""
    life = await Factory(database).in_state(JobState.SUCCEEDED)
    await call_back(database, life)
    created, sent, ended = (instant(database, newest + timedelta(seconds=later), STEP) for later in (0, 1, 12))
    changed = {
        "created_at": created, "submitted_at": sent, "finished_at": ended, "updated_at": ended, "prompt": _prompt(jobs),
        "tenant": _TENANT, "idempotency_key": "'order-' || n",
        "state": f"CASE WHEN {_CANCELED} THEN 'canceled' WHEN {_LOST} OR {_FAILED} THEN 'failed' ELSE state END",
        "error_code": f"CASE WHEN {_CANCELED} THEN NULL WHEN {_LOST} THEN 'task_lost' "
        f"WHEN {_FAILED} THEN 'generation_failed' END",
    }  # fmt: skip
    times = {"sent_at": sent, "answered_at": sent, "checked_at": ended, "closed_at": ended}
    await multiply(database, life, jobs, set_no=SET, jobs=changed, submissions=times)
    tenants, pairs = numbered(database, 0, TENANTS - 1), numbered(database, 0, jobs - 1)
    await run_each(
        database,
        f"INSERT INTO tenants (name, created_at) SELECT 'tenant-' || n, {instant(database, newest)} FROM {tenants}",
        "INSERT INTO job_metadata (job_id, tenant, key, value, created_at) "
        f"SELECT {job_id(database, SET)}, {_TENANT}, 'order', '' || (n % {PAIRS}), {created} FROM {pairs}",
        _books(database),
    )
    await settled_down(database)


def with_the_rare_word(jobs: int) -> int:
    first, every = _rare(jobs)
    return len(range(first, jobs, every))


def with_the_chinese_words(newest: int, is_meant: Callable[[int], bool] = lambda _: True) -> int:
    """How many of the newest jobs have them, of those that are meant."""
    every, at = _IN_CHINESE
    return sum(n % every == at and is_meant(n) for n in range(newest))


def of_the_large_tenant(number: int) -> bool:
    return number % 2 == 0


async def bytes_of(database: Database) -> int:
    """What the whole database takes on the disk, with its indexes."""
    query = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    async with database.reading() as connection:
        size = query if database.is_sqlite else "SELECT pg_database_size(current_database())"
        return int((await connection.execute(text(size))).scalar_one())


def _prompt(jobs: int) -> str:
    first, every = _rare(jobs)
    chinese, at = _IN_CHINESE
    return (
        f"'A ' || CASE WHEN n % 4 < 2 THEN '{COMMON}' ELSE 'lighthouse' END"
        f" || CASE WHEN n >= {first} AND (n - {first}) % {every} = 0 THEN ' {RARE}' ELSE '' END"
        f" || CASE WHEN n % {chinese} = {at} THEN ' 一只{CHINESE}在雪地里' ELSE '' END || ' number ' || n"
    )


def _rare(jobs: int) -> tuple[int, int]:
    """The first job with the rare word, and the odd number of jobs from each to the next: both even and odd ones have it."""
    first = jobs * 2 // 3
    return first, max(1, (jobs - first) // 10) | 1


def _books(database: Database) -> str:
    """The usage, summed up by day, as it is within seconds in life."""
    day = "date(created_at / 1000000, 'unixepoch')" if database.is_sqlite else "(created_at AT TIME ZONE 'UTC')::date"

    def ended(state: str) -> str:
        return f"sum(CASE WHEN state = '{state}' THEN 1 ELSE 0 END)"

    return (
        "INSERT INTO usage_days (tenant, day, open, held, consumed, accepted, succeeded, failed, canceled) "
        f"SELECT tenant, {day}, 0, 0, 5 * {ended('succeeded')}, count(*), {ended('succeeded')}, {ended('failed')}, "
        f"{ended('canceled')} FROM jobs GROUP BY 1, 2"
    )
