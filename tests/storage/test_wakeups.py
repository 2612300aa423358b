"""Wake-ups between replicas: heard by the others, and again after the connection was lost."""

from __future__ import annotations

import asyncio

from app.storage.wakeups import Wakeups
from tests.databases import OpenDatabase
from tests.storage.watch import end_other_connections


async def heard_of(heard: asyncio.Queue[str], kind: str) -> None:
    async with asyncio.timeout(20):
        while await heard.get() != kind:
            pass


async def test_what_one_replica_tells_the_others_hear(postgres_url: str, open_database: OpenDatabase) -> None:
    ears: list[asyncio.Queue[str]] = [asyncio.Queue() for _ in range(2)]
    one, two = (Wakeups(open_database(postgres_url), ear.put_nowait) for ear in ears)
    async with one.running(), two.running():
        await asyncio.gather(one.listening.wait(), two.listening.wait())
        one.send("dispatch")
        await heard_of(ears[1], "dispatch")
        two.send("reconcile")
        await heard_of(ears[0], "reconcile")


async def test_after_a_lost_connection_the_ear_is_told_that_it_may_have_missed_something(
    postgres_url: str, open_database: OpenDatabase
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    wakeups, operator = Wakeups(open_database(postgres_url), heard.put_nowait), open_database(postgres_url)
    async with wakeups.running():
        await heard_of(heard, "")
        await end_other_connections(operator)
        await heard_of(heard, "")
        wakeups.send("dispatch")
        await heard_of(heard, "dispatch")
