"""What is tried again, when, and what is not."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import UUID

import pytest

from app.client import (
    BadArgumentError,
    BudgetExceededError,
    ClientError,
    ConflictError,
    DoubleBillingError,
    FieldError,
    ForbiddenError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    NotFoundError,
    OutOfReachError,
    RefusedError,
    ThrottledError,
    UnauthorizedError,
    UnavailableError,
    UnexpectedAnswerError,
)
from tests.client.faces import KEY, Faces
from tests.client.stand_in import DROP, HANG, JOB_ID, answer, chunked, job, problem, standing_in

ACCEPTED = answer(job(), 202)
CUT = answer(b'{"id": "0192', Content_Length="500")
PAGE_OF_A_PROXY = answer(b"<h1>Bad Gateway</h1>", 502, content_type="text/html")


@pytest.mark.parametrize(
    "trouble",
    [
        DROP,
        CUT,
        PAGE_OF_A_PROXY,
        problem(503, "storage_unavailable"),
        answer(b"", 504, content_type=None),
        problem(429, "too_many_requests"),
        b"SSH-2.0-OpenSSH\r\n",
    ],
    ids=["dropped", "cut", "502 of a proxy", "503", "504", "429", "no HTTP"],
)
async def test_passing_trouble_is_tried_again_with_the_same_key(face: Faces, trouble: bytes) -> None:
    async with standing_in(trouble, trouble, ACCEPTED) as server, face(server.url) as client:
        found = await client.ask("submit", "A fox", size="1024*768")
    assert str(found.id) == JOB_ID
    first, *others = server.asked
    assert [(a.method, a.path, a.headers, a.body) for a in others] == [
        (first.method, first.path, first.headers, first.body)
    ] * 2
    assert first.json == {"prompt": "A fox", "size": "1024*768"}
    assert UUID(first.headers["idempotency-key"]).version == 4
    assert len(client.pauses) == 2


async def test_each_submit_has_a_key_of_its_own_unless_one_is_given(face: Faces) -> None:
    async with standing_in(ACCEPTED, ACCEPTED, ACCEPTED) as server, face(server.url) as client:
        await client.ask("submit", "A fox")
        await client.ask("submit", "A fox")
        await client.ask("submit", "A fox", idempotency_key="order-17")
    keys = [a.headers["idempotency-key"] for a in server.asked]
    assert keys[2] == "order-17"
    assert len(set(keys)) == 3


async def test_retry_after_is_waited_for(face: Faces) -> None:
    script = [problem(503, "storage_unavailable", Retry_After="7"), answer(job())]
    async with standing_in(*script) as server, face(server.url) as client:
        await client.ask("job", JOB_ID)
    assert 7 < client.pauses[0] < 8


async def test_retry_after_may_be_a_date_and_counts_from_the_servers_clock(face: Faces) -> None:
    theirs = datetime.now(UTC) - timedelta(hours=5)
    dates = {
        "Date": format_datetime(theirs, usegmt=True),
        "Retry_After": format_datetime(theirs + timedelta(seconds=9), usegmt=True),
    }
    async with standing_in(problem(429, "too_many_requests", **dates), answer(job())) as server, face(server.url) as client:
        await client.ask("job", JOB_ID)
    assert 9 <= client.pauses[0] < 10


async def test_a_retry_after_that_no_calendar_has_is_none(face: Faces) -> None:
    wish = "Fri, 01 Jan 99999999999 00:00:00 GMT"
    script = [problem(429, "too_many_requests", Retry_After=wish), answer(job())]
    async with standing_in(*script) as server, face(server.url) as client:
        await client.ask("job", JOB_ID)
    assert client.pauses[0] < 1


async def test_a_retry_after_beyond_the_deadline_is_told_at_once(face: Faces) -> None:
    async with standing_in(problem(429, "too_many_requests", Retry_After="3600")) as server, face(server.url) as client:
        with pytest.raises(ThrottledError) as caught:
            await client.ask("submit", "A fox", idempotency_key="order-17")
    assert (caught.value.retry_after, caught.value.idempotency_key, client.pauses) == (3600, "order-17", [])


async def test_tries_have_an_end(face: Faces) -> None:
    async with standing_in(*[PAGE_OF_A_PROXY] * 9) as server, face(server.url, tries=3) as client:
        with pytest.raises(UnavailableError) as caught:
            await client.ask("job", JOB_ID)
    assert (caught.value.status, len(server.asked), len(client.pauses)) == (502, 3, 2)


async def test_nobody_there_is_told_with_the_key_to_go_on_with(face: Faces) -> None:
    async with standing_in() as server:
        url = server.url
    async with face(url) as client:
        with pytest.raises(OutOfReachError) as caught:
            await client.ask("submit", "A fox")
    assert not caught.value.sent
    assert UUID(caught.value.idempotency_key)
    assert len(client.pauses) == 4


@pytest.mark.parametrize("endless", [HANG, answer(b"{", Content_Length="9") + HANG], ids=["silent", "begun"])
async def test_an_answer_that_does_not_come_is_left_at_the_deadline(face: Faces, endless: bytes) -> None:
    async with standing_in(endless) as server, face(server.url, deadline=0.2) as client:
        with pytest.raises(OutOfReachError) as caught:
            await client.ask("submit", "A fox")
        await server.left.wait()
    assert caught.value.sent
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "client_disconnected", InvalidRequestError),
        (401, "unauthorized", UnauthorizedError),
        (402, "credit_budget_exceeded", BudgetExceededError),
        (403, "scope_missing", ForbiddenError),
        (404, "not_found", NotFoundError),
        (409, "already_succeeded", ConflictError),
        (409, "may_be_billed_twice", DoubleBillingError),
        (413, "content_too_large", InvalidRequestError),
        (422, "invalid_request", InvalidRequestError),
        (422, "idempotency_key_reused", IdempotencyKeyReusedError),
        (500, "internal_error", UnavailableError),
        (418, "of_a_later_version", RefusedError),
    ],
)
async def test_a_refusal_is_told_at_once_by_its_name(face: Faces, status: int, code: str, kind: type[RefusedError]) -> None:
    said = problem(status, code, "Not so.", [{"field": "size", "message": "use another"}])
    async with standing_in(said) as server, face(server.url) as client:
        with pytest.raises(RefusedError) as caught:
            await client.ask("submit", "A fox")
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.detail, error.request_id) == (status, code, "Not so.", "r-1")
    assert error.errors == (FieldError("size", "use another"),)
    assert str(error) == f"Not so. ({status} {code}, request r-1); size: use another"
    assert (len(server.asked), client.pauses) == (1, [])


@pytest.mark.parametrize(
    "strange",
    [
        answer(b"{"),
        answer(b""),
        answer(b"[" * 100_000),
        answer(b"\xff\xfe"),
        answer({"id": "x", "state": "queued"}),
        answer({"state": "queued"}),
        answer(b"[]"),
        answer(job(), content_type="text/html"),
        answer(job(), content_type=None),
        answer(b"<h1>nginx</h1>", 404, content_type="text/html"),
        answer(b"", 301, Location="https://elsewhere.example/jobs"),
        answer({"error": "no code"}, 403),
    ],
    ids=[
        "cut JSON",
        "empty",
        "deep",
        "no UTF-8",
        "no UUID",
        "no id",
        "a list",
        "HTML",
        "no type",
        "another's 404",
        "redirect",
        "403",
    ],
)
async def test_what_is_no_answer_of_the_gateway_is_told_as_that(face: Faces, strange: bytes) -> None:
    async with standing_in(strange) as server, face(server.url) as client:
        with pytest.raises(UnexpectedAnswerError):
            await client.ask("job", JOB_ID)
    assert len(server.asked) == 1


async def test_a_later_servers_fields_are_kept_and_missing_ones_have_defaults(face: Faces) -> None:
    later = {**job("dreaming"), "mood": {"of": ["the", "day"]}, "credits": {"consumed": 5, "gift": 1}}
    async with standing_in(answer(later)) as server, face(server.url) as client:
        found = await client.ask("job", JOB_ID)
    assert (found.state, found.is_settled, found.credits.consumed, found.images) == ("dreaming", False, 5, [])
    assert found.model_extra == {"mood": {"of": ["the", "day"]}}
    assert found.as_told() == later
    with pytest.raises(ValueError, match="frozen"):
        found.state = "succeeded"


async def test_the_gateway_may_live_below_a_path(face: Faces) -> None:
    async with standing_in(answer(job()), ACCEPTED) as server, face(f"{server.url}/images/v1/") as client:
        await client.ask("job", JOB_ID)
        await client.ask("submit", "A fox")
    assert [a.path for a in server.asked] == [f"/images/v1/jobs/{JOB_ID}", "/images/v1/jobs"]


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(face: Faces, monkeypatch: pytest.MonkeyPatch) -> None:
    async with standing_in() as proxy, standing_in(answer(job())) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with face(server.url) as client:
            await client.ask("job", JOB_ID)
    assert (len(proxy.asked), len(server.asked)) == (0, 1)


@pytest.mark.parametrize(
    "trouble",
    [
        DROP,
        PAGE_OF_A_PROXY,
        problem(401, "unauthorized"),
        answer(b"{"),
        chunked(b"x", content_type="application/json", end=False),
    ],
    ids=["dropped", "502", "401", "no JSON", "cut"],
)
async def test_no_error_and_no_repr_shows_the_key(face: Faces, trouble: bytes) -> None:
    async with standing_in(trouble) as server, face(server.url, tries=1) as client:
        with pytest.raises(ClientError) as caught:
            await client.ask("submit", "A fox")
        shown = repr(client.client) + repr(caught.value) + str(caught.value) + repr(caught.value.__cause__)
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in shown + "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "schlüssel", "x" * 1001])
async def test_a_key_that_is_none_is_refused_and_not_repeated(face: Faces, key: str) -> None:
    with pytest.raises(BadArgumentError) as caught:
        async with face("http://127.0.0.1:1", key):
            pass
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gateway:8000",
        "ftp://gateway",
        "http://",
        "http://u:p@gateway",
        "http://gateway?x=1",
        "http://gate way",
        "http://[::1",
    ],
)
async def test_an_address_that_is_none_is_refused(face: Faces, url: str) -> None:
    with pytest.raises(BadArgumentError, match="gateway's address"):
        async with face(url):
            pass


@pytest.mark.parametrize("job_id", ["", "..", "a/b", "x?y", "ä", "x" * 101])
async def test_an_id_that_could_lead_elsewhere_is_not_sent(face: Faces, job_id: str) -> None:
    async with standing_in() as server, face(server.url) as client:
        with pytest.raises(ValueError, match="job id"):
            await client.ask("job", job_id)
    assert server.asked == []


@pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 256, "a\r\nb"])
async def test_an_idempotency_key_that_cannot_be_one_is_not_sent(face: Faces, key: str) -> None:
    async with standing_in() as server, face(server.url) as client:
        with pytest.raises(BadArgumentError, match="idempotency_key"):
            await client.ask("submit", "A fox", idempotency_key=key)
    assert server.asked == []
