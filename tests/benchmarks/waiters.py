"""Waiters: five thousand long polls (`Prefer: wait`) and a thousand event streams on one process, each for a job of its own.

All jobs run upstream. Told is how much memory each waiter takes (what the process grew by, by their number), against routes of
FastAPI under uvicorn that do nothing but await an event; how much of the processor goes while all wait, in the gateway's
process and in all of PostgreSQL; and, with all of them there, how soon a caller has its answer, and a stream its end, after the
upstream called back for its job: the median of some. A poll waits for a minute: what was left of it for the first of them shows
that none had its answer because its time was over.

A process takes a limited number of connections (`CONNECTIONS_MAX`); where that is too few for all, as many wait as there is
room for, the streams first, and the goal of the first line is missed.

Run it alone with: python -m tests.benchmarks.waiters [POLLS] [STREAMS]
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import httpx
import psycopg
from sqlalchemy import make_url

from app.cli.server import CONNECTIONS_MAX
from tests.benchmarks.durable import durable_postgres
from tests.benchmarks.history import id_of, token_of
from tests.benchmarks.measured import Figure, Line, Result, Say, machine, table
from tests.benchmarks.open_tasks import SET, open_submissions, open_tasks
from tests.benchmarks.process_tree import cpu_seconds, parent_of
from tests.benchmarks.servers import KEY, Server, baseline, gateway

IDLE = 0.05  #: of a core
MEMORY = 3.0  #: times what a route takes that does nothing but wait
SPARE = 50  #: connections for those who do not wait
AT_ONCE = 100  #: waiters that are on their way in together
WARM = 20  #: waiters of each kind that come and go before
WAIT = 60  #: seconds, the longest that is granted
WATCHED = 10.0  #: seconds
STILL = 0.1  #: MiB in two seconds
RESTS = 25  #: seconds, then what still grows will not come to rest while the polls last
TOLD = 20  #: jobs of each kind that are called back for


def run(say: Say, polls: int = 5_000, streams: int = 1_000) -> list[Result]:
    wanted = polls + streams
    polls = min(polls, CONNECTIONS_MAX - SPARE - streams)
    with tempfile.TemporaryDirectory() as name, durable_postgres() as postgres, _descriptors(wanted + 1_000):
        folder = Path(name)
        with baseline("waits", folder) as server:
            least = asyncio.run(_wait_for_nothing(server, polls, streams))
        say(f"routes that only wait: {least}")
        with postgres.fresh() as url, open_tasks(folder, "SUCCESS") as upstream:
            asyncio.run(open_submissions(url, polls + streams, due_in=timedelta(hours=1)))
            settings = {
                "GATEWAY_PUBLIC_BASE_URL": "http://127.0.0.1:9",  # who calls back is this benchmark
                "GATEWAY_UPSTREAM_BASE_URL": upstream.url,
                "GATEWAY_UPSTREAM_STATUS_RATE": "1000",
            }
            with gateway(url, folder, **settings) as server:
                ours = asyncio.run(_wait_for_jobs(server, _postmaster(url), polls, streams))
        say(f"gateway: {ours}")
    only, what = "a route that only waits", f"with {polls:,} polls and {streams:,} streams"
    return [
        Figure("waiting on one process at once", polls + streams, "waiters", wanted),
        Line("memory of a long poll", ours.each.poll, only, least.poll, "KiB", MEMORY, at_most=True),
        Line("memory of an event stream", ours.each.stream, only, least.stream, "KiB", MEMORY, at_most=True),
        Figure(f"processor {what}: the gateway", ours.gateway, "cores", IDLE, at_most=True),
        Figure(f"processor {what}: PostgreSQL", ours.postgres, "cores", IDLE, at_most=True),
        *(Figure(f"from callback to {whom}, {what}", took, "ms") for whom, took in ours.told.items()),
        Figure("left to the first poll when all was told", ours.left, "s", 0.0),
    ]


@dataclass(frozen=True)
class _Each:
    """KiB a waiter."""

    poll: float
    stream: float


@dataclass(frozen=True)
class _Found:
    """What the gateway needed, and how soon it told."""

    each: _Each
    gateway: float  #: cores, while all wait
    postgres: float  #: cores, likewise
    told: dict[str, float]  #: ms
    left: float  #: seconds until the first poll would have ended by itself


async def _wait_for_nothing(server: Server, polls: int, streams: int) -> _Each:
    async with _all_waiting(server, polls, streams) as (each, _, _, _):
        return each


async def _wait_for_jobs(server: Server, postmaster: int, polls: int, streams: int) -> _Found:
    async with _all_waiting(server, polls, streams) as (each, callers, followers, ends_at):
        used, began = cpu_seconds([postmaster]), time.monotonic()
        ours = await asyncio.to_thread(server.cores, WATCHED)
        theirs = (cpu_seconds([postmaster]) - used) / (time.monotonic() - began)
        answered = next((bytes(caller.heard) for caller in callers if caller.heard), None)
        assert answered is None, f"not all wait: {answered!r}"
        some = min(TOLD, polls, streams)
        told = {
            "a waiting caller's answer": await _told(server, callers[:some], 0),
            "the end of a stream": await _told(server, followers[:some], polls),
        }
        return _Found(each, ours, theirs, told, ends_at - time.monotonic())


@asynccontextmanager
async def _all_waiting(
    server: Server, polls: int, streams: int
) -> AsyncIterator[tuple[_Each, list[Waiter], list[Waiter], float]]:
    """Polls for the first jobs, streams for the others, and when the first poll ends by itself (`time.monotonic`).

    The streams come first: they last, polls for a minute at most.
    """
    before = await _warmed(server)
    async with _waiting(server, _stream, range(polls, polls + streams)) as followers:
        for follower in followers:
            await follower.until_it_hears(b" 200 OK")
        streamed, ends_at = await _at_rest(server), time.monotonic() + WAIT
        async with _waiting(server, _poll, range(polls)) as callers:
            polled = await _at_rest(server)
            each = _Each((polled - streamed) * 1024 / polls, (streamed - before) * 1024 / streams)
            yield each, callers, followers, ends_at


async def _warmed(server: Server) -> float:
    """The memory after some connections of each kind have come and gone."""
    for kind in (_poll, _stream):
        async with _waiting(server, kind, range(WARM)):
            pass
    return await _at_rest(server)


async def _at_rest(server: Server) -> float:
    """The memory once it grows no more: all that came is waiting by then.

    Raises RuntimeError: it grows on and on.
    """
    sizes = [server.resident_mib()]
    while len(sizes) < 3 or sizes[-1] - sizes[-3] > STILL:
        if len(sizes) > RESTS:
            raise RuntimeError(f"its memory still grows after {RESTS} s: {sizes[-3:]} MiB")
        await asyncio.sleep(1)
        sizes.append(server.resident_mib())
    return sizes[-1]


def _postmaster(url: str) -> int:
    """The process that all of PostgreSQL comes from."""
    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        return parent_of(connection.info.backend_pid)


@asynccontextmanager
async def _waiting(server: Server, kind: bytes, numbers: Sequence[int]) -> AsyncIterator[list[Waiter]]:
    """A connection for each of these jobs, with its request sent."""
    turns = asyncio.Semaphore(AT_ONCE)
    port, loop = urlsplit(server.url).port or 80, asyncio.get_running_loop()

    async def one(number: int) -> Waiter:
        request = kind % {b"id": id_of(SET, number).encode(), b"key": KEY.encode(), b"wait": WAIT}
        async with turns:
            _, waiter = await loop.create_connection(lambda: Waiter(request), "127.0.0.1", port)
            await asyncio.sleep(0.05)  # so that no more come at once than a server can take in
            return waiter

    waiters = await asyncio.gather(*(one(number) for number in numbers))
    try:
        yield waiters
    finally:
        for waiter in waiters:
            waiter.transport.close()


class Waiter(asyncio.Protocol):
    """Sends its request, and keeps what it hears."""

    transport: asyncio.Transport

    def __init__(self, request: bytes) -> None:
        self._request, self.heard = request, bytearray()
        self._more = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self._more.set()

    async def until_it_hears(self, what: bytes) -> None:
        async with asyncio.timeout(WAIT):
            while what not in self.heard:
                self._more.clear()
                await self._more.wait()


_HEAD = b" HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer %(key)s\r\n"
_poll = b"GET /jobs/%(id)s" + _HEAD + b"prefer: wait=%(wait)d\r\n\r\n"
_stream = b"GET /jobs/%(id)s/events" + _HEAD + b"accept: text/event-stream\r\n\r\n"


async def _told(server: Server, waiters: Sequence[Waiter], first: int) -> float:
    """Milliseconds from the callback to what the waiter hears of it; these wait for the jobs from `first` on."""
    times = []
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        for number, waiter in enumerate(waiters, first):
            began = time.perf_counter()
            (await http.post(f"{server.url}/callbacks/{token_of(SET, number)}", json={})).raise_for_status()
            await waiter.until_it_hears(b'"succeeded"')
            times.append((time.perf_counter() - began) * 1000)
    return median(times)


@contextmanager
def _descriptors(wanted: int) -> Iterator[None]:
    """As many as that for this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise RuntimeError(f"{wanted} descriptors are needed, and {hard} allowed (ulimit -Hn)")
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


if __name__ == "__main__":
    print(machine())
    print(table(run(lambda text: print(text, file=sys.stderr), *map(int, sys.argv[1:]))))
