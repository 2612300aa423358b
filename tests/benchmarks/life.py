"""Whole life: jobs accepted over HTTP, sent, called back, checked and settled, with their events, on PostgreSQL.

The gateway (an API process and a worker process) against the same work with the same upstream calls, one submit and one check a
job, written with FastAPI and Procrastinate, Celery on Redis, taskiq on Redis; and against taskiq's submit and record alone.
The upstream and the load are processes of their own, and not counted. All start up and do some jobs before the clock runs.
A CPU-second is one of the system's own processes, API and workers; where it says so, of its database and broker too.

Run it alone with: python -m tests.benchmarks.life [JOBS]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg

from tests.benchmarks.load import post_exactly
from tests.benchmarks.measured import Line, Say, machine, table
from tests.benchmarks.process_tree import cpu_seconds, parent_of
from tests.benchmarks.redis_server import RedisServer, running_redis
from tests.benchmarks.servers import KEY, free_port, ready, running
from tests.benchmarks.upstream import KEY as UPSTREAM_KEY
from tests.benchmarks.upstream import Upstream, running_upstream
from tests.databases import Postgres, running_postgres

TIMES_THE_BEST, TIMES_SUBMITS = 2.0, 1.0  #: the goals
RUN_SECONDS = 1.0  #: of a task
WARM = 200  #: jobs before the clock runs
PATIENCE = 60  #: seconds without any news, then something is lost
EVENTS = 4  #: of a job at least: accepted, sent, called back, settled
AT_ONCE = "64"  #: tasks under way in a worker on asyncio


@dataclass(frozen=True)
class Life:
    """What so many jobs took."""

    jobs: int
    seconds: float  #: from the first post to the last settled
    own_cpu: float  #: seconds, of its own processes
    other_cpu: float  #: seconds, of its database and its broker

    @property
    def per_second(self) -> float:
        return self.jobs / self.seconds

    @property
    def per_own_cpu(self) -> float:
        return self.jobs / self.own_cpu

    @property
    def per_all_cpu(self) -> float:
        return self.jobs / (self.own_cpu + self.other_cpu)


def run(say: Say, jobs: int = 10_000) -> list[Line]:
    lives: dict[str, Life] = {}
    with tempfile.TemporaryDirectory() as directory, running_postgres(durable=True) as postgres:
        folder = Path(directory)
        for name, start in _SYSTEMS.items():
            lives[name] = _whole_life(start, postgres, folder, jobs)
            say(f"{name}: {lives[name]}")
        submits = _submits_alone(folder, jobs)
        say(f"{_SUBMITS}: {submits}")
    return _lines(lives.pop(_GATEWAY), lives, submits)


def _lines(ours: Life, peers: Mapping[str, Life], submits: Life) -> list[Line]:
    lines = []
    for what, unit, figure in (
        ("whole life", "jobs/s", lambda life: life.per_second),
        ("whole life", "jobs/CPU-s", lambda life: life.per_own_cpu),
        ("whole life, database and broker counted", "jobs/CPU-s", lambda life: life.per_all_cpu),
    ):
        best = max(peers, key=lambda peer: figure(peers[peer]))
        goal = None if "counted" in what else TIMES_THE_BEST
        lines += [
            Line(what, figure(ours), peer, figure(life), unit, goal if peer == best else None) for peer, life in peers.items()
        ]
    return [
        *lines,
        Line("whole life", ours.per_own_cpu, _SUBMITS, submits.per_own_cpu, "jobs/CPU-s", TIMES_SUBMITS),
        Line("whole life, database and broker counted", ours.per_all_cpu, _SUBMITS, submits.per_all_cpu, "jobs/CPU-s"),
    ]


@dataclass(frozen=True)
class System:
    """One that runs."""

    url: str  #: of its API
    pids: tuple[int, ...]  #: its own processes; what they started counts with them
    broker: tuple[int, ...]  #: likewise, beside the database


def _whole_life(start: _Start, postgres: Postgres, folder: Path, jobs: int) -> Life:
    with ExitStack() as stack:
        database = stack.enter_context(postgres.fresh(empty=start is not gateway_and_worker))
        upstream = stack.enter_context(running_upstream(folder, run_seconds=RUN_SECONDS))
        system = stack.enter_context(start(database, upstream.url, folder))
        books = stack.enter_context(psycopg.connect(database, autocommit=True))
        stores = (parent_of(books.info.backend_pid), *system.broker)
        live(system, upstream, books, WARM, WARM)
        own, others = cpu_seconds(system.pids), cpu_seconds(stores)
        seconds = live(system, upstream, books, jobs, WARM + jobs)
        life = Life(jobs, seconds, cpu_seconds(system.pids) - own, cpu_seconds(stores) - others)
        _prove(start, upstream, books, WARM + jobs)
    return life


def live(system: System, upstream: Upstream, books: psycopg.Connection, jobs: int, in_all: int) -> float:
    """Posts so many and waits until all are settled; seconds. The database is asked only when the upstream has told of all."""
    began = post_exactly(jobs, system.url, KEY)
    _until(lambda: _seen(upstream), in_all, every=0.1)
    _until(lambda: _row(books, "SELECT count(*) FROM jobs WHERE state = 'succeeded'"), in_all, every=0.02)
    return time.monotonic() - began


def _until(look: Callable[[], tuple[int, ...]], wanted: int, *, every: float) -> None:
    """Waits until the first of the figures is there; a change of any of them is news."""
    last, since = look(), time.monotonic()
    while (found := look())[0] < wanted:
        if found != last:
            last, since = found, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            raise RuntimeError(f"{found[0]} of {wanted}, and no news in {PATIENCE} s")
        time.sleep(every)


def _seen(upstream: Upstream) -> tuple[int, ...]:
    figures = upstream.figures()
    return figures.told, figures.submits, figures.callbacks


def _prove(start: _Start, upstream: Upstream, books: psycopg.Connection, jobs: int) -> None:
    """Raises RuntimeError: something was not done, or done twice."""
    pictured, task_ids, events = _row(books, _OUR_BOOKS if start is gateway_and_worker else _THEIR_BOOKS)
    seen = upstream.figures()
    done = (pictured, task_ids, seen.submits, seen.told, seen.checks, seen.callbacks)
    if set(done) != {jobs} or events < EVENTS * jobs:
        raise RuntimeError(f"of {jobs} jobs {pictured} succeeded, with {task_ids} tasks and {events} events; upstream: {seen}")


def _row(books: psycopg.Connection, query: LiteralString) -> tuple[int, ...]:
    row = books.execute(query).fetchone()
    assert row is not None
    return row


_OUR_BOOKS: LiteralString = """
SELECT count(*) FILTER (WHERE state = 'succeeded' AND images::jsonb->>0 LIKE 'http%'), count(DISTINCT task_id),
       (SELECT count(*) FROM events) FROM jobs JOIN submissions USING (job_id)"""
_THEIR_BOOKS: LiteralString = """
SELECT count(*) FILTER (WHERE state = 'succeeded' AND image_url LIKE 'http%'), count(DISTINCT task_id),
       (SELECT count(*) FROM events) FROM jobs"""


@contextmanager
def gateway_and_worker(database: str, upstream: str, folder: Path, **others: str) -> Iterator[System]:
    """Its limits are out of the way, and a check comes after the callback, never before."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "DATABASE_URL": database, "UPSTREAM_BASE_URL": upstream, "UPSTREAM_API_KEY": UPSTREAM_KEY, "PUBLIC_BASE_URL": url,
        "SECRET_KEY": "bench-secret-key-of-32-characters-or-more", "BOOTSTRAP_ADMIN_KEY": KEY, "LOG_FORMAT": "json",
        "IMAGE_STORE_URL": "off", "UPSTREAM_MAX_IN_FLIGHT": "100000", "UPSTREAM_SUBMIT_RATE": "10000",
        "UPSTREAM_STATUS_RATE": "10000", "CALLBACK_GRACE": "10m", "POLL_MIN": "10m", "POLL_MAX": "10m",
        **others,
    }  # fmt: skip
    environment = {f"GATEWAY_{name}": value for name, value in settings.items()}
    with (
        running([*_PYTHON, "app", "serve", "--no-worker", "--port", str(port)], environment, folder) as api,
        running([*_PYTHON, "app", "worker"], environment, folder) as worker,
    ):
        ready(url, "/healthz")
        yield System(url, (api, worker), ())


