"""What receivers get, and what becomes of their answers: real HTTP on loopback, the schedule under a hand clock."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
import structlog
from standardwebhooks import Webhook

from app.client import verify_delivery
from app.deliveries.deliver import MANUAL_MAX, Deliverer, TooManyAttemptsError, UnsentError
from app.deliveries.send import EXCERPT_MAX
from app.lifecycle.delivery import ATTEMPTS
from app.lifecycle.job import CallbackFormat
from app.lifecycle.senders import SenderLimits
from app.lifecycle.states import JobState
from app.storage.deliveries import LEASE, DeliveryStore
from app.storage.tenants import OVERLAP
from tests.databases import OpenDatabase
from tests.deliveries.rig import Rig, answering, received, swept, webhook_ids
from tests.deliveries.test_webhooks_document import plain_python
from tests.outbound.conftest import SOON
from tests.raw_server import Conversation, Serve

UNROUTABLE = "http://192.0.2.1/hook"  #: a network for documents, which nobody allowed


async def test_a_delivery_is_verified_by_the_reference_library_by_our_docs_and_by_our_client(
    rig: Rig, serve: Serve, tmp_path: object
) -> None:
    server = await serve(answering("204 No Content"))
    job = await rig.settled(f"{server.url}/hook?a=b")
    await swept(rig.deliverer())

    [(headers, body)] = received(server)
    assert server.requests[0].startswith(b"POST /hook?a=b HTTP/1.1\r\n")
    secret = (await rig.tenants.secrets("acme")).current
    assert Webhook(secret).verify(body, headers)["type"] == "job.succeeded"
    assert plain_python(secret, headers, body, tmp_path)  # type: ignore[arg-type]
    genuine = verify_delivery(secret, headers, body)
    found = await rig.delivery(job)
    assert (genuine.webhook_id, genuine.job.id) == (str(found.delivery_id), job.job.job_id)
    assert genuine.timestamp == job.job.finished_at
    assert (headers["content-type"], headers["user-agent"].split("/")[0]) == ("application/json", "qwen-image-gateway")
    assert (found.state, found.last_status, found.due_at) == ("delivered", 204, None)
    [attempt] = found.attempts
    assert (attempt.number, attempt.status, attempt.error, attempt.at) == (1, 204, None, rig.clock.now)


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELED])
async def test_every_end_of_a_job_is_told(rig: Rig, serve: Serve, state: JobState) -> None:
    server = await serve(answering("200 OK"))
    job = await rig.settled(server.url, state=state)
    await swept(rig.deliverer())
    [(_, body)] = received(server)
    told = json.loads(body)
    assert (told["type"], told["data"]["state"]) == (f"job.{state}", state)
    assert told["data"]["links"]["self"] == f"https://gateway.example/jobs/{job.job.job_id}"


async def test_while_a_secret_rotates_both_sign(rig: Rig, serve: Serve) -> None:
    old = (await rig.tenants.secrets("acme")).current
    new = (await rig.tenants.rotate_secret("acme", by="test")).current
    server = await serve(answering("500 No"))
    await rig.settled(server.url)
    await swept(rig.deliverer())
    [(headers, body)] = received(server)
    for secret in (old, new):
        Webhook(secret).verify(body, headers)
    rig.clock.now += OVERLAP
    await swept(rig.deliverer())
    headers, body = received(server)[1]
    assert len(headers["webhook-signature"].split(" ")) == 1, "the old one has ended meanwhile"


async def test_a_failure_is_repeated_with_the_same_id_and_body_and_a_new_signature(rig: Rig, serve: Serve) -> None:
    server = await serve(answering("500 No", "200 OK"))
    job = await rig.settled(server.url)
    deliverer = rig.deliverer()
    await swept(deliverer)
    await swept(deliverer)
    assert len(server.requests) == 1, "it is not due yet"
    await rig.due(job)
    await swept(deliverer)
    (first, body), (second, again) = received(server)
    assert (first["webhook-id"], body) == (second["webhook-id"], again)
    assert int(second["webhook-timestamp"]) > int(first["webhook-timestamp"])
    assert first["webhook-signature"] != second["webhook-signature"]
    found = await rig.delivery(job)
    assert (found.state, [attempt.status for attempt in found.attempts]) == ("delivered", [500, 200])


async def test_after_the_last_attempt_it_is_exhausted(rig: Rig, serve: Serve) -> None:
    server = await serve(answering("500 No"))
    job = await rig.settled(server.url)
    deliverer = rig.deliverer()
    for _ in range(ATTEMPTS):
        await swept(deliverer)
        rig.clock.now = (await rig.delivery(job)).due_at or rig.clock.now
    assert (await rig.delivery(job)).state == "exhausted"
    rig.clock.advance(days=2)
    await swept(deliverer)
    assert len(server.requests) == ATTEMPTS


async def test_a_receiver_that_asks_for_time_gets_it(rig: Rig, serve: Serve) -> None:
    server = await serve(answering("503 Busy", headers=("Retry-After: 8",)))
    job = await rig.settled(server.url)
    await swept(rig.deliverer())
    due_at = (await rig.delivery(job)).due_at
    assert due_at is not None
    assert timedelta(seconds=8) <= due_at - rig.clock.now <= timedelta(seconds=10)


async def test_a_receiver_that_names_a_date_is_taken_by_its_own_clock(rig: Rig, serve: Serve) -> None:
    """Its clock is years off ours, and the database's another one yet."""
    dates = ("Date: Fri, 31 Dec 1999 23:59:50 GMT", "Retry-After: Fri, 31 Dec 1999 23:59:58 GMT")
    server = await serve(answering("503 Busy", headers=dates))
    job = await rig.settled(server.url)
    await swept(rig.deliverer())
    due_at = (await rig.delivery(job)).due_at
    assert due_at is not None
    assert timedelta(seconds=8) <= due_at - rig.clock.now <= timedelta(seconds=10)


