"""A stream at one replica tells what another one did: by the poll within a second, by the wake-up at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from app.lifecycle.gate import GatePolicy
from app.lifecycle.news import CancelAsked
from app.lifecycle.policy import Policy
from app.loops import Loop, Wake
from app.main import create_app
from app.settlement.settle import Settlement
from app.settlement.wakes import Wakes
from app.settlement.watchers import Watchers
from app.storage.gate_row import GateStore
from app.storage.lives import LifeStore
from app.storage.wakeups import Wakeups
from tests.acceptance.stage import PATIENCE, client, serving, settings_for
from tests.databases import OpenDatabase
from tests.storage.factory import Factory
from tests.streams.reading import streaming, told

ONE_HOUR = 3600.0


@pytest.fixture
async def replicas(postgres_url: str) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Two API replicas on one PostgreSQL; nothing is sent upstream."""
    settings = settings_for(postgres_url, upstream_base_url="http://127.0.0.1:9")
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(serving(create_app(settings, with_duties=False))) for _ in range(2)]
        yield [await stack.enter_async_context(client(url)) for url in urls]


async def accepted(api: httpx.AsyncClient) -> dict[str, Any]:
    job: dict[str, Any] = (await api.post("/jobs", json={"prompt": "A bell"})).json()
    return job


async def test_a_stream_tells_what_another_replica_did(replicas: list[httpx.AsyncClient]) -> None:
    here, there = replicas
    job = await accepted(there)
    async with streaming(here, job) as (_answer, stream):
        assert [(await anext(stream)).event for _ in range(2)] == [None, "accepted"]
        await there.post(f"/jobs/{job['id']}/cancel")
        pieces = [piece async for piece in stream]
    assert [p.event for p in pieces] == ["cancel_requested", "canceled", "end"]


async def test_a_stream_goes_on_at_another_replica_where_it_was(replicas: list[httpx.AsyncClient]) -> None:
    here, there = replicas
    job = await accepted(here)
    async with streaming(here, job) as (_answer, stream):
        await anext(stream)
        heard = (await anext(stream)).id
    resumed = asyncio.create_task(told(there, job, last=heard))
    await here.post(f"/jobs/{job['id']}/cancel")
    pieces = await resumed
    assert [p.event for p in pieces] == [None, "cancel_requested", "canceled", "end"]
    async with streaming(here, job, last=pieces[-2].id) as (answer, _stream):
        assert answer.status_code == 204


async def test_the_wake_up_of_a_settlement_rings_streams_too(postgres_url: str, open_database: OpenDatabase) -> None:
    """The watch loop here polls once an hour, so only the wake-up can have rung."""
    database, elsewhere, wake = open_database(postgres_url), Factory(open_database(postgres_url)), Wake()
    watchers = Watchers(LifeStore(database))
    loop = Loop("watch", watchers.sweep, floor=ONE_HOUR, wake=wake)
    hears, tells = Wakeups(database, lambda _kind: wake.ring()), Wakeups(elsewhere.database, lambda _kind: None)
    wakes = Wakes(tell_others=tells.send)
    settlement = Settlement(LifeStore(elsewhere.database), GateStore(elsewhere.database), Policy(), GatePolicy(), wakes)
    (life,) = await elsewhere.queued()
    with watchers.watch(life.job.job_id, 0) as watch:
        await watch.more()
        async with hears.running(), tells.running():
            await hears.listening.wait()
            looping = asyncio.create_task(loop.run())
            await settlement.record(life.job.job_id, CancelAsked())
            assert await watch.rung(PATIENCE)
            loop.stop()
            await looping
        assert [e.type for e in await watch.more()] == ["cancel_requested", "canceled"]
