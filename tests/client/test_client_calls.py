"""What each call sends and returns, as the public contract has it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime, timedelta

import pytest

from app.client import ConflictError, UnverifiedDeliveryError, verify_delivery
from app.deliveries.signing import sign
from tests.client.faces import KEY, Faces
from tests.client.stand_in import DROP, JOB_ID, answer, job, problem, standing_in

OTHER_ID = "0192f0c1-e2a3-7c5e-8d1f-000000000002"
DOOR = {"open": True, "reason": None}
DISPATCH = answer(
    {"submits": DOOR, "checks": DOOR, "paused_by": "key_1", "failures": 0, "open_submissions": 3, "max_in_flight": 100}
)


async def test_a_batch_has_one_key_and_keeps_its_order(face: Faces) -> None:
    jobs = [{"prompt": "A fox"}, {"prompt": "A hen", "seed": 7}]
    async with standing_in(DROP, answer({"jobs": [job(), job(id=OTHER_ID)]}, 202)) as server, face(server.url) as client:
        found = await client.ask("submit_batch", jobs, idempotency_key="order-17")
    assert [str(one.id) for one in found] == [JOB_ID, OTHER_ID]
    assert [(a.path, a.json, a.headers["idempotency-key"]) for a in server.asked] == [
        ("/jobs/batch", {"jobs": jobs}, "order-17")
    ] * 2


async def test_every_request_says_who_asks_and_that_it_is_not_to_be_packed(face: Faces) -> None:
    async with standing_in(answer(job())) as server, face(server.url) as client:
        await client.ask("job", JOB_ID)
    headers = server.asked[0].headers
    assert (headers["user-agent"], headers["accept-encoding"]) == ("qwen-image-gateway-client", "identity")


async def test_a_quote_makes_no_job(face: Faces) -> None:
    said = {
        "credits": 5, "reused": False, "budget": {"monthly_credits": 100, "left": 95}, "refusal": None, "queue_depth": 2,
        "estimate": {"p50_at": "2026-11-05T12:00:00Z", "p90_at": "2026-11-05T12:01:00Z"},
    }  # fmt: skip
    async with standing_in(answer(said)) as server, face(server.url) as client:
        quote = await client.ask("quote", "A fox", seed=7, reuse="exact")
    assert (quote.credits, quote.budget.left, quote.queue_depth, quote.estimate.p90_at.minute) == (5, 95, 2, 1)
    assert (server.asked[0].path, server.asked[0].json) == ("/jobs/quote", {"prompt": "A fox", "seed": 7, "reuse": "exact"})
    assert "idempotency-key" not in server.asked[0].headers


async def test_a_cancel_says_what_it_costs_and_is_tried_again(face: Faces) -> None:
    said = job("running", cancel_requested=True, upstream_will_bill="yes")
    async with standing_in(DROP, answer(said, 202)) as server, face(server.url) as client:
        found = await client.ask("cancel", JOB_ID)
    assert (found.upstream_will_bill, found.cancel_requested) == ("yes", True)
    assert [(a.method, a.path, a.body) for a in server.asked] == [("POST", f"/jobs/{JOB_ID}/cancel", b"")] * 2


async def test_a_retry_makes_a_new_job_and_double_billing_must_be_accepted(face: Faces) -> None:
    script = [problem(409, "may_be_billed_twice"), DROP, answer(job(id=OTHER_ID, retry_of=JOB_ID), 202)]
    async with standing_in(*script) as server, face(server.url) as client:
        with pytest.raises(ConflictError):
            await client.ask("retry", JOB_ID)
        found = await client.ask("retry", JOB_ID, accept_double_billing=True)
    assert (str(found.id), str(found.retry_of)) == (OTHER_ID, JOB_ID)
    assert [a.query for a in server.asked] == [[], [("accept_double_billing", "true")], [("accept_double_billing", "true")]]


async def test_usage_by_day(face: Faces) -> None:
    day = {"day": "2026-11-05", "tenant": "design", "jobs_accepted": 3, "jobs_succeeded": 2, "credits_consumed": 10}
    async with (
        standing_in(answer({"days": [day], "now": {"open_jobs": 1, "credits_left": None}})) as server,
        face(server.url) as client,
    ):
        usage = await client.ask("usage", since=date(2026, 11, 1), until="2026-11-05", tenant="design")
    assert server.asked[0].query == [("from", "2026-11-01"), ("to", "2026-11-05"), ("tenant", "design")]
    assert (usage.days[0].day, usage.days[0].credits_consumed, usage.now.open_jobs) == (date(2026, 11, 5), 10, 1)


async def test_a_timeline_longer_than_a_list_is_read_to_its_end(face: Faces) -> None:
    def part(*ids: int, has_more: bool) -> bytes:
        return answer({"events": [{"id": n, "type": "checked"} for n in ids], "has_more": has_more})

    async with standing_in(part(3, 7, has_more=True), DROP, part(9, has_more=False)) as server, face(server.url) as client:
        events = await client.ask("events", JOB_ID)
    assert [event.id for event in events] == [3, 7, 9]
    assert [a.query for a in server.asked] == [[], [("after", "7")], [("after", "7")]]


async def test_operators_look_at_the_gate_and_move_it(face: Faces) -> None:
    async with standing_in(DISPATCH, DISPATCH, DISPATCH) as server, face(server.url) as client:
        for name in ("dispatch", "pause_dispatch", "resume_dispatch"):
            found = await client.ask(name)
            assert (found.submits.open, found.paused_by, found.open_submissions) == (True, "key_1", 3)
    asked = [("GET", "/dispatch"), ("POST", "/dispatch/pause"), ("POST", "/dispatch/resume")]
    assert [(a.method, a.path) for a in server.asked] == asked


async def test_a_picture_comes_from_where_it_is_and_the_key_goes_only_to_the_gateway(face: Faces) -> None:
    async with standing_in(DROP, answer(b"\x89PNG", content_type="image/png")) as elsewhere:
        script = [answer(b"", 307, Location=f"{elsewhere.url}/p.png?x=1")]
        async with standing_in(*script) as server, face(server.url) as client:
            picture = await client.ask("image", JOB_ID, 1, thumbnail=True)
    assert (picture.content, picture.media_type) == (b"\x89PNG", "image/png")
    assert (server.asked[0].path, server.asked[0].query) == (f"/jobs/{JOB_ID}/images/1", [("thumbnail", "1")])
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert [a.target for a in elsewhere.asked] == ["/p.png?x=1"] * 2
    assert not any("authorization" in a.headers for a in elsewhere.asked)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://x", "http://", "http://[", ""])
async def test_a_picture_whose_address_is_none_is_told(face: Faces, location: str) -> None:
    async with standing_in(*[answer(b"", 307, Location=location)] * 9) as server, face(server.url) as client:
        with pytest.raises(Exception, match=r"redirect|without end"):
            await client.ask("image", JOB_ID)


# --- deliveries ---

NOW = datetime(2026, 11, 5, 12, tzinfo=UTC)
SECRET, OTHER = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"a", b"b"))
BODY = json.dumps(
    {"type": "job.succeeded", "timestamp": "2026-11-05T12:00:00Z", "data": job("succeeded", added_later=1)}
).encode()


def test_a_genuine_delivery_is_read() -> None:
    delivery = verify_delivery(SECRET, sign([SECRET], "msg_1", NOW, BODY), BODY, now=NOW)
    assert (delivery.webhook_id, delivery.type, delivery.timestamp) == ("msg_1", "job.succeeded", NOW)
    assert (str(delivery.job.id), delivery.job.succeeded) == (JOB_ID, True)


def test_while_a_secret_rotates_both_are_good() -> None:
    for signed_with, known in (([OTHER, SECRET], [SECRET]), ([SECRET], [OTHER, SECRET])):
        headers = sign(signed_with, "msg_1", NOW, BODY)
        assert verify_delivery(known, headers, BODY, now=NOW).webhook_id == "msg_1"


@pytest.mark.parametrize("body", [BODY + b" ", b""])
def test_a_forged_delivery_is_refused(body: bytes) -> None:
    with pytest.raises(UnverifiedDeliveryError):
        verify_delivery(SECRET, sign([SECRET], "msg_1", NOW, BODY), body, now=NOW)


def test_an_old_delivery_is_refused_by_the_clock() -> None:
    with pytest.raises(UnverifiedDeliveryError, match="too far"):
        verify_delivery(SECRET, sign([SECRET], "msg_1", datetime.now(UTC) - timedelta(hours=1), BODY), BODY)


def test_what_is_signed_and_no_delivery_is_refused() -> None:
    with pytest.raises(UnverifiedDeliveryError, match="no delivery"):
        verify_delivery(SECRET, sign([SECRET], "msg_1", NOW, b"{}"), b"{}", now=NOW)
