"""The whole gateway: a job is settled, its receiver is told; callers and operators see it, send it again, recover, resume."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import insert
from standardwebhooks import Webhook

from app.client import verify_delivery
from app.main import create_app
from app.storage import tables as t
from tests.acceptance.stage import Stage, client, open_stage, serving, settings_for
from tests.access.keyring import Keyring
from tests.databases import OpenDatabase
from tests.deliveries.rig import answering, received
from tests.raw_server import Conversation, RawServer, Serve
from tests.replicas.deployment import wait_for


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with open_stage(database_url, delivery_allow="127.0.0.1", image_store_url="off") as opened:
        yield opened


@pytest.fixture
async def keyring(stage: Stage) -> AsyncIterator[Keyring]:
    async with Keyring(stage) as opened:
        yield opened


async def deliveries(api: httpx.AsyncClient, job: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await api.get(f"/jobs/{job['id']}/deliveries")
    assert answer.status_code == 200, answer.text
    return answer.json()["deliveries"]


async def attempted(api: httpx.AsyncClient, job: dict[str, Any], times: int = 1) -> dict[str, Any]:
    """The job's delivery, once so many attempts are recorded."""

    async def look() -> dict[str, Any] | None:
        found = await deliveries(api, job)
        if not found or len(found[0]["attempts"]) < times:
            return None
        return (await deliveries(api, job))[0]  # on PostgreSQL the delivery is read just before its attempts

    return await wait_for(look)  # type: ignore[return-value]


async def test_a_settled_job_is_delivered_as_the_api_shows_it(stage: Stage, serve: Serve) -> None:
    server = await serve(answering("200 OK"))
    job = await stage.run(callback_url=f"{server.url}/hook")
    delivery = await attempted(stage.api, job)
    [(headers, body)] = received(server)
    secret = (await stage.api.get("/tenants/admin/delivery-secret")).json()["secret"]
    assert verify_delivery(secret, headers, body).webhook_id == delivery["id"]
    shown = (await stage.api.get(f"/jobs/{job['id']}")).json()
    told = json.loads(body)
    assert told == {"type": "job.succeeded", "timestamp": shown["finished_at"], "data": shown}
    assert (delivery["job_id"], delivery["origin"], delivery["state"]) == (job["id"], server.url, "delivered")
    assert (delivery["tries"], delivery["next_attempt_at"], delivery["last_status"]) == (1, None, 200)
    [attempt] = delivery["attempts"]
    assert (attempt["trigger"], attempt["number"], attempt["status"], attempt["error"]) == ("schedule", 1, 200, None)
    assert attempt["milliseconds"] >= 0


async def test_links_are_paths_where_the_gateway_knows_no_address_of_its_own(database_url: str, serve: Serve) -> None:
    server = await serve(answering("200 OK"))
    async with open_stage(database_url, delivery_allow="127.0.0.1", public_base_url=None) as stage:
        job = await stage.run(callback_url=server.url)
        await attempted(stage.api, job)
    [(_, body)] = received(server)
    assert json.loads(body)["data"]["links"]["self"] == f"/jobs/{job['id']}"


async def test_a_drop_in_job_is_delivered_as_the_upstream_would(stage: Stage, serve: Serve) -> None:
    server = await serve(answering("200 OK"))
    asked = {"prompt": "A red fox", "callback_url": server.url}
    answer = await stage.api.post("/api/generate", json=asked)
    job = {"id": answer.json()["data"]["task_id"]}
    await attempted(stage.api, job)
    [(headers, body)] = received(server)
    shown = (await stage.api.get("/api/status", params={"task_id": job["id"]})).json()
    assert json.loads(body)["data"]["task_id"] == shown["data"]["task_id"]
    assert json.loads(body)["data"]["status"] == "SUCCESS" == shown["data"]["status"]
    secret = (await stage.api.get("/tenants/admin/delivery-secret")).json()["secret"]
    Webhook(secret).verify(body, headers)


async def test_a_job_without_an_address_has_no_delivery(stage: Stage) -> None:
    assert await deliveries(stage.api, await stage.run()) == []


async def test_excerpts_are_for_admins(stage: Stage, keyring: Keyring, serve: Serve) -> None:
    server = await serve(answering("500 No", body=b"a page of somebody else"))
    own = await keyring.caller("jobs:write", "jobs:read")
    job = (await own.post("/jobs", json={"prompt": "A red fox", "callback_url": server.url})).json()
    seen = (await attempted(own, job))["attempts"][0]
    assert (seen["status"], seen["excerpt"]) == (500, None)
    assert (await attempted(stage.api, job))["attempts"][0]["excerpt"] == "a page of somebody else"


