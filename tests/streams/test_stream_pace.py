"""What a stream does when time passes: it pings, it ends, it outlives the database, and it drops who does not read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from app.errors import StorageUnavailableError
from app.jobs.event_stream import EventStream, Pace
from app.lifecycle.job import Life
from app.lifecycle.news import CancelAsked
from app.lifecycle.transitions import Event
from app.settlement.watchers import EVENTS_AT_ONCE, Watchers
from app.storage.database import Database
from app.storage.database import database_url as parse_url
from app.storage.lives import LifeStore, write_events
from tests.acceptance.stage import PATIENCE, client, serving
from tests.replicas.deployment import wait_for
from tests.storage.factory import Factory
from tests.streams.reading import Piece, pieces, told_directly


@pytest.fixture
def watchers(database: Database) -> Watchers:
    return Watchers(LifeStore(database))


async def happen(database: Database, job_id: UUID, count: int, kind: str = "checked", size: int = 1) -> None:
    async with database.writing() as connection:
        events = [(job_id, Event(kind, {"n": n, "padding": "x" * size})) for n in range(count)]
        await write_events(connection, events, await database.now(connection))


def of_what_happened(found: list[Piece]) -> list[int]:
    return [piece.data["data"]["n"] for piece in found if piece.event == "checked"]


async def test_a_long_timeline_is_told_whole(database: Database, factory: Factory, watchers: Watchers) -> None:
    (life,) = await factory.queued()
    for count in (EVENTS_AT_ONCE - 2, EVENTS_AT_ONCE, 2 * EVENTS_AT_ONCE, 1):  # with `accepted` and `canceled`: full pages too
        await happen(database, life.job.job_id, count)
    settled = await factory.tell(life.job.job_id, CancelAsked())
    found = [piece async for piece in told_directly(EventStream(watchers, settled, 0))]
    assert len(of_what_happened(found)) == 4 * EVENTS_AT_ONCE - 1
    assert [p.id for p in found if p.id] == sorted({p.id for p in found if p.id})
    assert [p.event for p in found][-2:] == ["canceled", "end"]


async def test_a_full_last_page_ends_too(database: Database, factory: Factory, watchers: Watchers) -> None:
    (life,) = await factory.queued()
    settled = await factory.tell(life.job.job_id, CancelAsked())
    told = len([p async for p in told_directly(EventStream(watchers, settled, 0)) if p.id])
    await happen(database, life.job.job_id, EVENTS_AT_ONCE - told)
    found = [piece async for piece in told_directly(EventStream(watchers, settled, 0))]
    assert len([p for p in found if p.id]) == EVENTS_AT_ONCE
    assert found[-1].event == "end"


async def test_silence_is_filled_with_pings(database: Database, factory: Factory, watchers: Watchers) -> None:
    (life,) = await factory.queued()
    stream = told_directly(EventStream(watchers, life, 0, pace=Pace(ping=0.01)))
    assert [(await anext(stream)).event for _ in range(2)] == [None, "accepted"]
    for _ in range(3):
        assert await anext(stream) == Piece(comments=["ping"])
    await happen(database, life.job.job_id, 1)
    watchers.happened(life.job.job_id)
    assert "checked" in [(await anext(stream)).event for _ in range(2)], "at most one ping was on its way"


async def test_a_stream_whose_time_is_over_ends_without_end(factory: Factory, watchers: Watchers) -> None:
    (life,) = await factory.queued()
    for pace in (Pace(life=0), Pace(life=0.05, ping=0.02)):
        found = [piece async for piece in told_directly(EventStream(watchers, life, 0, pace=pace))]
        assert [p.event for p in found if p.fields] == [None, "accepted"]


# --- the database goes away ---


class BreakableDatabase(Database):
    """A database that can be out of reach."""

    broken = False

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        if self.broken:
            raise StorageUnavailableError
        async with super().reading() as connection:
            yield connection


@pytest.fixture
async def breakable(database_url: str) -> AsyncIterator[BreakableDatabase]:
    database = BreakableDatabase(parse_url(database_url))
    yield database
    await database.dispose()


async def test_a_stream_outlives_an_outage_of_the_database(breakable: BreakableDatabase, factory: Factory) -> None:
    (life,) = await factory.queued()
    watchers = Watchers(LifeStore(breakable))
    breakable.broken = True
    stream = told_directly(EventStream(watchers, life, 0, pace=Pace(ping=0.01)))
    assert set((await anext(stream)).fields) == {"retry"}
    assert await anext(stream) == Piece(comments=["ping"])
    breakable.broken = False
    while (piece := await anext(stream)).comments:
        pass
    assert piece.event == "accepted"


async def test_the_sweep_after_an_outage_rings_for_what_could_not_be_read(
    breakable: BreakableDatabase, factory: Factory
) -> None:
    (life,) = await factory.queued()
    watchers = Watchers(LifeStore(breakable))
    with watchers.watch(life.job.job_id, 0) as watch:
        breakable.broken = True
        with pytest.raises(StorageUnavailableError):
            await watch.more()
        breakable.broken = False
        await watchers.sweep()
        assert await watch.rung(PATIENCE)
        assert [e.type for e in await watch.more()] == ["accepted"]


async def test_an_outage_does_not_end_the_stream_of_a_settled_job_early(breakable: BreakableDatabase, factory: Factory) -> None:
    (life,) = await factory.queued()
    settled = await factory.tell(life.job.job_id, CancelAsked())
    breakable.broken = True
    stream = told_directly(EventStream(Watchers(LifeStore(breakable)), settled, 0, pace=Pace(ping=0.01)))
    assert set((await anext(stream)).fields) == {"retry"}
    assert await anext(stream) == Piece(comments=["ping"])
    breakable.broken = False
    assert [p.event async for p in stream if not p.comments][-2:] == ["canceled", "end"]


# --- a client hangs up while its events are read ---


class HeldDatabase(Database):
    """A database whose reads take until they are let go."""

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        self.begun, self.go, self.ended = 0, asyncio.Event(), 0

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        self.begun += 1
        await self.go.wait()
        async with super().reading() as connection:
            yield connection
        self.ended += 1


async def test_a_read_that_nobody_waits_for_any_more_is_let_end_and_holds_up_nobody(
    database_url: str, factory: Factory
) -> None:
    """Cancelled halfway, each would cost its connection."""
    (life,) = await factory.queued()
    held = HeldDatabase(parse_url(database_url))
    watchers = Watchers(LifeStore(held))

    async def is_reading(count: int) -> bool:
        return held.begun == count

    async def all_ended() -> bool:
        return held.ended == 10

    for number in range(10):  # more than may read at once
        with watchers.watch(life.job.job_id, 0) as watch:
            reading = asyncio.create_task(watch.more())
            await wait_for(partial(is_reading, number + 1))
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            assert reading.cancelled()
    held.go.set()
    await wait_for(all_ended)
    await held.dispose()


# --- slow readers ---


@asynccontextmanager
async def served(watchers: Watchers, life: Life, pace: Pace) -> AsyncIterator[str]:
    """The stream of this job over real HTTP, at the address that this yields."""

    async def stream(_request: Request) -> EventStream:
        return EventStream(watchers, life, 0, pace=pace)

    async with serving(Starlette(routes=[Route("/", stream)])) as url:
        yield url


@asynccontextmanager
async def who_does_not_read(url: str) -> AsyncIterator[socket.socket]:
    """A client that asks for the stream and then takes in nothing: what it has room for is little."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.setblocking(False)
    loop, address = asyncio.get_running_loop(), urlsplit(url)
    with reader:
        await loop.sock_connect(reader, (address.hostname, address.port))
        await loop.sock_sendall(reader, b"GET / HTTP/1.1\r\nHost: gateway\r\nAccept: text/event-stream\r\n\r\n")
        yield reader


