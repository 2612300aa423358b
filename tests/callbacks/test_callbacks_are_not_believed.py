"""What somebody can do who has a token: cause a check, at most every two seconds, and nothing else."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from tests.acceptance.stage import PATIENCE, Stage, client
from tests.callbacks.test_callback_tokens import callback_url

CHECKS = 4  #: that the flood must have caused before it ends
AT_ONCE = 8

FORGED: list[dict[str, Any]] = [
    {"status": "SUCCESS", "consumed_credits": 500, "response": ["https://evil.example/1.png"]},
    {"status": "FAILED", "error_message": "sorry", "consumed_credits": 0},
    {"status": "PENDING"},
]


async def test_a_flood_on_one_token_makes_at_most_one_check_in_two_seconds(stage: Stage) -> None:
    job = await stage.accept()
    url = await callback_url(stage)
    before, began, received = checks(stage), time.monotonic(), 0
    async with asyncio.timeout(90), client(stage.url, None) as upstream:
        while checks(stage) < before + CHECKS:
            answers = await asyncio.gather(*(upstream.post(url, content=b"{}") for _ in range(AT_ONCE)))
            assert {answer.status_code for answer in answers} == {204}
            received += AT_ONCE
    made, elapsed = checks(stage) - before, time.monotonic() - began
    assert made <= elapsed / 2 + 2, f"{made} checks in {elapsed:.1f} s, for {received} callbacks"
    assert (await stage.api.get(f"/jobs/{job['id']}")).json()["state"] == "running"


@pytest.mark.parametrize("told", FORGED, ids=lambda told: str(told["status"]))
async def test_a_forged_body_with_a_valid_token_changes_nothing_that_a_check_does_not_confirm(
    stage: Stage, told: dict[str, Any]
) -> None:
    job = await stage.accept()
    url = await callback_url(stage)
    before = await until(stage, job, lambda shown: shown["state"] == "running")
    seen = checks(stage)
    async with client(stage.url, None) as forger:
        own, another = before["upstream"]["task_id"], "task-of-somebody-else"
        for task_id in (own, another):
            body = {"code": 200, "data": {"task_id": task_id, **told}}
            assert (await post(forger, url, body)).status_code == 204
    async with asyncio.timeout(PATIENCE):
        while checks(stage) == seen:
            await stage.api.get("/healthz")
    after = (await stage.api.get(f"/jobs/{job['id']}")).json()
    shown = ("state", "images", "error", "credits", "completed_via", "finished_at", "submissions", "attempts")
    assert {name: after[name] for name in shown} == {name: before[name] for name in shown}
    assert after["upstream"]["task_id"] == own
    assert another not in json.dumps(after)


async def test_a_forged_success_of_a_task_that_really_failed_ends_as_the_check_says(stage: Stage) -> None:
    job = await stage.accept("A red fox [[content-failure]] [[run=2]]")
    url = await callback_url(stage)
    async with client(stage.url, None) as forger:
        await post(forger, url, {"code": 200, "data": {"task_id": "x", **FORGED[0]}})
    settled = await stage.settled(job)
    assert (settled["state"], settled["credits"]["consumed"], settled["images"]) == ("failed", 0, [])


def checks(stage: Stage) -> int:
    """Status requests that the emulator has had."""
    requests: dict[str, Any] = stage.world.account()["requests"]  # type: ignore[assignment]
    count: int = requests["status"]
    return count


async def post(someone: httpx.AsyncClient, url: str, body: object) -> httpx.Response:
    return await someone.post(url, content=json.dumps(body))


async def until(stage: Stage, job: dict[str, Any], right: Any) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        while not right(shown := (await stage.api.get(f"/jobs/{job['id']}")).json()):
            pass
        return shown
