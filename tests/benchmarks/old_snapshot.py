"""Old snapshot: what a snapshot that is open for long elsewhere (a report, a dump) costs claims, confirmations and settlements.

PostgreSQL keeps every row version that such a snapshot may still see, so whatever walks an index from its start walks over all
that was claimed and settled since. The work is timed in five parts; told is the last, when most lies about, against the same
part without a snapshot.

Run it alone with: python -m tests.benchmarks.old_snapshot [JOBS]
"""

from __future__ import annotations

import asyncio
import sys

import psycopg

from tests.benchmarks.durable import durable_postgres
from tests.benchmarks.measured import Line, Result, Say, machine, table
from tests.benchmarks.steps import STEPS, steps_a_second
from tests.databases import Postgres


def run(say: Say, jobs: int = 20_000) -> list[Result]:
    with durable_postgres() as postgres:
        without, beside = (_last_part(say, postgres, jobs, snapshot=snapshot) for snapshot in (False, True))
    return [Line(f"{step}, beside an old snapshot", beside[step], "without one", without[step], "jobs/s") for step in STEPS]


def _last_part(say: Say, postgres: Postgres, jobs: int, *, snapshot: bool) -> dict[str, float]:
    with postgres.fresh() as url, psycopg.connect(url) as report:
        if snapshot:
            report.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            report.execute("SELECT count(*) FROM jobs")
        parts = asyncio.run(steps_a_second(url, jobs))
    for part in parts:
        rates = ", ".join(f"{step} {rate:,.0f}/s" for step, rate in part.items())
        say(f"{'beside an old snapshot' if snapshot else 'without a snapshot'}: {rates}")
    return parts[-1]


if __name__ == "__main__":
    print(machine())
    print(table(run(lambda text: print(text, file=sys.stderr), *map(int, sys.argv[1:]))))
