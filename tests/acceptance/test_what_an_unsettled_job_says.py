"""Answers about an unsettled job say when to ask again, where in the queue it is, and when it will probably be settled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.acceptance.stage import PATIENCE, Stage, open_stage

ENOUGH = 5  #: jobs that must have succeeded before anything is foretold


@pytest.fixture
async def paused(stage: Stage) -> Stage:
    """A stage on which nothing is sent upstream."""
    await stage.api.post("/dispatch/pause")
    return stage


def places(jobs: list[dict[str, Any]]) -> list[int | None]:
    return [job["place"] for job in jobs]


async def test_the_first_job_of_an_empty_queue_is_next(paused: Stage) -> None:
    assert (await paused.accept())["place"] == 1


async def test_jobs_that_come_one_after_the_other_stand_behind_each_other(paused: Stage) -> None:
    accepted = [await paused.accept() for _ in range(4)]
    assert places(accepted) == [1, 2, 3, 4]


async def test_the_jobs_of_a_batch_stand_behind_each_other_in_their_lanes(paused: Stage) -> None:
    await paused.accept()
    wanted = [{"prompt": "A", "priority": priority} for priority in ("low", "normal", "high", "low", "normal")]
    answer = await paused.api.post("/jobs/batch", json={"jobs": wanted})
    jobs = answer.json()["jobs"]
    assert places(jobs) == [5, 3, 1, 6, 4]
    looked_at = [(await paused.api.get(f"/jobs/{job['id']}")).json()["place"] for job in jobs]
    assert places(jobs) == looked_at


async def test_a_batch_says_when_to_ask_again_and_so_does_its_replay(paused: Stage) -> None:
    body, headers = {"jobs": [{"prompt": "A"}, {"prompt": "B"}]}, {"Idempotency-Key": "sheet-1"}
    first = await paused.api.post("/jobs/batch", json=body, headers=headers)
    await paused.api.post(f"/jobs/{first.json()['jobs'][0]['id']}/cancel")
    again = await paused.api.post("/jobs/batch", json=body, headers=headers)
    assert first.headers["Retry-After"] == again.headers["Retry-After"] == "1"
    assert (places(first.json()["jobs"]), places(again.json()["jobs"])) == ([1, 2], [None, 1])
    await paused.api.post(f"/jobs/{first.json()['jobs'][1]['id']}/cancel")
    assert "Retry-After" not in (await paused.api.post("/jobs/batch", json=body, headers=headers)).headers


async def test_a_cancel_that_must_wait_says_until_when(database_url: str) -> None:
    async with open_stage(database_url) as before:
        for job in [await before.accept() for _ in range(ENOUGH)]:
            await before.settled(job)
    async with open_stage(database_url) as stage:  # one that knows from the start how long jobs take
        job = await stage.accept("A fox [[never-ends]]")
        await _running(stage, job)
        answer = await stage.api.post(f"/jobs/{job['id']}/cancel")
        assert (answer.status_code, answer.headers["Retry-After"]) == (202, "2")
        assert answer.json()["estimate"] is not None


async def _running(stage: Stage, job: dict[str, Any]) -> None:
    """Reads the job's stream until it is running."""
    headers = {"Accept": "text/event-stream"}
    async with asyncio.timeout(PATIENCE), stage.api.stream("GET", f"/jobs/{job['id']}/events", headers=headers) as stream:
        async for line in stream.aiter_lines():
            if line == "event: running":
                return
