"""Wake-ups between replicas: heard by the others, and again after the connection was lost."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from app.storage.wakeups import Wakeups
from tests.databases import OpenDatabase
from tests.storage.watch import end_other_connections


async def heard_of(heard: asyncio.Queue[str], kind: str) -> None:
    async with asyncio.timeout(60):
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


async def test_one_that_could_not_be_told_does_not_keep_the_next_from_being_told(
    postgres_url: str, open_database: OpenDatabase
) -> None:
    """PostgreSQL takes no message of 8000 bytes: a surprise, and nobody's outage."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    wakeups = Wakeups(open_database(postgres_url), heard.put_nowait)
    with capture_logs() as logged:
        async with wakeups.running():
            await wakeups.listening.wait()
            wakeups.send("x" * 8000)
            while not [line for line in logged if line["event"] == "wake-ups not sent"]:
                await asyncio.sleep(0)
            wakeups.send("dispatch")
            await heard_of(heard, "dispatch")


async def test_an_ear_that_fails_is_opened_again(postgres_url: str, open_database: OpenDatabase) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    def hear(kind: str) -> None:
        heard.put_nowait(kind)
        if kind == "odd":
            raise ValueError("a surprise")

    wakeups = Wakeups(open_database(postgres_url), hear)
    with capture_logs() as logged:
        async with wakeups.running():
            await heard_of(heard, "")
            wakeups.send("odd")
            await heard_of(heard, "odd")
            await heard_of(heard, "")
            wakeups.send("dispatch")
            await heard_of(heard, "dispatch")
    assert [line["log_level"] for line in logged if line["event"] == "wake-ups interrupted"] == ["error"]


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
