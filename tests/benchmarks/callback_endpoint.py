"""Callback endpoint: how fast `POST /callbacks/{token}` answers on PostgreSQL, alone and while the rest runs, and how soon a
caller hears.

Every callback bears the token of an open submission of its own, and makes the gateway, one process with all of its duties, ask
the upstream, which says that the task has ended. The baseline is the usual webhook endpoint: FastAPI and SQLAlchemy's ORM, the
body stored, one commit a request, 20 connections; it checks nothing and settles nothing, and nothing else is asked of it.

There are two series. In the first the permitted rate holds the checks to 100 a second (`GATEWAY_UPSTREAM_STATUS_RATE`); what
more is called back is only written down for now. In the second the rest runs: the rate holds nothing back, so that tasks are
checked and jobs settled as fast as the processor allows, and 50 more jobs a second are posted and sent meanwhile. Told beside
them are the checks that were made for each callback until the load ended, and the jobs that were sent. There are three rounds,
in which the two series and the baseline take turns, each on a new database.

Last, a caller waits for its job (`Prefer: wait`), the upstream calls back, and the time is taken from there to the caller's
answer. The gateway must take in the callback, ask for the status, settle the job and read it for the caller; the baseline is
what cannot be left out of it, one after the other: the callback stored by the usual endpoint, the status asked, the job read.
The two take turns, callback by callback.

Run it alone with: python -m tests.benchmarks.callback_endpoint [SECONDS] [CALLBACKS_THAT_ARE_WAITED_FOR] [ROUNDS]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
from sqlalchemy import make_url

from tests.benchmarks.durable import durable_postgres
from tests.benchmarks.history import task_of, token_of
from tests.benchmarks.load import posting_steadily
from tests.benchmarks.measured import Figure, Line, Result, Say, machine, table
from tests.benchmarks.open_tasks import SET, open_submissions, open_tasks
from tests.benchmarks.rounds import compared, how_many, rotated
from tests.benchmarks.servers import KEY, Server, baseline, gateway
from tests.benchmarks.wrk import Load, post_callbacks
from tests.databases import Postgres

NOTE = """
What is missed is missed while one process does all at once: for each callback that it takes in with 32 connections it makes
a check of the upstream and settles a job, and it accepts and sends fifty more jobs a second, while the usual endpoint only
writes down what it was told. The processor of that one process is the limit. Where the checks are held to a rate, as an
upstream's limits do, or made by a worker beside the API, the first series is what an endpoint does.
"""

CONNECTIONS = (32, 128)
WARM = 2  #: seconds
FULL = 5  #: seconds; a run with less only shows whether it works
MOST = 4_000  #: callbacks a second, far more than there are
HELD, FREE = "100", "10000"  #: checks a second
POSTED = 50  #: jobs a second, while the rest runs
GOAL = 1.0
SETTINGS = {
    "GATEWAY_PUBLIC_BASE_URL": "http://127.0.0.1:9",  # who calls back is this benchmark
    "GATEWAY_UPSTREAM_SUBMIT_RATE": "1000",
    "GATEWAY_UPSTREAM_MAX_IN_FLIGHT": "100000",
    "GATEWAY_CALLBACK_GRACE": "10m",  # no check but for a callback
    "GATEWAY_POLL_MIN": "10m",
    "GATEWAY_POLL_MAX": "10m",
}

_HELD, _BUSY, _USUAL = "acknowledgements, checks held to 100/s", "acknowledgements while the rest runs", "one commit a request"


@dataclass(frozen=True)
class Heard:
    """What the callers saw of an endpoint, and what the gateway did meanwhile."""

    load: Load
    checks: int = 0
    sent: int = 0  #: of the jobs that were posted


Found = dict[int, Heard]  #: by connections


def run(say: Say, seconds: int = 8, rounds: int = 300, repeats: int | None = None) -> list[Result]:
    """`rounds` are the callbacks that somebody waits for, `repeats` the rounds of the loads."""
    found: dict[str, list[Found]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name, durable_postgres() as postgres:
        folder = Path(name)
        runs: dict[str, Callable[[], Found]] = {
            _HELD: partial(_ours, postgres, folder, seconds, HELD, 0),
            _BUSY: partial(_ours, postgres, folder, seconds, FREE, POSTED),
            _USUAL: partial(_theirs, postgres, folder, seconds),
        }
        for number in range(how_many(repeats, full=seconds >= FULL)):
            for what in rotated(list(runs), number):
                found[what].append(runs[what]())
                say(f"round {number + 1}, {what}: {found[what][-1]}")
        heard, least = _waited_for(postgres, folder, rounds)
    series = [line for what in (_HELD, _BUSY) for n in CONNECTIONS for line in _lines(what, n, found[what], found[_USUAL])]
    return [*series, *_told(heard, least)]


def _lines(what: str, n: int, ours: Sequence[Found], theirs: Sequence[Found]) -> Iterator[Result]:
    heard, usual = [found[n] for found in ours], [found[n] for found in theirs]
    pace, late = ([[figure(one.load) for one in of] for of in (heard, usual)] for figure in (_rate, _p99_of))
    yield from compared(f"{what}, {n} connections", pace[0], _USUAL, pace[1], "callbacks/s", GOAL)
    yield from compared(f"{what}, {n} connections, p99", late[0], _USUAL, late[1], "ms", GOAL, at_most=True)
    checks = statistics.median(one.checks / one.load.requests for one in heard)
    yield Figure(f"{what}, {n} connections: checks meanwhile", checks, "a callback")
    if what == _BUSY:
        sent = statistics.median(one.sent / one.load.seconds for one in heard)
        yield Figure(f"{what}, {n} connections: jobs sent, of {POSTED}/s posted", sent, "jobs/s")


def _rate(load: Load) -> float:
    return load.per_second


def _p99_of(load: Load) -> float:
    return load.p99


def _told(heard: Sequence[float], least: Sequence[float]) -> list[Line]:
    what, against = "from callback to the waiting caller's answer", "stored, asked and read in turn"
    return [
        Line(f"{what}, p50", statistics.median(heard), against, statistics.median(least), "ms"),
        Line(f"{what}, p99", _p99(heard), against, _p99(least), "ms"),
    ]


def _ours(postgres: Postgres, folder: Path, seconds: int, checks: str, posted: int) -> Found:
    with postgres.fresh() as url, open_tasks(folder, "SUCCESS") as upstream, httpx.Client(trust_env=False) as http:
        rates = {"GATEWAY_UPSTREAM_BASE_URL": upstream.url, "GATEWAY_UPSTREAM_STATUS_RATE": checks}
        asyncio.run(open_submissions(url, _tokens(seconds), due_in=timedelta(hours=1)))

        def meanwhile() -> tuple[int, int]:
            asked: int = http.get(f"{upstream.url}/asked").json()["asked"]
            return asked, _sent(url)

        with gateway(url, folder, **{**SETTINGS, **rates}) as server, _posting(server, folder, posted):
            found = _loads(server, seconds, meanwhile)
    if posted and not all(heard.sent for heard in found.values()):
        raise RuntimeError(f"jobs were to be sent meanwhile: {found}")
    return found


def _theirs(postgres: Postgres, folder: Path, seconds: int) -> Found:
    with _usual_endpoint(postgres, folder) as server:
        return _loads(server, seconds, lambda: (0, 0))


@contextmanager
def _posting(server: Server, folder: Path, per_second: int) -> Iterator[None]:
    if per_second:
        with posting_steadily(per_second, server.url, KEY, folder):
            yield
    else:
        yield


@contextmanager
def _usual_endpoint(postgres: Postgres, folder: Path) -> Iterator[Server]:
    with postgres.fresh() as url:
        address = make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        with baseline("callback_route", folder, BENCH_DATABASE_URL=address) as server:
            yield server


def _sent(url: str) -> int:
    """How many jobs the gateway has sent itself."""
    with psycopg.connect(url) as connection:
        [sent] = connection.execute("SELECT count(*) FROM submissions WHERE task_id LIKE 'made-%'").fetchone() or (0,)
    return int(sent)


def _tokens(seconds: int) -> int:
    return MOST * (WARM + seconds * len(CONNECTIONS))


def _loads(server: Server, seconds: int, meanwhile: Callable[[], tuple[int, int]]) -> Found:
    """Each load goes on with tokens that were not used before."""
    token, task = token_of(SET, 0)[:-1], task_of(SET, "")
    load = partial(post_callbacks, server.url, token, task, count=_tokens(seconds))
    load(first=0, connections=8, seconds=WARM)
    found = {}
    for turn, n in enumerate(CONNECTIONS):
        checks, sent = meanwhile()
        heard = load(first=MOST * (WARM + turn * seconds), connections=n, seconds=seconds)
        if heard.requests > MOST * seconds:
            raise RuntimeError(f"{heard.requests} callbacks in {seconds} s: tokens were used twice")
        checks_after, sent_after = meanwhile()
        found[n] = Heard(heard, checks_after - checks, sent_after - sent)
    return found


def _waited_for(postgres: Postgres, folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    with _usual_endpoint(postgres, folder) as usual, postgres.fresh() as url, open_tasks(folder, "SUCCESS") as upstream:
        rates = {"GATEWAY_UPSTREAM_BASE_URL": upstream.url, "GATEWAY_UPSTREAM_STATUS_RATE": "1000"}
        with gateway(url, folder, **{**SETTINGS, **rates}) as server:
            return asyncio.run(_until_told(server, upstream, usual, rounds))


async def _until_told(server: Server, upstream: Server, usual: Server, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds from a callback to the waiting caller's answer, and those of the baseline; they take turns."""
    heard, least = [], []
    async with httpx.AsyncClient(trust_env=False, timeout=60, headers={"Authorization": f"Bearer {KEY}"}) as http:
        for number in range(rounds + 10):
            job, callback = await _running_job(http, server, upstream)
            told = await _hear(http, job, callback)
            alone = await _one_after_the_other(http, job, upstream, usual)
            if number >= 10:  # the first ones open connections
                heard.append(told)
                least.append(alone)
    return heard, least