async def test_redelivering_answers_with_what_came_of_it(stage: Stage, serve: Serve) -> None:
    server = await serve(answering("200 OK", "404 Not Found"))
    job = await stage.run(callback_url=server.url)
    delivery = await attempted(stage.api, job)
    answer = await stage.api.post(f"/deliveries/{delivery['id']}/redeliver")
    assert answer.status_code == 200, answer.text
    again = answer.json()
    assert (again["state"], again["last_status"], again["next_attempt_at"]) == ("delivered", 404, None)
    assert [(a["trigger"], a["number"], a["status"]) for a in again["attempts"]] == [
        ("schedule", 1, 200),
        ("manual", None, 404),
    ]
    (first, body), (second, same) = received(server)
    assert (first["webhook-id"], body) == (second["webhook-id"], same)


async def test_what_is_attempted_just_now_is_not_sent_beside_it(stage: Stage, serve: Serve) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(talk: Conversation) -> None:
        await talk.request()
        reached.set()
        await go_on.wait()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = await serve(slow)
    job = await stage.run(callback_url=server.url)
    await asyncio.wait_for(reached.wait(), 60)
    [delivery] = await deliveries(stage.api, job)
    answer = await stage.api.post(f"/deliveries/{delivery['id']}/redeliver")
    assert (answer.status_code, answer.json()["code"]) == (409, "delivery_under_way")
    go_on.set()
    assert (await attempted(stage.api, job))["state"] == "delivered"
    assert server.connections == 1


async def test_a_finished_delivery_is_sent_again_once_at_a_time(stage: Stage, serve: Serve) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow_the_second_time(talk: Conversation) -> None:
        await talk.request()
        if server.connections == 2:
            reached.set()
            await go_on.wait()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = await serve(slow_the_second_time)
    job = await stage.run(callback_url=server.url)
    path = f"/deliveries/{(await attempted(stage.api, job))['id']}/redeliver"
    first = asyncio.create_task(stage.api.post(path))
    await asyncio.wait_for(reached.wait(), 60)
    second = await stage.api.post(path)
    assert (second.status_code, second.json()["code"]) == (409, "delivery_under_way")
    go_on.set()
    assert (await first).status_code == 200
    assert (await stage.api.post(path)).status_code == 200
    assert server.connections == 3


async def test_another_tenants_deliveries_are_not_there(stage: Stage, keyring: Keyring, serve: Serve) -> None:
    server = await serve(answering("200 OK"))
    job = await stage.run(callback_url=server.url)
    delivery = await attempted(stage.api, job)
    stranger = await keyring.caller("jobs:write", "jobs:read")
    since = {"since": datetime.now(UTC).isoformat()}
    for answer in (
        await stranger.get(f"/jobs/{job['id']}/deliveries"),
        await stranger.post(f"/deliveries/{delivery['id']}/redeliver"),
        await stranger.post(f"/deliveries/{uuid4()}/redeliver"),
        await stranger.post("/deliveries/x/redeliver"),
        await stranger.post("/tenants/admin/deliveries/recover", json=since),
        await stage.api.post("/tenants/nobody/deliveries/recover", json=since),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), answer.url
    assert len(server.requests) == 1


async def test_a_reader_sends_nothing_again(stage: Stage, keyring: Keyring, serve: Serve) -> None:
    server = await serve(answering("200 OK"))
    reader = await keyring.caller("jobs:read", tenant="admin")
    delivery = await attempted(reader, await stage.run(callback_url=server.url))
    assert (await reader.post(f"/deliveries/{delivery['id']}/redeliver")).status_code == 403
    assert (await reader.post("/tenants/admin/deliveries/recover", json={})).status_code == 403
    for path in ("/deliveries", "/receivers"):
        assert (await reader.get(path)).status_code == 403
    assert (await reader.post("/receivers/resume", json={})).status_code == 403


