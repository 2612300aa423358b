"""The live stream over real HTTP: complete, in order, resumable, and over when the job is."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update

from app.access.callers import Scope
from app.gateway import Gateway
from app.lifecycle.transitions import Event
from app.storage import tables as t
from app.storage.lives import write_events
from tests.acceptance.stage import PATIENCE, Stage, client
from tests.replicas.deployment import wait_for
from tests.streams.reading import STREAM, Piece, streaming, told


async def listed(stage: Stage, job: dict[str, Any]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = (await stage.api.get(f"/jobs/{job['id']}/events")).json()["events"]
    return events


async def happens_late(gateway: Gateway, job: dict[str, Any]) -> None:
    """Something that is told of a settled job: its books close."""
    async with gateway.database.writing() as connection:
        await write_events(connection, [(UUID(job["id"]), Event("late_result"))], await gateway.database.now(connection))


def events_in(pieces: list[Piece]) -> list[dict[str, Any]]:
    return [piece.data for piece in pieces if piece.id is not None]


# --- what is told ---


async def test_a_settled_job_is_told_to_its_end(stage: Stage) -> None:
    job = await stage.run()
    first, *pieces, last = await told(stage.api, job)
    assert set(first.fields) == {"retry"}
    assert int(first.fields["retry"]) >= 1000
    assert events_in(pieces) == await listed(stage, job)
    assert [(p.id, p.event) for p in pieces] == [(p.data["id"], p.data["type"]) for p in pieces]
    assert (last.event, last.data, last.id) == ("end", {"state": "succeeded"}, None)


async def test_what_happens_is_told_as_it_happens(paused: Stage) -> None:
    job = await paused.accept()
    async with streaming(paused.api, job) as (_answer, stream):
        before = [await anext(stream), await anext(stream)]
        assert [p.event for p in before] == [None, "accepted"]
        await paused.api.post("/dispatch/resume")
        after = [piece async for piece in stream]
    assert events_in([*before, *after]) == await listed(paused, job)
    assert [p.event for p in after][-2:] == ["succeeded", "end"]


async def test_many_may_watch_one_job(paused: Stage) -> None:
    job, other = await paused.accept(), await paused.accept()
    streams = [asyncio.create_task(told(paused.api, job)) for _ in range(20)]
    others = asyncio.create_task(told(paused.api, other))
    await paused.api.post(f"/jobs/{job['id']}/cancel")
    heard = await asyncio.gather(*streams)
    whole = await listed(paused, job)
    assert all(events_in(pieces) == whole for pieces in heard)
    assert not others.done()
    await paused.api.post(f"/jobs/{other['id']}/cancel")
    assert events_in(await others) == await listed(paused, other)


async def test_nobody_between_may_keep_or_hold_back_the_stream(paused: Stage) -> None:
    async with streaming(paused.api, await paused.accept()) as (answer, _stream):
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["vary"] == "Accept"
        assert answer.headers["x-request-id"]


# --- resuming ---


async def test_a_stream_is_resumed_behind_the_last_event_without_loss_or_doubling(stage: Stage) -> None:
    job = await stage.run()
    whole = await listed(stage, job)
    for place, event in enumerate(whole[:-1]):
        assert events_in(await told(stage.api, job, last=event["id"])) == whole[place + 1 :]


async def test_a_first_visit_may_begin_behind_an_event_too_and_a_later_one_knows_better(stage: Stage) -> None:
    job = await stage.run()
    whole = await listed(stage, job)
    assert events_in(await told(stage.api, job, after=whole[1]["id"])) == whole[2:]
    assert events_in(await told(stage.api, job, after=whole[1]["id"], last=whole[2]["id"])) == whole[3:]
    assert events_in(await told(stage.api, job, last="")) == whole


async def test_who_has_heard_all_of_a_settled_job_is_told_to_stop(stage: Stage) -> None:
    """A browser comes again after every end of a stream; 204 alone stops it."""
    job = await stage.run()
    newest = (await listed(stage, job))[-1]["id"]
    for last in (newest, newest + 1, 2**63 - 1):
        async with streaming(stage.api, job, last=last) as (answer, _stream):
            assert (answer.status_code, await answer.aread()) == (204, b"")
            assert answer.headers["vary"] == "Accept"


async def test_what_is_told_of_a_settled_job_late_is_told_to_who_comes_again(stage: Stage, gateway: Gateway) -> None:
    job = await stage.run()
    heard = (await listed(stage, job))[-1]["id"]
    await happens_late(gateway, job)
    pieces = await told(stage.api, job, last=heard)
    assert [p.event for p in pieces] == [None, "late_result", "end"]
    assert pieces[-1].data == {"state": "succeeded"}


async def test_an_id_from_beyond_the_timeline_of_an_open_job_hears_what_comes(paused: Stage) -> None:
    """Of a database that was restored, for one: its ids begin again lower down."""
    job = await paused.accept()
    async with streaming(paused.api, job, last=10**12) as (_answer, stream):
        await anext(stream)
        await paused.api.post(f"/jobs/{job['id']}/cancel")
        pieces = [piece async for piece in stream]
    assert [p.event for p in pieces][-2:] == ["canceled", "end"]
    assert "accepted" not in [p.event for p in pieces]


async def test_an_id_that_none_can_be_is_refused(paused: Stage) -> None:
    job = await paused.accept()
    for last in ("x", "-1", "1.5", "1_0", "9" * 19, "9" * 400, "1 2"):
        async with streaming(paused.api, job, last=last) as (answer, _stream):
            body = json.loads(await answer.aread())
            assert (answer.status_code, body["errors"][0]["field"]) == (422, "Last-Event-ID")
            assert last not in body["errors"][0]["message"]


# --- ends ---


async def test_a_stream_closes_at_shutdown_and_goes_on_elsewhere(paused: Stage, gateway: Gateway) -> None:
    job = await paused.accept()
    async with streaming(paused.api, job) as (_answer, stream):
        await anext(stream)
        heard = (await anext(stream)).id
        gateway.let_go()
        assert [piece async for piece in stream] == [], "no `end`: the job is not settled"
    again = await told(paused.api, job, last=heard)
    assert [set(p.fields) for p in again] == [{"retry"}], "nor does a stream that begins now hold up the shutdown"


async def test_who_hangs_up_is_forgotten_at_once(paused: Stage, gateway: Gateway) -> None:
    job = await paused.accept()

    async def is_waiting(count: int) -> bool:
        return gateway.watchers.waiting == count

    async with streaming(paused.api, job) as (_answer, stream):
        await anext(stream)
        await anext(stream)
        await wait_for(lambda: is_waiting(1))
    await wait_for(lambda: is_waiting(0))
    assert (await paused.api.get(f"/jobs/{job['id']}")).json()["state"] == "queued", "hanging up cancels nothing"


async def test_no_connection_of_the_database_is_held_while_nothing_happens(paused: Stage, gateway: Gateway) -> None:
    """SQLite has four readers here, PostgreSQL twenty connections: with more streams than that, requests are answered."""
    jobs = [await paused.accept() for _ in range(3)]
    streams = [asyncio.create_task(told(paused.api, jobs[n % 3])) for n in range(60)]

    async def all_wait() -> bool:
        return gateway.watchers.waiting == 60

    await wait_for(all_wait)
    for job in jobs:
        assert (await paused.api.post(f"/jobs/{job['id']}/cancel")).status_code == 200
    assert {pieces[-1].event for pieces in await asyncio.gather(*streams)} == {"end"}


# --- access ---


async def test_a_stream_is_for_those_who_may_see_the_job(paused: Stage, gateway: Gateway) -> None:
    job = await paused.accept()
    stranger = await key_of(gateway, "stranger", Scope.JOBS_READ)
    writer = await key_of(gateway, "admin", Scope.JOBS_WRITE)
    reader = await key_of(gateway, "admin", Scope.JOBS_READ)
    url = f"/jobs/{job['id']}/events"
    for key, status in ((None, 401), ("wrong", 401), (stranger, 404), (writer, 403)):
        async with client(paused.url, key) as api, asyncio.timeout(PATIENCE):
            answer = await api.get(url, headers=STREAM)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    async with client(paused.url, reader) as api, streaming(api, job) as (allowed, _stream):
        assert allowed.status_code == 200
    unknown = await paused.api.get("/jobs/0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f20/events", headers=STREAM)
    assert unknown.status_code == 404


async def test_a_key_that_is_revoked_meanwhile_hears_no_more(paused: Stage, gateway: Gateway) -> None:
    job = await paused.accept()
    key = await key_of(gateway, "admin", Scope.JOBS_READ)
    async with client(paused.url, key) as api, streaming(api, job) as (_answer, stream):
        assert [(await anext(stream)).event for _ in range(2)] == [None, "accepted"]
        async with gateway.database.writing() as connection:
            revoked = update(t.api_keys).where(t.api_keys.c.name == key)
            await connection.execute(revoked.values(revoked_at=await gateway.database.now(connection)))
        await paused.api.post(f"/jobs/{job['id']}/cancel")
        assert [piece async for piece in stream] == []
        assert (await api.get(f"/jobs/{job['id']}/events", headers=STREAM)).status_code == 401


async def key_of(gateway: Gateway, tenant: str, scope: Scope) -> str:
    """A new key of the tenant."""
    key = f"gw_test_{tenant}_{scope}_0123456789"
    async with gateway.database.writing() as connection:
        made = {"created_at": await gateway.database.now(connection)}
        if (await connection.execute(select(t.tenants).where(t.tenants.c.name == tenant))).first() is None:
            await connection.execute(insert(t.tenants), [{"name": tenant, **made}])
        hashed = hashlib.sha256(key.encode()).digest()
        row = {"key_id": f"{tenant}-{scope}", "tenant": tenant, "name": key, "secret_hash": hashed, "scopes": [scope], **made}
        await connection.execute(insert(t.api_keys), [row])
    return key