async def _running_job(http: httpx.AsyncClient, server: Server, upstream: Server) -> tuple[str, str]:
    """The address of a job that runs, and where to call back for it."""
    accepted = (await http.post(f"{server.url}/jobs", json={"prompt": "A red fox in the snow"})).raise_for_status().json()
    job = f"{server.url}/jobs/{accepted['id']}"
    while (shown := (await http.get(job)).json())["state"] != "running":
        await asyncio.sleep(0.01)
    told = await http.get(f"{upstream.url}/callback", params={"task_id": shown["upstream"]["task_id"]})
    return job, server.url + urlsplit(told.json()["url"]).path


async def _hear(http: httpx.AsyncClient, job: str, callback: str) -> float:
    waiting = asyncio.create_task(http.get(job, headers={"Prefer": "wait=30"}))
    await asyncio.sleep(0.05)  # it is there by then
    began = time.perf_counter()
    await _call_back(http, callback)
    answer = await waiting
    took = (time.perf_counter() - began) * 1000
    assert answer.json()["state"] == "succeeded", answer.text
    return took


async def _one_after_the_other(http: httpx.AsyncClient, job: str, upstream: Server, usual: Server) -> float:
    began = time.perf_counter()
    await _call_back(http, f"{usual.url}/callbacks/token")
    (await http.get(f"{upstream.url}/api/status?task_id=made-1")).raise_for_status()
    (await http.get(job)).raise_for_status()
    return (time.perf_counter() - began) * 1000


async def _call_back(http: httpx.AsyncClient, url: str) -> None:
    (await http.post(url, json={"code": 200, "data": {"status": "SUCCESS"}})).raise_for_status()


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


if __name__ == "__main__":
    print(machine())
    print(table(run(lambda text: print(text, file=sys.stderr), *map(int, sys.argv[1:]))))
