"""The client's callbacks, with the same assertions against the emulator and against the gateway."""

from __future__ import annotations

import pytest

from tests.drop_in.callback_server import callback_server
from tests.drop_in.targets import Target


@pytest.mark.parametrize(("prompt", "status"), [("A fox", "SUCCESS"), ("A fox [[content-failure]]", "FAILED")])
async def test_a_callback_is_the_status_answer_of_the_ended_task(target: Target, prompt: str, status: str) -> None:
    async with callback_server() as server:
        task_id = await target.client.start(prompt, callback_url=f"{server.url}/hooks/17")
        called = await server.next()
    assert (called.path, called.content_type) == ("/hooks/17", "application/json")
    assert called.body["data"]["status"] == status
    assert called.body == {"code": 200, "message": "success", "data": await target.client.task(task_id)}


async def test_every_task_calls_its_own_address(target: Target) -> None:
    async with callback_server() as server:
        started = {f"/hooks/{n}": await target.client.start(callback_url=f"{server.url}/hooks/{n}") for n in range(3)}
        called = [await server.next() for _ in started]
    assert {callback.path: callback.body["data"]["task_id"] for callback in called} == started