async def test_410_stops(rig: Rig, serve: Serve) -> None:
    server = await serve(answering("410 Gone"))
    job = await rig.settled(server.url)
    await swept(rig.deliverer())
    assert (await rig.delivery(job)).state == "gone"


async def test_a_redirect_is_a_failure_and_not_followed(rig: Rig, serve: Serve) -> None:
    target = await serve(answering("200 OK"))
    server = await serve(answering("308 Permanent Redirect", headers=(f"Location: {target.url}",)))
    job = await rig.settled(server.url)
    await swept(rig.deliverer())
    found = await rig.delivery(job)
    assert (found.state, found.last_status) == ("pending", 308)
    assert "redirects are not followed" in (found.last_error or "")
    assert target.connections == 0


async def test_an_address_that_nobody_allowed_is_never_connected_and_fails(rig: Rig, serve: Serve) -> None:
    server = await serve(answering("200 OK"))
    job = await rig.settled(server.url)
    await swept(rig.deliverer(allow=""))
    found = await rig.delivery(job)
    assert (found.state, found.tries, found.last_status) == ("pending", 1, None)
    assert "https://" in (found.last_error or "")
    assert server.connections == 0


async def dripping(talk: Conversation) -> None:
    """A head that never ends."""
    await talk.request()
    await talk.send(b"HTTP/1.1 200 OK\r\n")
    while not await talk.client_left_within(0.01):
        await talk.send(b"x-more: 1\r\n")


async def test_a_receiver_that_drips_is_cut_at_the_deadline(rig: Rig, serve: Serve) -> None:
    server = await serve(dripping)
    job = await rig.settled(server.url)
    await swept(rig.deliverer(deadline=SOON))
    await asyncio.wait_for(server.ended.get(), 60)
    found = await rig.delivery(job)
    assert (found.state, found.last_status, found.last_error) == ("pending", None, "the deadline ran out")


async def test_a_2xx_counts_whatever_becomes_of_its_body(rig: Rig, serve: Serve) -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthanks")
        await talk.client_left()

    server = await serve(script)
    job = await rig.settled(server.url)
    await swept(rig.deliverer(deadline=SOON))
    found = await rig.delivery(job)
    assert (found.state, found.attempts[0].excerpt) == ("delivered", "thanks")


async def test_an_excerpt_is_capped_and_text(rig: Rig, serve: Serve) -> None:
    server = await serve(answering("500 No", body=b"\xff\0" + "ä".encode() * 20_000))
    job = await rig.settled(server.url)
    await swept(rig.deliverer())
    [attempt] = (await rig.delivery(job)).attempts
    assert attempt.excerpt == "\ufffd\ufffd" + "ä" * (EXCERPT_MAX - 2)


