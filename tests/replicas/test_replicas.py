"""Three API processes and three workers on one PostgreSQL; and what becomes of the work of those that are killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.emulator import EmulatorOptions
from tests.replicas.deployment import check_that_only_the_unsent_failed, check_the_books, deployed, wait_for


async def test_three_and_three_settle_every_job_and_claim_each_submission_once(postgres_url: str, tmp_path: Path) -> None:
    async with deployed(postgres_url, tmp_path) as here:
        await here.start(apis=3, workers=3)
        accepted = await here.accept(f"lighthouse {n}" for n in range(200))
        accepted += await here.accept_until("one more lighthouse", lambda: here.have_claimed(3))
        await here.until_settled()
        jobs = await check_the_books(here, accepted)
        assert {job["state"] for job in jobs} == {"succeeded"}
        assert {(job["attempts"], job["submissions"]) for job in jobs} == {(1, 1)}
        assert here.world.account()["requests"]["submit"] == len(jobs)
        claimed = sum(here.claimed(), Counter())
        assert claimed.keys() == {job["id"] for job in jobs}
        assert set(claimed.values()) == {1}
        assert here.complaints() == []


async def test_workers_killed_at_random_are_made_good_by_the_others(postgres_url: str, tmp_path: Path) -> None:
    chance = random.Random(7)
    async with deployed(postgres_url, tmp_path, unconfirmed_wait="60s", upstream_submit_rate="100") as here:
        await here.start(apis=2, workers=3)
        posting = asyncio.create_task(here.accept(f"harbour {n}" for n in range(150)))
        for submits in (10, 45, 90):
            await here.until_submits(submits + chance.randrange(10))
            await asyncio.gather(here.kill(chance.choice(here.workers)), here.start_worker())
        accepted = await posting
        await here.until_quiet()
        await here.stop_workers()
        here.let_a_minute_pass()
        await here.start_worker()
        await here.until_settled()
        jobs = await check_the_books(here, accepted)
        check_that_only_the_unsent_failed(here, jobs)


async def test_apis_killed_while_they_accept_lose_nothing(postgres_url: str, tmp_path: Path) -> None:
    """Whoever was not answered asks another replica with the same key."""
    async with deployed(postgres_url, tmp_path) as here:
        await here.start(apis=3, workers=1)
        alive, accepted = list(here.apis), []

        async def post(number: int) -> None:
            for api in [*alive[number % len(alive) :], *alive]:
                try:
                    answer = await here.post(api, f"pier {number}")
                except httpx.TransportError:
                    continue
                assert answer.status_code in (200, 202), answer.text
                accepted.append(answer.json())
                return
            raise AssertionError("nobody answered")

        posts = [asyncio.create_task(post(n)) for n in range(60)]
        await here.until_submits(5)
        os.kill(here.api_at(alive[0]).pid, signal.SIGKILL)
        here.door.behind.remove(alive[0])
        await asyncio.gather(*posts)
        later = [post(n) for n in range(60, 120)]
        await asyncio.gather(*later)
        await here.until_settled()
        jobs = await check_the_books(here, accepted)
        assert len(jobs) == 120
        assert {job["state"] for job in jobs} == {"succeeded"}


async def test_an_api_that_is_stopped_and_continued_answers_whoever_waited_and_does_no_harm(
    postgres_url: str, tmp_path: Path
) -> None:
    """The others accept, settle and take callbacks meanwhile; what it was at, it does when it wakes up, or says 503."""
    async with deployed(postgres_url, tmp_path) as here:
        await here.start(apis=2, workers=1)
        awake, sleepy = here.apis

        async def post(number: int, api: str) -> dict[str, Any]:
            while (answer := await here.post(api, f"ferry {number}")).status_code == 503:
                await asyncio.sleep(int(answer.headers["Retry-After"]))
            assert answer.status_code in (200, 202), answer.text
            return answer.json()

        posts = [asyncio.create_task(post(n, here.apis[n % 2])) for n in range(60)]
        await here.until_submits(5)
        os.kill(here.api_at(sleepy).pid, signal.SIGSTOP)
        meanwhile = [await post(n, awake) for n in range(60, 80)]
        asked = asyncio.create_task(here.http.get(f"{sleepy}/jobs/{meanwhile[0]['id']}"))
        for job in meanwhile:
            shown = await here.http.get(f"{awake}/jobs/{job['id']}", headers={"Prefer": "wait=50"})
            assert shown.json()["state"] == "succeeded"
        os.kill(here.api_at(sleepy).pid, signal.SIGCONT)
        assert (await asked).json()["state"] == "succeeded"
        accepted = await asyncio.gather(*posts)
        assert {job["id"] for job in accepted}.isdisjoint(job["id"] for job in meanwhile)
        await here.until_settled()
        jobs = await check_the_books(here, [*accepted, *meanwhile])
        assert (len(jobs), {job["state"] for job in jobs}) == (80, {"succeeded"})


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_a_worker_stopped_past_its_lease_and_continued_does_no_harm(postgres_url: str, tmp_path: Path) -> None:
    options = EmulatorOptions(run_seconds=(0.5, 1.0), callback_retries=60, callback_delay=1.0)
    async with deployed(postgres_url, tmp_path, options, upstream_submit_rate="40") as here:
        await here.start(apis=1, workers=2)
        posting = asyncio.create_task(here.accept(f"island {n}" for n in range(120)))
        await here.until_submits(30)
        asleep = here.workers[0]
        os.kill(asleep.pid, signal.SIGSTOP)
        accepted = await posting

        async def all_leases_ended() -> bool:
            return not here.query("SELECT 1 FROM submissions WHERE lease_until IS NOT NULL")

        await here.until_quiet()
        await wait_for(all_leases_ended, 120)
        os.kill(asleep.pid, signal.SIGCONT)
        accepted += await here.accept(f"after the sleep {n}" for n in range(30))
        await here.until_settled()
        jobs = await check_the_books(here, accepted)
        assert {job["state"] for job in jobs} == {"succeeded"}
        await here.stop_workers()