async def test_what_was_not_delivered_is_recovered(stage: Stage, serve: Serve) -> None:
    gone, well = await serve(answering("410 Gone", "200 OK")), await serve(answering("200 OK"))
    jobs = [await stage.run(callback_url=server.url) for server in (gone, well)]
    for job in jobs:
        await attempted(stage.api, job)
    since = {"since": (datetime.now(UTC) - timedelta(days=1)).isoformat()}
    answer = await stage.api.post("/tenants/admin/deliveries/recover", json=since)
    assert (answer.status_code, answer.json()) == (202, {"recovered": 1})
    assert (await attempted(stage.api, jobs[0], 2))["state"] == "delivered"
    assert len(well.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"since": "yesterday"},
        {"since": "2026-01-01T00:00:00"},
        {"since": "2020-01-01T00:00:00Z"},
        {"since": "4102444800"},
        {"since": 4102444800},
        {"until": "now"},
    ],
)
async def test_recovering_needs_an_instant_of_the_last_two_weeks(stage: Stage, body: dict[str, Any]) -> None:
    answer = await stage.api.post("/tenants/admin/deliveries/recover", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_operators_list_deliveries_page_by_page(stage: Stage, serve: Serve) -> None:
    well, gone = await serve(answering("200 OK")), await serve(answering("410 Gone"))
    jobs = [await stage.run(callback_url=server.url) for server in (well, gone, well)]
    for job in jobs:
        await attempted(stage.api, job)
    first = (await stage.api.get("/deliveries", params={"limit": 2})).json()
    assert [d["job_id"] for d in first["deliveries"]] == [jobs[2]["id"], jobs[1]["id"]]
    assert first["has_more"]
    answer = await stage.api.get("/deliveries", params={"limit": 2, "cursor": first["next_cursor"]})
    assert [d["job_id"] for d in answer.json()["deliveries"]] == [jobs[0]["id"]]
    assert (answer.json()["next_cursor"], answer.json()["has_more"]) == (None, False)
    assert await job_ids(stage, state="gone") == [jobs[1]["id"]]
    assert await job_ids(stage, origin=well.url, tenant="admin") == [jobs[2]["id"], jobs[0]["id"]]
    assert await job_ids(stage, tenant="umbrella") == []


@pytest.mark.parametrize(
    "query", ["state=lost", "cursor=x", "cursor=AAAA", "limit=0", "origin=hooks", "color=red", "tenant=%00"]
)
async def test_a_filter_that_does_not_fit_is_refused(stage: Stage, query: str) -> None:
    assert (await stage.api.get(f"/deliveries?{query}")).status_code == 422


async def job_ids(stage: Stage, **query: str) -> list[str]:
    return [d["job_id"] for d in (await stage.api.get("/deliveries", params=query)).json()["deliveries"]]


async def test_a_parked_receiver_is_shown_and_resumed(
    stage: Stage, serve: Serve, database_url: str, open_database: OpenDatabase
) -> None:
    server = await serve(answering("200 OK"))
    await park(open_database(database_url), server)
    job = await stage.run(callback_url=server.url)

    async def put_away() -> bool:
        found = await deliveries(stage.api, job)
        return found[0]["next_attempt_at"] is None

    await wait_for(put_away)
    assert server.connections == 0
    [shown] = (await stage.api.get("/receivers", params={"parked": True})).json()["receivers"]
    assert (shown["tenant"], shown["origin"], shown["pending"]) == ("admin", server.url, 1)
    assert (await stage.api.get("/receivers", params={"parked": False})).json()["receivers"] == []
    named = {"tenant": "admin", "origin": f"{server.url}/"}
    assert (await stage.api.post("/receivers/resume", json=named)).json() == {"resumed": 1}
    assert (await attempted(stage.api, job))["state"] == "delivered"
    assert (await stage.api.post("/receivers/resume", json=named)).status_code == 404
    assert (await stage.api.post("/receivers/resume", json={**named, "origin": "hooks"})).status_code == 422


async def park(database: Any, server: RawServer) -> None:
    """As if it had failed for five days."""
    at = datetime.now(UTC)
    async with database.writing() as connection:
        row = {"failing_since": at - timedelta(days=5), "failed_at": at, "parked_at": at}
        await connection.execute(insert(t.receivers).values(tenant="admin", origin=server.url, **row))


async def test_the_api_alone_can_send_a_delivery_by_hand(postgres_url: str, serve: Serve) -> None:
    server = await serve(answering("410 Gone", "200 OK"))
    async with open_stage(postgres_url, delivery_allow="127.0.0.1") as stage:
        delivery = await attempted(stage.api, await stage.run(callback_url=server.url))
        settings = settings_for(postgres_url, delivery_allow="127.0.0.1", upstream_base_url=stage.emulator_url)
        async with serving(create_app(settings, with_duties=False)) as url, client(url) as api:
            again = (await api.post(f"/deliveries/{delivery['id']}/redeliver")).json()
    assert (again["state"], again["last_status"]) == ("delivered", 200)