async def test_a_drop_in_callback_is_the_upstreams_own_data_and_signed_too(rig: Rig, serve: Serve) -> None:
    server = await serve(answering("200 OK"))
    job = await rig.settled(server.url, callback_format=CallbackFormat.DROP_IN)
    await swept(rig.deliverer())
    [(headers, body)] = received(server)
    assert json.loads(body) == {"task_id": str(job.job.job_id)}
    Webhook((await rig.tenants.secrets("acme")).current).verify(body, headers)
    assert headers["webhook-id"] == str((await rig.delivery(job)).delivery_id)


async def test_a_dead_receiver_does_not_delay_the_others(rig: Rig, serve: Serve) -> None:
    """It holds all the senders that it may have, and answers only when the others were served."""
    others_served, held = asyncio.Event(), asyncio.Semaphore(0)

    async def hangs(talk: Conversation) -> None:
        await talk.request()
        held.release()
        await others_served.wait()

    dead, alive = await serve(hangs), await serve(answering("200 OK"))
    stuck = [await rig.settled(dead.url) for _ in range(10)]
    rig.clock.advance(seconds=1)
    jobs = [await rig.settled(alive.url) for _ in range(5)]
    deliverer = rig.deliverer(limits=SenderLimits(all=4, tenant=4, receiver=2))
    sweeping = asyncio.create_task(sweep_on(deliverer, rig, others_served))
    async with asyncio.timeout(60):
        while len(alive.requests) < len(jobs):
            await alive.ended.get()
    assert (await rig.delivery(stuck[-1])).attempts == ()
    assert dead.connections == 2
    others_served.set()
    await sweeping
    await deliverer.idle()
    assert {(await rig.delivery(job)).state for job in jobs} == {"delivered"}


async def sweep_on(deliverer: Deliverer, rig: Rig, until: asyncio.Event) -> None:
    """Sweeps whenever the bell is rung, as the loop does."""
    while not until.is_set():
        if await deliverer.sweep() != 0.0:
            await rig.rung.wait(0.05)


async def test_two_replicas_send_each_delivery_once(
    rig: Rig, serve: Serve, database_url: str, open_database: OpenDatabase
) -> None:
    server = await serve(answering("200 OK"))
    jobs = [await rig.settled(server.url) for _ in range(12)]
    other = Rig(open_database(database_url, clock=rig.clock), rig.clock)
    replicas = [one.deliverer(limits=SenderLimits(receiver=2)) for one in (rig, other)]
    for _ in range(6):
        await asyncio.gather(*(swept(replica) for replica in replicas))
    assert {(await rig.delivery(job)).state for job in jobs} == {"delivered"}
    assert len(webhook_ids(server)) == len(set(webhook_ids(server))) == len(jobs)


async def test_what_goes_wrong_on_our_side_is_no_attempt(rig: Rig, serve: Serve) -> None:
    server = await serve(answering("200 OK"))
    job = await rig.settled(server.url, tenant="nobody-made-this-one")
    deliverer = rig.deliverer()
    await swept(deliverer)
    found = await rig.delivery(job)
    assert (found.state, found.tries, found.attempts, server.connections) == ("pending", 0, (), 0)
    assert found.last_error == "nothing was sent: it cannot be signed"
    assert await rig.receivers.troubled() == []
    await rig.tenant("nobody-made-this-one")
    rig.clock.now += LEASE
    await swept(deliverer)
    found = await rig.delivery(job)
    assert (found.state, found.last_error) == ("delivered", None)


async def test_a_body_that_cannot_be_written_is_told_on_the_delivery(rig: Rig) -> None:
    job = await rig.settled(UNROUTABLE)
    await swept(rig.deliverer(writers={}))
    found = await rig.delivery(job)
    assert (found.state, found.tries, found.due_at) == ("pending", 0, rig.clock.now + LEASE)
    assert found.last_error == "nothing was sent: its body cannot be written"


async def test_a_stop_claims_nothing_more_and_repeats_what_it_cuts_off(rig: Rig, serve: Serve) -> None:
    reached = asyncio.Event()

    async def hangs(talk: Conversation) -> None:
        await talk.request()
        reached.set()
        await talk.client_left()

    server = await serve(hangs)
    job = await rig.settled(server.url)
    deliverer = rig.deliverer()
    await deliverer.sweep()
    await asyncio.wait_for(reached.wait(), 60)
    await deliverer.stop(0.01)
    await deliverer.drained()
    await rig.settled(server.url)
    assert await deliverer.sweep() is None
    assert (await rig.delivery(job)).attempts == ()
    rig.clock.now += LEASE
    again = rig.deliverer(deadline=SOON)
    await swept(again)
    ids = webhook_ids(server)
    assert ids.count(ids[0]) == 2


