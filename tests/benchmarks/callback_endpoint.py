"""Callback endpoint: `POST /callbacks/{token}` on PostgreSQL while the gateway checks and settles, and how soon a caller
hears.

Every callback bears the token of an open submission of its own, and makes the gateway ask the upstream, which says that the
task has ended. The baseline is the usual webhook endpoint: FastAPI and SQLAlchemy's ORM, the body stored, one commit a request;
it checks nothing and settles nothing.

The second part: a caller waits for its job (`Prefer: wait`), the upstream calls back, and the time is taken from there to the
caller's answer. The gateway must take in the callback, ask for the status, settle the job and read it for the caller; the
baseline is what cannot be left out of it, one after the other: the callback stored by the usual endpoint, the status asked, the
job read.

Run it alone with: python -m tests.benchmarks.callback_endpoint [SECONDS] [ROUNDS]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from sqlalchemy import make_url

from tests.benchmarks.history import task_of, token_of
from tests.benchmarks.measured import Figure, Line, Result, Say, machine, table
from tests.benchmarks.open_tasks import SET, open_submissions, open_tasks
from tests.benchmarks.servers import KEY, Server, baseline, gateway
from tests.benchmarks.wrk import Load, post_callbacks
from tests.databases import running_postgres

CONNECTIONS = (32, 128)
CHECKS = 100  #: a second
SETTINGS = {
    "GATEWAY_PUBLIC_BASE_URL": "http://127.0.0.1:9",  # who calls back is this benchmark
    "GATEWAY_UPSTREAM_SUBMIT_RATE": "1000",
}


def run(say: Say, seconds: int = 10, rounds: int = 300) -> list[Result]:
    tokens = 8000 * (seconds * len(CONNECTIONS) + 2)  # more than can be used
    with tempfile.TemporaryDirectory() as name, running_postgres(durable=True) as postgres:
        folder = Path(name)
        with postgres.fresh() as url, open_tasks(folder, "SUCCESS") as upstream:
            settings = {**SETTINGS, "GATEWAY_UPSTREAM_BASE_URL": upstream.url, "GATEWAY_UPSTREAM_STATUS_RATE": str(CHECKS)}
            asyncio.run(open_submissions(url, tokens, due_in=timedelta(hours=1)))
            with gateway(url, folder, **settings) as server:
                ours = _loads(server, seconds, tokens)
                checked = httpx.get(f"{upstream.url}/asked", trust_env=False).json()["asked"]
        say(f"gateway: {ours}; {checked} checks meanwhile")
        with postgres.fresh() as theirs_url:
            address = make_url(theirs_url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
            with baseline("callback_route", folder, BENCH_DATABASE_URL=address) as usual:
                theirs = _loads(usual, seconds, tokens)
                say(f"usual endpoint: {theirs}")
                with postgres.fresh() as url, open_tasks(folder, "SUCCESS") as upstream:
                    settings = {**SETTINGS, "GATEWAY_UPSTREAM_BASE_URL": upstream.url, "GATEWAY_UPSTREAM_STATUS_RATE": "1000"}
                    with gateway(url, folder, **settings) as server:
                        heard, least = asyncio.run(_until_told(server, upstream, usual, rounds))
    return [*_endpoint(ours, theirs), Figure("checks made meanwhile", checked, "checks"), *_told(heard, least)]


def _endpoint(ours: dict[int, Load], theirs: dict[int, Load]) -> list[Line]:
    usual, lines = "one commit a request", []
    for n in CONNECTIONS:
        what = f"acknowledgements, {n} connections"
        lines += [
            Line(what, ours[n].per_second, usual, theirs[n].per_second, "callbacks/s", 1.0),
            Line(f"{what}, p99", ours[n].p99, usual, theirs[n].p99, "ms", 1.0, at_most=True),
        ]
    return lines


def _told(heard: Sequence[float], least: Sequence[float]) -> list[Line]:
    what, against = "from callback to the waiting caller's answer", "stored, asked and read in turn"
    return [
        Line(f"{what}, p50", statistics.median(heard), against, statistics.median(least), "ms"),
        Line(f"{what}, p99", _p99(heard), against, _p99(least), "ms"),
    ]


def _loads(server: Server, seconds: int, tokens: int) -> dict[int, Load]:
    """Each load goes on with tokens that were not used before."""
    token, task = token_of(SET, 0)[:-1], task_of(SET, "")
    post_callbacks(server.url, token, task, first=tokens - 16_000, count=tokens, connections=8, seconds=2)  # warm
    share = (tokens - 16_000) // len(CONNECTIONS)
    return {
        n: post_callbacks(server.url, token, task, first=turn * share, count=tokens, connections=n, seconds=seconds)
        for turn, n in enumerate(CONNECTIONS)
    }


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