@contextmanager
def _procrastinate(database: str, upstream: str, folder: Path) -> Iterator[System]:
    module = "procrastinate_life"
    with _peer(
        module, [sys.executable, "-c", f"from {_named(module)} import work; work()"], database, upstream, folder
    ) as system:
        yield system


@contextmanager
def _celery(database: str, upstream: str, folder: Path) -> Iterator[System]:
    """Threads, sixteen: two, four and eight processes were tried on two cores, and mostly took more processor a job."""
    words = [*_PYTHON, "celery", "-A", f"{_named('celery_life')}:queue", "worker", "--pool", "threads", "--concurrency", "16"]
    words += ["--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    with running_redis(folder) as redis, _peer("celery_life", words, database, upstream, folder, redis) as system:
        yield system


@contextmanager
def _taskiq(database: str, upstream: str, folder: Path) -> Iterator[System]:
    worker = _taskiq_worker("taskiq_life")
    with running_redis(folder) as redis, _peer("taskiq_life", worker, database, upstream, folder, redis) as system:
        yield system


@contextmanager
def _peer(
    module: str, worker: Sequence[str], database: str, upstream: str, folder: Path, redis: RedisServer | None = None
) -> Iterator[System]:
    """Its API under uvicorn, one process without its access log, and its worker."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = _environment(upstream, redis) | {"BENCH_DATABASE_URL": database, "BENCH_CALLBACK_URL": f"{url}/callbacks"}
    words = [*_PYTHON, "uvicorn", f"{_named(module)}:app", "--port", str(port), "--no-access-log", "--log-level", "warning"]
    with running(words, environment, folder) as api:
        ready(url, "/docs")  # it makes the tables
        with running(worker, environment, folder) as tasks:
            yield System(url, (api, tasks), (redis.pid,) if redis else ())


def _submits_alone(folder: Path, jobs: int) -> Life:
    with running_upstream(folder, run_seconds=RUN_SECONDS) as upstream, running_redis(folder) as redis:
        environment = _environment(upstream.url, redis)
        with running(_taskiq_worker("taskiq_submit"), environment, folder) as worker:
            _submit(environment, redis, WARM, WARM)
            own, others = cpu_seconds([worker]), cpu_seconds([redis.pid])
            seconds = _submit(environment, redis, jobs, WARM + jobs)
            life = Life(jobs, seconds, cpu_seconds([worker]) - own, cpu_seconds([redis.pid]) - others)
        if (seen := upstream.figures().submits) != WARM + jobs:
            raise RuntimeError(f"{seen} submits of {WARM + jobs} jobs")
    return life


def _submit(environment: Mapping[str, str], redis: RedisServer, jobs: int, in_all: int) -> float:
    """Enqueues so many and waits until the results of all are there; seconds."""
    began = time.monotonic()
    subprocess.run([*_PYTHON, _named("taskiq_submit"), str(jobs)], env={**os.environ, **environment}, check=True)
    _until(lambda: (redis.count("result:*"),), in_all, every=0.1)
    return time.monotonic() - began


def _taskiq_worker(module: str) -> list[str]:
    options = ["--workers", "1", "--max-async-tasks", AT_ONCE, "--log-level", "WARNING"]
    return [*_PYTHON, "taskiq", "worker", *options, f"{_named(module)}:broker"]


def _environment(upstream: str, redis: RedisServer | None) -> dict[str, str]:
    broker = {"BENCH_REDIS_URL": redis.url} if redis else {}
    return {"BENCH_KEY": KEY, "BENCH_UPSTREAM_URL": upstream, "BENCH_UPSTREAM_KEY": UPSTREAM_KEY, **broker}


def _named(module: str) -> str:
    return f"tests.benchmarks.baselines.{module}"


_Start = Callable[[str, str, Path], AbstractContextManager[System]]
_PYTHON = (sys.executable, "-m")
_GATEWAY, _SUBMITS = "gateway", "taskiq, submit and record alone"
_SYSTEMS: Mapping[str, _Start] = {
    _GATEWAY: gateway_and_worker, "Procrastinate": _procrastinate, "Celery on Redis": _celery, "taskiq on Redis": _taskiq,
}  # fmt: skip

if __name__ == "__main__":
    print(machine())
    print(table(run(lambda text: print(text, file=sys.stderr), int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)))