async def test_a_sender_that_slept_through_its_lease_sends_nothing(rig: Rig, serve: Serve) -> None:
    server = await serve(answering("200 OK"))
    job = await rig.settled(server.url)
    instants = iter([0.0])
    deliverer = rig.deliverer(monotonic=lambda: next(instants, LEASE.total_seconds()))
    await swept(deliverer)
    assert server.connections == 0
    assert (await rig.delivery(job)).state == "pending"


async def test_redelivering_sends_the_same_again_and_tells_what_came_of_it(rig: Rig, serve: Serve) -> None:
    server = await serve(answering("200 OK", "500 No", "200 OK"))
    job = await rig.settled(server.url)
    deliverer = rig.deliverer()
    await swept(deliverer)
    delivery_id = (await rig.delivery(job)).delivery_id
    for status in (500, 200):
        recorded = await deliverer.redeliver(delivery_id, by="key-1")
        assert recorded is not None
        assert (recorded.state, (await rig.delivery(job)).last_status) == ("delivered", status)
    assert webhook_ids(server) == [delivery_id] * 3
    assert len({body for _, body in received(server)}) == 1
    assert [a.number for a in (await rig.delivery(job)).attempts] == [1, None, None]


async def test_a_delivery_never_attempted_can_be_sent_by_hand_and_then_is_not_sent_again(rig: Rig, serve: Serve) -> None:
    server = await serve(answering("200 OK"))
    job = await rig.settled(server.url)
    deliverer = rig.deliverer()
    await deliverer.redeliver((await rig.delivery(job)).delivery_id, by="key-1")
    await swept(deliverer)
    assert len(server.requests) == 1


async def test_only_so_many_are_sent_by_hand_at_once(rig: Rig, serve: Serve) -> None:
    others = asyncio.Event()

    async def hangs(talk: Conversation) -> None:
        await talk.request()
        await others.wait()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = await serve(hangs)
    jobs = [await rig.settled(server.url) for _ in range(MANUAL_MAX + 1)]
    deliverer = rig.deliverer()
    ids = [(await rig.delivery(job)).delivery_id for job in jobs]
    sending = [asyncio.create_task(deliverer.redeliver(delivery_id, by="key-1")) for delivery_id in ids[:-1]]
    await asyncio.sleep(0)
    with pytest.raises(TooManyAttemptsError):
        await deliverer.redeliver(ids[-1], by="key-1")
    others.set()
    await asyncio.gather(*sending)
    assert await deliverer.redeliver(ids[-1], by="key-1") is not None


async def test_a_body_that_cannot_be_written_is_said_to_whoever_asks(rig: Rig) -> None:
    job = await rig.settled(UNROUTABLE)
    broken = Deliverer(rig.store, None, {}, wake=rig.rung)  # type: ignore[arg-type]
    with pytest.raises(UnsentError):
        await broken.redeliver((await rig.delivery(job)).delivery_id, by="key-1")
    assert (await rig.delivery(job)).attempts == ()


async def test_the_log_holds_neither_the_rest_of_the_address_nor_a_body_nor_a_secret(rig: Rig, serve: Serve) -> None:
    good, bad = await serve(answering("200 OK")), await serve(answering("500 No", body=b"answered-this"))
    await rig.settled(f"{good.url}/path-secret?query=secret")
    await rig.settled(f"{bad.url}/path-secret")
    await rig.settled("http://user:pass-secret@127.0.0.1:1/path-secret")
    secret = (await rig.tenants.secrets("acme")).current
    with structlog.testing.capture_logs() as logs:
        await swept(rig.deliverer())
    told = json.dumps(logs, default=str)
    assert len([line for line in logs if line["event"] == "delivery"]) == 3
    assert good.url in told
    for hidden in ("path-secret", "pass-secret", "query", "lighthouse", "answered-this", secret):
        assert hidden not in told


def test_the_lease_is_longer_than_a_call() -> None:
    from app.deliveries.deliver import MARGIN
    from app.deliveries.send import CALL_DEADLINE

    assert timedelta(seconds=15) == CALL_DEADLINE
    assert DeliveryStore.__dataclass_fields__["lease"].default > CALL_DEADLINE + MARGIN
