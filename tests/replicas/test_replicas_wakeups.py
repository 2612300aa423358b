"""Who waits at one replica is answered when another one settles the job, by the wake-up and not by the poll."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from uuid import UUID

from app.access.callers import Caller
from app.gateway import Gateway
from app.jobs.job_request import JobRequest
from app.lifecycle.gate import GatePolicy
from app.lifecycle.news import CancelAsked
from app.lifecycle.policy import Policy
from app.loops import Loop
from app.opening import open_gateway
from app.settlement.settle import Settlement
from app.settlement.wakes import Wakes
from app.settlement.watchers import Watchers
from app.storage.database import Database
from app.storage.gate_row import GateStore
from app.storage.lives import LifeStore
from app.storage.wakeups import Wakeups
from tests.acceptance.stage import settings_for
from tests.databases import OpenDatabase
from tests.replicas.deployment import wait_for

CALLER = Caller("design", "key-1", frozenset({"jobs:write", "jobs:read"}))
ONE_HOUR = 3600.0


class Ear:
    """The part of a replica that callers wait at; its watch loop polls once an hour, so only a wake-up can ring in time."""

    def __init__(self, database: Database) -> None:
        lives = LifeStore(database)
        self.watchers = Watchers(lives)
        settlement = Settlement(lives, GateStore(database), Policy(), GatePolicy(), Wakes(), self.watchers)
        self.loop = Loop("watch", self.watchers.sweep, floor=ONE_HOUR, wake=settlement.wakes.watch)
        self.wakeups = Wakeups(database, settlement.wakes.heard)


async def accepted(gateway: Gateway) -> UUID:
    return (await gateway.intake.accept([JobRequest(prompt="A bell")], CALLER, None)).lives[0].job.job_id


async def waits(watchers: Watchers, job_id: UUID) -> asyncio.Task[object]:
    """A waiter that hangs: whatever settles the job now has to ring it."""
    task = asyncio.create_task(watchers.until_settled(job_id, 30))

    async def hangs() -> bool:
        return any(not task.done() and bell._waiters for bell in watchers._bells.get(job_id, ()))

    await wait_for(hangs)
    return task


async def test_only_the_wake_up_can_have_answered(postgres_url: str, open_database: OpenDatabase) -> None:
    ear = Ear(open_database(postgres_url))
    async with open_gateway(settings_for(postgres_url), with_duties=False) as elsewhere, ear.wakeups.running():
        await ear.wakeups.listening.wait()
        watching = asyncio.create_task(ear.loop.run())
        job_id = await accepted(elsewhere)
        waiter = await waits(ear.watchers, job_id)
        await elsewhere.settlement.record(job_id, CancelAsked())
        async with asyncio.timeout(60):
            life = await waiter
        ear.loop.stop()
        await watching
    assert life.job.is_settled  # type: ignore[attr-defined]


async def test_whole_gateways_ring_each_other(postgres_url: str) -> None:
    """A poll rings no bell. Opening an ear does, once; so the second ring was told by the other gateway."""
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(open_gateway(settings_for(postgres_url), with_duties=False)) for _ in range(2)
        ]
        bell = other.settlement.wakes.watch._event

        async def silent() -> bool:
            return not bell.is_set()

        for _ in range(2):
            job_id = await accepted(one)
            await wait_for(silent)
            ringing = asyncio.create_task(bell.wait())
            await one.settlement.record(job_id, CancelAsked())
            async with asyncio.timeout(60):
                await ringing
