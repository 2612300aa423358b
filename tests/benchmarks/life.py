"""Whole life: jobs accepted over HTTP, sent, called back, checked and settled, with their events, on PostgreSQL.

The gateway (an API process and a worker process) against the same work with the same upstream calls, one submit and one check a
job, written with FastAPI and Procrastinate, Celery on Redis, taskiq on Redis. The upstream and the load are processes of their
own, and not counted. All start up and do some jobs before the clock runs. A CPU-second is one of the system's own processes,
API and workers; where it says so, of its database and broker too.

There are three rounds, in which the systems take turns. After the first only the gateway goes on, with the peers that were the
best in one of the figures; of the others there is one round, as their lines say. Celery's pools, threads and processes of
several numbers, are tried with a tenth of the jobs; those that are the best in one of the figures are measured.

The last lines are against taskiq's submit and record alone: nothing is accepted over HTTP, called back, checked or settled, and
Redis is all that keeps it. First it is the gateway's whole life that stands beside it; there taskiq's processor includes what
the process took that handed the tasks over, as the gateway's includes accepting. Then it is like for like, the sending alone:
all jobs are queued before (the gateway's dispatch is paused, taskiq's worker is stopped), the upstream never calls back and no
check comes due; the processor is that of the worker from then until all are recorded as sent.

Run it alone with: python -m tests.benchmarks.life [JOBS] [ROUNDS]
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import LiteralString

import httpx
import psycopg

from tests.benchmarks.durable import durable_postgres
from tests.benchmarks.load import post_exactly
from tests.benchmarks.measured import Result, Say, machine, table
from tests.benchmarks.process_tree import cpu_seconds, parent_of
from tests.benchmarks.redis_server import RedisServer, running_redis
from tests.benchmarks.rounds import compared, how_many, rotated
from tests.benchmarks.servers import KEY, free_port, ready, running
from tests.benchmarks.upstream import KEY as UPSTREAM_KEY
from tests.benchmarks.upstream import Upstream, running_upstream
from tests.databases import Postgres

NOTE = """
What is missed is the comparison with taskiq's submit and record alone. The whole life is four to five pieces of news a job,
each read and decided under the row's lock and committed with its events: accepted, about to be sent, sent, called back,
checked; the other is one call and one result in memory, which nobody can ask for what happened. Like for like, sending
alone, the gateway has 0.64 of it: it commits before each send that it is about to send, with a token of its own and an
entry in the books, and afterwards what was answered. Without the first, a crash amid a send would be paid twice or lost.
"""

TIMES_THE_BEST, TIMES_SUBMITS = 2.0, 1.0  #: the goals
RUN_SECONDS = 1.0  #: of a task
NEVER = 100_000.0  #: seconds, of a task that nobody hears of any more
WARM = 200  #: jobs before the clock runs
FULL = 2_000  #: jobs; a run with less only shows whether it works
PATIENCE = 60  #: seconds without any news, then something is lost
EVENTS = 4  #: of a job at least: accepted, sent, called back, settled
POOLS = {"threads": "threads", "processes": "prefork"}  #: of Celery, in its own words
AT_ONCE = "64"  #: tasks under way in a worker on asyncio
CELERY = (("threads", 8), ("threads", 16), ("processes", 2), ("processes", 4), ("processes", 8))  #: pools that are tried


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


@dataclass(frozen=True)
class Measure:
    """One of the figures that are compared."""

    what: str
    unit: str
    of: Callable[[Life], float]


PACE = Measure("whole life", "jobs/s", lambda life: life.per_second)
OWN = Measure("whole life, own processes", "jobs/CPU-s", lambda life: life.per_own_cpu)
ALL = Measure("whole life, database and broker counted", "jobs/CPU-s", lambda life: life.per_all_cpu)

Found = Mapping[str, Sequence[Life]]  #: of each round
Run = Callable[[], Mapping[str, Life]]


def run(say: Say, jobs: int = 10_000, repeats: int | None = None) -> list[Result]:
    """`repeats` are the rounds."""
    found: dict[str, list[Life]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory, durable_postgres() as postgres:
        folder = Path(directory)
        peers = {**_PEERS, **_best_of_celery(say, postgres, folder, jobs)}
        runs = _runs(peers, postgres, folder, jobs)
        for number in range(how_many(repeats, full=jobs >= FULL)):
            for name in rotated(list(runs), number):
                for what, life in runs[name]().items():
                    found[what].append(life)
                    say(f"round {number + 1}, {what}: {life}")
            best = _best({peer: found[peer] for peer in peers})
            runs = {name: once for name, once in runs.items() if name not in peers or name in best}
    return [*_against_peers(found, list(peers)), *_against_submits(found)]


def _runs(peers: Mapping[str, _Start], postgres: Postgres, folder: Path, jobs: int) -> dict[str, Run]:
    def whole(name: str, start: _Start) -> Mapping[str, Life]:
        return {name: _whole_life(start, postgres, folder, jobs)}

    return {
        **{name: partial(whole, name, start) for name, start in {_GATEWAY: gateway_and_worker, **peers}.items()},
        _SUBMITS: partial(_submits_alone, folder, jobs),
        _SENDING: partial(_sending_alone, postgres, folder, jobs),
    }


def _best(found: Found) -> set[str]:
    """Who is the best in one of the figures."""
    return {max(found, key=lambda name: _median(found[name], measure)) for measure in (PACE, OWN, ALL)}


def _median(lives: Sequence[Life], measure: Measure) -> float:
    return median(measure.of(life) for life in lives)


def _against_peers(found: Found, peers: Sequence[str]) -> Iterator[Result]:
    rounds = len(found[_GATEWAY])
    for measure in (PACE, OWN, ALL):
        best = max(peers, key=lambda peer: _median(found[peer], measure))
        for peer in peers:
            name = peer if len(found[peer]) == rounds else f"{peer}, one round"
            yield from _beside(
                measure.what, found[_GATEWAY], name, found[peer], measure, TIMES_THE_BEST if peer == best else None
            )


def _against_submits(found: Found) -> Iterator[Result]:
    ours, theirs, name = found[_GATEWAY], found[_SUBMITS], "taskiq, submit and record"
    yield from _beside("whole life against submit and record alone, own processes", ours, name, theirs, OWN, TIMES_SUBMITS)
    yield from _beside(
        "whole life against submit and record alone, database and broker counted", ours, name, theirs, ALL, TIMES_SUBMITS
    )
    sending, sent = found[_SENDING], found[_SENT]
    yield from _beside("sending alone, the worker's processor", sending, name, sent, OWN, TIMES_SUBMITS)
    yield from _beside("sending alone, database and broker counted", sending, name, sent, ALL)


def _beside(
    what: str, ours: Sequence[Life], baseline: str, theirs: Sequence[Life], measure: Measure, goal: float | None = None
) -> list[Result]:
    figures = [[measure.of(life) for life in lives] for lives in (ours, theirs)]
    return [*compared(what, figures[0], baseline, figures[1], measure.unit, goal)]


@dataclass(frozen=True)
class System:
    """One that runs."""

    url: str  #: of its API
    pids: tuple[int, ...]  #: its own processes, the API first; what they started counts with them
    broker: tuple[int, ...]  #: likewise, beside the database


@dataclass(frozen=True)
class _Stage:
    """A system, what it works with, and our view of its database."""

    system: System
    upstream: Upstream
    books: psycopg.Connection

    def cpu(self, pids: Sequence[int]) -> tuple[float, float]:
        """Seconds so far of these, and of the database with the broker."""
        return cpu_seconds(pids), cpu_seconds((parent_of(self.books.info.backend_pid), *self.system.broker))


@contextmanager
def _stage(start: _Start, postgres: Postgres, folder: Path, run_seconds: float = RUN_SECONDS) -> Iterator[_Stage]:
    with ExitStack() as stack:
        database = stack.enter_context(postgres.fresh(empty=start is not gateway_and_worker))
        upstream = stack.enter_context(running_upstream(folder, run_seconds=run_seconds))
        system = stack.enter_context(start(database, upstream.url, folder))
        yield _Stage(system, upstream, stack.enter_context(psycopg.connect(database, autocommit=True)))


def _whole_life(start: _Start, postgres: Postgres, folder: Path, jobs: int) -> Life:
    with _stage(start, postgres, folder) as stage:
        system, upstream, books = stage.system, stage.upstream, stage.books
        live(system, upstream, books, WARM, WARM)
        own, others = stage.cpu(system.pids)
        seconds = live(system, upstream, books, jobs, WARM + jobs)
        own_after, others_after = stage.cpu(system.pids)
        _prove(start, upstream, books, WARM + jobs)
    return Life(jobs, seconds, own_after - own, others_after - others)


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


_RUNNING: LiteralString = """
SELECT count(*), count(DISTINCT task_id) FROM jobs JOIN submissions USING (job_id) WHERE state = 'running'"""
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


def _best_of_celery(say: Say, postgres: Postgres, folder: Path, jobs: int) -> dict[str, _Start]:
    """Its pools that are the best in one of the figures, with a tenth of the jobs."""
    pools, few = (CELERY, jobs // 10) if jobs >= FULL else (CELERY[1:3], 50)  # one of each kind, to see that it works
    starts: dict[str, _Start] = {f"Celery on Redis, {n} {pool}": partial(_celery, pool, n) for pool, n in pools}
    tried = {name: [_whole_life(start, postgres, folder, few)] for name, start in starts.items()}
    say(f"tried with {few} jobs: {tried}")
    return {name: starts[name] for name in starts if name in _best(tried)}


@contextmanager
def _celery(pool: str, workers: int, database: str, upstream: str, folder: Path) -> Iterator[System]:
    words = [*_PYTHON, "celery", "-A", f"{_named('celery_life')}:queue", "worker", "--loglevel", "WARNING"]
    words += ["--pool", POOLS[pool], "--concurrency", str(workers)]
    words += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
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


def _sending_alone(postgres: Postgres, folder: Path, jobs: int) -> Mapping[str, Life]:
    with _stage(gateway_and_worker, postgres, folder, NEVER) as stage:
        post_exactly(WARM, stage.system.url, KEY)
        _sent(stage, WARM)
        _dispatch(stage.system, "pause")
        post_exactly(jobs, stage.system.url, KEY)
        worker = stage.system.pids[1:]
        own, others = stage.cpu(worker)
        began = time.monotonic()
        _dispatch(stage.system, "resume")
        _sent(stage, WARM + jobs)
        seconds = time.monotonic() - began
        own_after, others_after = stage.cpu(worker)
        seen = stage.upstream.figures()
        if _row(stage.books, _RUNNING) != (WARM + jobs, WARM + jobs) or (seen.checks, seen.callbacks) != (0, 0):
            raise RuntimeError(f"of {WARM + jobs} jobs (running, tasks): {_row(stage.books, _RUNNING)}; upstream: {seen}")
    return {_SENDING: Life(jobs, seconds, own_after - own, others_after - others)}


def _sent(stage: _Stage, in_all: int) -> None:
    _until(lambda: (stage.upstream.figures().submits,), in_all, every=0.1)
    _until(lambda: _row(stage.books, _RUNNING), in_all, every=0.02)


def _dispatch(system: System, act: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    httpx.post(f"{system.url}/dispatch/{act}", headers=headers, trust_env=False).raise_for_status()


def _submits_alone(folder: Path, jobs: int) -> Mapping[str, Life]:
    """The whole, with what handing over took; and what the worker did from then on, with all there to be taken."""
    with running_upstream(folder, run_seconds=NEVER) as upstream, running_redis(folder) as redis:
        environment = _environment(upstream.url, redis)
        with running(_taskiq_worker("taskiq_submit"), environment, folder) as worker:
            _enqueue(environment, WARM)
            _recorded(upstream, redis, WARM)
            with _held(worker):
                at_first, began = cpu_seconds([redis.pid]), time.monotonic()
                enqueuing = _enqueue(environment, jobs)
                own, queued, then = cpu_seconds([worker]), cpu_seconds([redis.pid]), time.monotonic()
            _recorded(upstream, redis, WARM + jobs)
            done = time.monotonic()
            own, others = cpu_seconds([worker]) - own, cpu_seconds([redis.pid])
            _until(lambda: (redis.count("result:*"),), WARM + jobs, every=1)
        if (seen := upstream.figures().submits) != WARM + jobs:
            raise RuntimeError(f"{seen} submits of {WARM + jobs} jobs")
    return {
        _SUBMITS: Life(jobs, done - began, own + enqueuing, others - at_first),
        _SENT: Life(jobs, done - then, own, others - queued),
    }


def _enqueue(environment: Mapping[str, str], jobs: int) -> float:
    """The processor seconds that it took, without the start of the process that does it."""
    words = [*_PYTHON, _named("taskiq_submit"), str(jobs)]
    told = subprocess.run(words, env={**os.environ, **environment}, check=True, capture_output=True, text=True).stdout
    return float(told)


@contextmanager
def _held(pid: int) -> Iterator[None]:
    """What this process started is stopped meanwhile."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    assert children, "the worker's process is a child of this one"
    for child in children:
        os.kill(child, signal.SIGSTOP)
    try:
        yield
    finally:
        for child in children:
            os.kill(child, signal.SIGCONT)


def _recorded(upstream: Upstream, redis: RedisServer, in_all: int) -> None:
    """Returns when all are sent, and their results there: with the stream they are all that Redis keeps."""
    _until(lambda: (upstream.figures().submits,), in_all, every=0.1)
    _until(lambda: (redis.keys(),), in_all + 1, every=0.02)


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
_GATEWAY, _SENDING = "gateway", "gateway, sending alone"
_SUBMITS, _SENT = "taskiq, submit and record alone", "taskiq, submit and record alone, once all are queued"
_PEERS: Mapping[str, _Start] = {"Procrastinate": _procrastinate, "taskiq on Redis": _taskiq}

if __name__ == "__main__":
    print(machine())
    print(table(run(lambda text: print(text, file=sys.stderr), *map(int, sys.argv[1:]))))
