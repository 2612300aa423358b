"""The emulator on a socket: what only a wire can show."""

import asyncio
from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image


async def test_a_generation_from_submit_to_picture(live: Any) -> None:
    submitted = (await live.submit("a fox", size="768*1024", output_format="webp")).json()["data"]
    told = await live.receiver.next()
    asked = (await live.client.get("/api/status", params={"task_id": submitted["task_id"]})).json()
    assert told == asked
    picture = await live.client.get(told["data"]["response"][0])
    assert picture.headers["content-type"] == "image/webp"
    assert Image.open(BytesIO(picture.content)).size == (768, 1024)


@pytest.mark.parametrize("marker", ["answer-lost", "drop-before-accept"])
async def test_an_answer_breaks_off_on_the_wire(live: Any, marker: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await live.submit(f"[[{marker}]]")
    assert len((await live.account())["tasks"]) == (marker == "answer-lost")


async def test_an_outage_may_refuse_the_connection(live: Any) -> None:
    await live.client.post("/control/outage", json={"submit": "refuse"})
    with pytest.raises(httpx.RemoteProtocolError):
        await live.submit("a fox")
    assert (await live.account())["requests"]["submit_by_http_status"] == {"broken": 1}


async def test_a_hung_answer_outlasts_its_client(live: Any) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await live.client.post("/api/generate", json={"prompt": "[[answer-hang]]"}, timeout=0.2)
    (task,) = (await live.account())["tasks"]
    assert task["submit_answer"] == "hung"


async def test_whoever_waits_for_the_answer_to_a_submit_is_told_of(live: Any) -> None:
    assert (await live.client.get("/control/under-way")).json() == {"submits": []}
    waiting = asyncio.create_task(live.submit("[[answer-hang=30]]", callback_url="http://hook.example/1"))
    await live.account_when(lambda seen: seen["tasks"])
    (submit,) = (await live.client.get("/control/under-way")).json()["submits"]
    assert (submit["callback_url"], submit["client_port"] > 0) == ("http://hook.example/1", True)
    waiting.cancel()


async def test_a_hung_answer_comes_in_the_end(live: Any) -> None:
    assert (await live.submit("[[answer-hang=0.05]]")).json()["code"] == 200


async def test_a_hung_status_outlasts_its_client(live: Any) -> None:
    task_id = (await live.submit("[[status-hang]]")).json()["data"]["task_id"]
    with pytest.raises(httpx.ReadTimeout):
        await live.client.get("/api/status", params={"task_id": task_id}, timeout=0.2)


async def test_the_callback_comes_before_the_answer(live: Any) -> None:
    live.receiver.open.clear()
    submitting = asyncio.create_task(live.submit("[[callback-before-answer]]"))
    told = await live.receiver.next()
    assert told["data"]["status"] == "SUCCESS"
    assert not submitting.done()
    live.receiver.open.set()
    assert (await submitting).json()["data"]["task_id"] == told["data"]["task_id"]


async def test_a_doubled_callback_arrives_twice_at_once(live: Any) -> None:
    live.receiver.open.clear()
    await live.submit("[[callback-double]]")
    # Neither is answered before both have arrived.
    assert await live.receiver.next() == await live.receiver.next()
    live.receiver.open.set()


async def test_what_a_callback_was_answered_is_in_the_account(live: Any) -> None:
    live.receiver.status = 503
    await live.submit("a fox")
    await live.receiver.next()
    account = await live.account_when(lambda seen: seen["tasks"][0]["callbacks"][0]["http_status"] is not None)
    assert account["tasks"][0]["callbacks"][0]["http_status"] == 503


async def test_a_callback_to_nobody_is_an_error_in_the_account(live: Any, unused_tcp_port: int) -> None:
    await live.submit("a fox", callback_url=f"http://127.0.0.1:{unused_tcp_port}/")
    account = await live.account_when(lambda seen: any(each["error"] for each in seen["tasks"][0]["callbacks"]))
    assert account["tasks"][0]["callbacks"][0]["error"].startswith("ConnectError")


async def test_a_strange_body_travels_as_it_is(live: Any) -> None:
    await live.submit("[[callback-strange-body=binary]]")
    body, headers = await asyncio.wait_for(live.receiver.received.get(), 60)
    assert (body, headers["content-type"]) == (bytes(range(256)), "application/octet-stream")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("GET", "/api/generate", 405)])
async def test_other_addresses_are_refused_in_the_envelope(live: Any, method: str, path: str, status: int) -> None:
    answer = await live.client.request(method, path)
    assert answer.status_code == answer.json()["code"] == status
    assert answer.json()["data"] is None


async def test_a_missing_picture_is_404(live: Any) -> None:
    answer = await live.client.get("/images/none.png")
    assert answer.status_code == answer.json()["code"] == 404


async def test_pictures_are_addressed_where_the_submit_came_to(live: Any) -> None:
    await live.submit("a fox")
    told = await live.receiver.next()
    assert told["data"]["response"][0].startswith(f"{live.client.base_url}/images/")


async def test_a_stopping_emulator_gives_up_what_is_under_way(make_live: Callable[..., Any]) -> None:
    live = await make_live()
    live.receiver.open.clear()
    await live.submit("a fox")
    await live.receiver.next()
    # The fixture now stops the emulator in the middle of a callback; a hang would run into the test's time limit.
