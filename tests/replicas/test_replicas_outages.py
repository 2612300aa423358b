"""PostgreSQL goes away under load: callers are told so and lose nothing, and nothing is sent twice."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app.emulator import EmulatorOptions
from tests.databases import PostgresServer, migrate, throwaway_server
from tests.replicas.deployment import (
    Deployment,
    check_that_only_the_unsent_failed,
    check_the_books,
    deployed,
    wait_for,
)

CALLERS = 6
OURS = "application_name LIKE 'qwen-image-gateway%'"
EMULATOR = EmulatorOptions(run_seconds=(0.1, 0.4), callback_retries=60)
SETTINGS = {"unconfirmed_wait": "60s", "upstream_submit_rate": "100"}


@dataclass
class Load:
    """Callers that post one job after another, each until it is accepted, and note every answer."""

    here: Deployment
    answers: Counter[str] = field(default_factory=Counter)
    accepted: list[dict[str, Any]] = field(default_factory=list)

    async def more(self, answer: str, number: int = 1) -> None:
        """Returns when callers were given so many more of these answers."""
        wanted = self.answers[answer] + number

        async def look() -> bool:
            return self.answers[answer] >= wanted

        await wait_for(look)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop, numbers = asyncio.Event(), itertools.count()
        callers = [asyncio.create_task(self._call(stop, numbers)) for _ in range(CALLERS)]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*callers)

    async def _call(self, stop: asyncio.Event, numbers: Iterator[int]) -> None:
        while not stop.is_set():
            number = next(numbers)
            for api in itertools.islice(itertools.cycle(self.here.apis), number % 2, None):
                if await self._post(api, f"reef {number}"):
                    break

    async def _post(self, api: str, prompt: str) -> bool:
        answer = await self.here.post(api, prompt)
        self.answers[_kind_of(answer)] += 1
        if answer.status_code in (200, 202):
            self.accepted.append(answer.json())
            return True
        return False


def _kind_of(answer: Any) -> str:
    if answer.status_code == 200 and "Idempotent-Replayed" in answer.headers:
        return "replayed"
    if answer.status_code == 503 and int(answer.headers.get("Retry-After", 0)) > 0:
        return "told to come again"
    return "accepted" if answer.status_code == 202 else f"{answer.status_code}: {answer.text}"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with throwaway_server() as running:
        yield running


def fresh(server: PostgresServer, name: str) -> str:
    import psycopg

    with psycopg.connect(server.url.render_as_string(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    url = server.url.set(database=name).render_as_string()
    migrate(url)
    return url


async def all_listen_again(here: Deployment) -> None:
    """Returns when every process has a connection that listens."""
    listening = "SELECT pid FROM pg_stat_activity WHERE application_name = 'qwen-image-gateway wake-ups' AND state = 'idle'"

    async def look() -> bool:
        return len(here.query(f"{listening} AND datname = current_database()")) == len(here.apis) + len(here.workers)

    await wait_for(look)


async def check_what_was_left(here: Deployment, load: Load) -> int:
    """All of it settles, by those who went through it and, for what a broken commit left in doubt, by whoever comes after."""
    assert load.answers.keys() <= {"accepted", "replayed", "told to come again"}, load.answers
    await here.until_quiet()
    await here.stop_workers()
    here.let_a_minute_pass()
    await here.start_worker()
    await here.until_settled()
    jobs = await check_the_books(here, load.accepted)
    return check_that_only_the_unsent_failed(here, jobs)


async def test_restarts_of_postgresql_under_load(server: PostgresServer, tmp_path: Path) -> None:
    async with deployed(await asyncio.to_thread(fresh, server, "restarts"), tmp_path, EMULATOR, **SETTINGS) as here:
        await here.start(apis=2, workers=2)
        load = Load(here)
        async with load.running():
            for _ in range(2):
                await load.more("accepted", 25)
                await asyncio.to_thread(server.stop)
                await load.more("told to come again", 10)
                await asyncio.to_thread(server.start)
                await load.more("accepted", 10)
        await all_listen_again(here)
        assert await check_what_was_left(here, load) == 0


async def test_backends_ended_again_and_again_under_load(server: PostgresServer, tmp_path: Path) -> None:
    async with deployed(await asyncio.to_thread(fresh, server, "backends"), tmp_path, EMULATOR, **SETTINGS) as here:
        await here.start(apis=2, workers=2)
        load = Load(here)
        async with load.running():
            for _ in range(8):
                await load.more("accepted", 10)
                ended = here.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}")
                assert len(ended) >= 4
        await all_listen_again(here)
        assert await check_what_was_left(here, load) == 0


async def test_a_wait_that_outlives_the_database_returns_the_job_as_it_was(server: PostgresServer, tmp_path: Path) -> None:
    async with deployed(await asyncio.to_thread(fresh, server, "waits"), tmp_path, EMULATOR) as here:
        await here.start(apis=1)
        waiter = {"Prefer": "wait=5"}
        [older] = await here.accept(["cove"])
        posted = asyncio.create_task(here.http.post(f"{here.apis[0]}/jobs", json={"prompt": "bay"}, headers=waiter))
        shown = asyncio.create_task(here.http.get(f"{here.apis[0]}/jobs/{older['id']}", headers=waiter))

        async def both_are_on_disk() -> bool:
            return len(here.query("SELECT 1 FROM jobs")) == 2

        await wait_for(both_are_on_disk)
        for _ in range(3):  # what was asked before has been read by then
            await here.http.get(f"{here.apis[0]}/jobs/{older['id']}")
        await asyncio.to_thread(server.stop)
        try:
            answers = await asyncio.gather(posted, shown)
        finally:
            await asyncio.to_thread(server.start)
        assert [answer.status_code for answer in answers] == [202, 200], [answer.text for answer in answers]
        assert [answer.json()["state"] for answer in answers] == ["queued", "queued"]