def is_waiting(watchers: Watchers, count: int) -> Callable[[], Any]:
    async def look() -> bool:
        return watchers.waiting == count

    return look


MANY, BIG = 3000, 4000  #: in sum about 12 MB, which no buffer between two sockets takes


async def test_who_does_not_read_is_dropped_and_can_not_hold_up_who_does(
    database: Database, factory: Factory, watchers: Watchers
) -> None:
    (life,) = await factory.queued()
    await happen(database, life.job.job_id, MANY, size=BIG)
    settled = await factory.tell(life.job.job_id, CancelAsked())
    async with (
        served(watchers, settled, Pace()) as url,
        served(watchers, settled, Pace(send=0.5)) as impatient,
        who_does_not_read(impatient) as reader,
    ):
        await wait_for(is_waiting(watchers, 1))
        async with client(url, None) as api, api.stream("GET", "/") as answer:
            found = [piece async for piece in pieces(answer.aiter_lines())]
        assert of_what_happened(found) == list(range(MANY))
        assert found[-1].event == "end"
        await wait_for(is_waiting(watchers, 0))
        taken = await all_of(reader)
    assert taken.startswith(b"HTTP/1.1 200 OK")
    assert len(taken) < MANY * BIG / 2, "the rest was not kept for it"
    assert b"event: end" not in taken, "it may resume"


async def test_who_reads_slowly_but_reads_is_kept(database: Database, factory: Factory, watchers: Watchers) -> None:
    (life,) = await factory.queued()
    await happen(database, life.job.job_id, 300, size=BIG)
    settled = await factory.tell(life.job.job_id, CancelAsked())
    async with served(watchers, settled, Pace()) as url, who_does_not_read(url) as reader:
        taken = await all_of(reader, at_once=2048, until=b"event: end")
    assert taken.count(b"event: checked") == 300


async def all_of(reader: socket.socket, *, at_once: int = 65536, until: bytes | None = None) -> bytes:
    """What the socket holds, up to the end of the connection or to these bytes."""
    loop, taken = asyncio.get_running_loop(), bytearray()
    async with asyncio.timeout(PATIENCE):
        while until is None or until not in taken[-at_once - len(until) :]:
            chunk = await loop.sock_recv(reader, at_once)
            if not chunk:
                break
            taken += chunk
    return bytes(taken)


async def test_who_hangs_up_in_the_middle_of_much_is_forgotten(
    database: Database, factory: Factory, watchers: Watchers
) -> None:
    (life,) = await factory.queued()
    await happen(database, life.job.job_id, MANY, size=BIG)
    async with served(watchers, life, Pace()) as url:
        async with who_does_not_read(url):
            await wait_for(is_waiting(watchers, 1))
        await wait_for(is_waiting(watchers, 0))
        async with client(url, None) as api:
            for _ in range(5):
                with pytest.raises(httpx.ReadTimeout):
                    await api.get("/", timeout=httpx.Timeout(20, read=0.001))
        await wait_for(is_waiting(watchers, 0))
