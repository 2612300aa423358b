"""Intake: `POST /jobs` against (a) a route that stores nothing and (b) the usual ORM route with one commit a request.

Run it alone with: python -m tests.benchmarks.intake [SECONDS]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from tests.benchmarks.measured import Line, Say, machine, table
from tests.benchmarks.servers import KEY, Server, baseline, gateway
from tests.benchmarks.wrk import Load, post_jobs
from tests.databases import running_postgres

CONNECTIONS = (32, 128)
OVER_A, OVER_B, P99 = 0.6, {"PostgreSQL": 3.0, "SQLite": 8.0}, 1.0


def run(say: Say, seconds: int = 10) -> list[Line]:
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as name, running_postgres(durable=True) as postgres:
        folder = Path(name)
        with baseline("stores_nothing", folder) as server:
            nothing = _loads(server, seconds)
        say(f"stores nothing: {nothing}")
        for database in ("PostgreSQL", "SQLite"):
            with _url(database, postgres, folder, "ours") as url, _gateway(database, url, folder) as server:
                ours = _loads(server, seconds)
            say(f"gateway, {database}: {ours}")
            with _url(database, postgres, folder, "theirs") as url:
                address = make_url(url).set(drivername="postgresql+psycopg" if database == "PostgreSQL" else "sqlite+aiosqlite")
                text = address.render_as_string(hide_password=False)
                with baseline("orm_route", folder, BENCH_DATABASE_URL=text) as server:
                    theirs = _loads(server, seconds)
            say(f"ORM route, {database}: {theirs}")
            for n in CONNECTIONS:
                what = f"intake, {database}, {n} connections"
                lines += [
                    Line(what, ours[n].per_second, "stores nothing", nothing[n].per_second, "jobs/s", OVER_A),
                    Line(what, ours[n].per_second, "ORM route", theirs[n].per_second, "jobs/s", OVER_B[database]),
                    Line(f"{what}, p99", ours[n].p99, "ORM route", theirs[n].p99, "ms", P99, at_most=True),
                ]
    return lines


def _loads(server: Server, seconds: int) -> dict[int, Load]:
    post_jobs(server.url, KEY, connections=8, seconds=2)  # warm
    return {n: post_jobs(server.url, KEY, connections=n, seconds=seconds) for n in CONNECTIONS}


@contextmanager
def _gateway(database: str, url: str, folder: Path) -> Iterator[Server]:
    """The API alone: nothing is sent meanwhile."""
    with gateway(url, folder, "--no-worker") as server:
        yield server


@contextmanager
def _url(database: str, postgres: object, folder: Path, name: str) -> Iterator[str]:
    if database == "SQLite":
        yield f"sqlite:///{folder / name}.db"
        return
    with postgres.fresh() as url:  # type: ignore[attr-defined]
        yield url


if __name__ == "__main__":
    print(machine())
    print(table(run(lambda text: print(text, file=sys.stderr), int(sys.argv[1]) if len(sys.argv) > 1 else 10)))
