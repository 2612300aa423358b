"""What callers may rely on, beyond the main job: idempotency, lists, limits, errors, access, health, logs."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

import httpx
import pytest
import structlog

from tests.acceptance.stage import ADMIN_KEY, UPSTREAM_KEY, Stage, open_stage

JSON = {"Content-Type": "application/json"}

NOBODYS = "0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f20"  #: an id that no job has


@pytest.fixture
async def paused(stage: Stage) -> Stage:
    """A stage on which nothing is sent upstream."""
    await stage.api.post("/dispatch/pause")
    return stage


# --- idempotency ---


async def test_the_same_key_and_body_yield_the_first_job(paused: Stage) -> None:
    headers = {"Idempotency-Key": "order-1"}
    first = await paused.api.post("/jobs", json={"prompt": "A fox"}, headers=headers)
    again = await paused.api.post("/jobs", json={"prompt": "A fox", "size": "1024x1024"}, headers=headers)
    quoted = await paused.api.post("/jobs", json={"prompt": "A fox"}, headers={"Idempotency-Key": '"order-1"'})
    assert (first.status_code, again.status_code, quoted.status_code) == (202, 200, 200)
    assert first.json()["id"] == again.json()["id"] == quoted.json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers


async def test_the_same_key_with_another_body_is_refused(paused: Stage) -> None:
    headers = {"Idempotency-Key": "order-1"}
    await paused.api.post("/jobs", json={"prompt": "A fox"}, headers=headers)
    other = await paused.api.post("/jobs", json={"prompt": "A hen"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_hundred_concurrent_duplicates_make_one_job(paused: Stage) -> None:
    async def post() -> httpx.Response:
        return await paused.api.post("/jobs", json={"prompt": "A fox"}, headers={"Idempotency-Key": "order-1"})

    answers = await asyncio.gather(*(post() for _ in range(100)))
    assert sorted(a.status_code for a in answers) == [200] * 99 + [202]
    assert len({a.json()["id"] for a in answers}) == 1
    assert len((await paused.api.get("/jobs")).json()["jobs"]) == 1


@pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 256, '"'], ids=["empty", "blank", "umlaut", "long", "quote"])
async def test_a_malformed_idempotency_key_is_refused(paused: Stage, key: str) -> None:
    headers = [(b"idempotency-key", key.encode("utf-8"))]
    answer = await paused.api.post("/jobs", json={"prompt": "A fox"}, headers=headers)
    if key == '"':
        assert answer.status_code == 202  # a lone quotation mark is visible ASCII
    else:
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


# --- lists ---


async def test_pages_follow_each_other_newest_first_while_jobs_arrive(paused: Stage) -> None:
    made = [(await paused.accept(f"Job {n}"))["id"] for n in range(7)]
    seen, url = [], "/jobs?limit=3"
    while url:
        answer = await paused.api.get(url)
        page = answer.json()
        seen += [job["id"] for job in page["jobs"]]
        await paused.accept("a newcomer")
        url = answer.links["next"]["url"] if page["has_more"] else ""
        assert (page["next_cursor"] is None) == (not page["has_more"])
    assert seen == made[::-1]


async def test_the_state_filter_may_be_repeated(paused: Stage) -> None:
    queued, canceled = await paused.accept(), await paused.accept()
    await paused.api.post(f"/jobs/{canceled['id']}/cancel")
    assert [j["id"] for j in (await paused.api.get("/jobs?state=canceled")).json()["jobs"]] == [canceled["id"]]
    both = (await paused.api.get("/jobs?state=canceled&state=queued")).json()["jobs"]
    assert [j["id"] for j in both] == [canceled["id"], queued["id"]]


@pytest.mark.parametrize(
    "query", ["cursor=x", "cursor=AQ", "cursor=%F0%9F%A6%8A", "limit=0", "limit=201", "limit=x", "state=done", "colour=red"]
)
async def test_a_query_that_does_not_fit_is_refused_never_ignored(stage: Stage, query: str) -> None:
    answer = await stage.api.get(f"/jobs?{query}")
    assert answer.status_code == 422
    assert [e["field"].split(".")[0] for e in answer.json()["errors"]] == [query.partition("=")[0]]


# --- bad input ---

GOOD: dict[str, Any] = {"prompt": "A fox"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"prompt": ""}', "prompt"),
        (b'{"prompt": " \\n\\t "}', "prompt"),
        (b"{}", "prompt"),
        (b'{"prompt": null}', "prompt"),
        (b'{"prompt": 5}', "prompt"),
        (b'{"prompt": "a\\u0000b"}', "prompt"),
        (json.dumps({"prompt": "x" * 2001}).encode(), "prompt"),
        (json.dumps({"prompt": "🦊" * 2001}).encode(), "prompt"),
        (json.dumps({**GOOD, "size": "10*10"}).encode(), "size"),
        (json.dumps({**GOOD, "seed": -2}).encode(), "seed"),
        (json.dumps({**GOOD, "seed": 2**63}).encode(), "seed"),
        (json.dumps({**GOOD, "seed": 10**400}).encode(), "seed"),
        (json.dumps({**GOOD, "seed": True}).encode(), "seed"),
        (json.dumps({**GOOD, "seed": "7"}).encode(), "seed"),
        (json.dumps({**GOOD, "seed": 1.5}).encode(), "seed"),
        (b'{"prompt": "A fox", "seed": 9007199254740994.0}', "seed"),
        (b'{"prompt": "A fox", "seed": NaN}', "seed"),
        (json.dumps({**GOOD, "output_format": "gif"}).encode(), "output_format"),
        (json.dumps({**GOOD, "metadata": {str(n): "" for n in range(17)}}).encode(), "metadata"),
        (json.dumps({**GOOD, "metadata": {"k" * 41: "v"}}).encode(), "metadata"),
        (json.dumps({**GOOD, "metadata": {"k": "v" * 501}}).encode(), "metadata"),
        (json.dumps({**GOOD, "metadata": {"k": 5}}).encode(), "metadata"),
        (json.dumps({**GOOD, "metadata": {"k": "\0"}}).encode(), "metadata"),
        (json.dumps({**GOOD, "priority": "urgent"}).encode(), "priority"),
        (json.dumps({**GOOD, "colour": "red"}).encode(), "colour"),
        (b'{"prompt": "\\ud800"}', ""),
        (b'{"prompt": "A fox"', ""),
        (b"", ""),
        (b"[]", ""),
        (b"null", ""),
        (b'"A fox"', ""),
        (b"\xff\xfe", ""),
        (b"[" * 100_000, ""),
    ],
)
async def test_a_body_that_does_not_fit_gets_a_clear_error_and_is_not_echoed(stage: Stage, body: bytes, field: str) -> None:
    answer = await stage.api.post("/jobs", content=body, headers=JSON)
    problem = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] == "invalid_request"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["errors"][0]["field"].split(".")[0] == field
    assert len(answer.content) < 2000
    assert (await stage.api.get("/jobs")).json()["jobs"] == []


async def test_a_whole_number_is_one_however_it_is_written(paused: Stage) -> None:
    headers = {"Idempotency-Key": "order-1", **JSON}
    first = await paused.api.post("/jobs", content=b'{"prompt": "A fox", "seed": 24}', headers=headers)
    again = await paused.api.post("/jobs", content=b'{"prompt": "A fox", "seed": 24.0}', headers=headers)
    assert (first.status_code, again.status_code, again.json()["seed"]) == (202, 200, 24)


@pytest.mark.parametrize("prompt", ["x" * 2000, "🦊" * 2000, "雨后的江南小镇", "a\nb"])
async def test_prompts_up_to_the_limit_are_kept_as_they_are(paused: Stage, prompt: str) -> None:
    job = await paused.accept(prompt)
    assert (await paused.api.get(f"/jobs/{job['id']}")).json()["prompt"] == prompt


async def test_bodies_over_the_limit_are_refused_declared_and_chunked(stage: Stage) -> None:
    large = b'{"prompt": "' + b"x" * 300_000 + b'"}'

    async def chunks():  # type: ignore[no-untyped-def]
        for start in range(0, len(large), 10_000):
            yield large[start : start + 10_000]

    for content in (large, chunks()):
        answer = await stage.api.post("/jobs", content=content, headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (413, "content_too_large")


async def test_another_content_type_is_refused(stage: Stage) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = await stage.api.post("/jobs", content=b'{"prompt": "A fox"}', headers={"Content-Type": content_type})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("DELETE", "/jobs", 405, "method_not_allowed"),
        ("GET", f"/jobs/{NOBODYS}", 404, "not_found"),
        ("GET", "/jobs/not-an-id", 404, "not_found"),
        ("GET", f"/jobs/{NOBODYS}/events", 404, "not_found"),
        ("GET", f"/jobs/{NOBODYS}/images/0", 404, "not_found"),
        ("POST", f"/jobs/{NOBODYS}/cancel", 404, "not_found"),
        ("POST", "/callbacks/unknown", 404, "not_found"),
        ("POST", "/callbacks/" + "A" * 43, 404, "not_found"),
    ],
)
async def test_every_error_is_a_problem(stage: Stage, method: str, path: str, status: int, code: str) -> None:
    answer = await stage.api.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert path not in answer.text


async def test_unknown_malformed_and_old_tokens_get_the_same_404(stage: Stage) -> None:
    answers = [await stage.api.post(f"/callbacks/{token}") for token in ("x", "A" * 43, "%00", "A" * 44)]
    bodies = [{**a.json(), "request_id": ""} for a in answers]
    assert [a.status_code for a in answers] == [404] * 4
    assert all(body == bodies[0] for body in bodies)


# --- access and health ---


async def test_health_touches_nothing_and_readiness_tells_each_check(stage: Stage) -> None:
    assert (await stage.api.get("/healthz")).json() == {"status": "ok"}
    for path in ("/healthz", "/readyz"):  # monitors ask so
        assert ((found := await stage.api.head(path)).status_code, found.content) == (200, b"")
    ready = await stage.api.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert set(ready.json()["checks"]) == {"database", "migrations", "gate", "callbacks"}


async def test_a_sane_request_id_is_kept_and_another_replaced(stage: Stage) -> None:
    assert (await stage.api.get("/healthz", headers={"X-Request-ID": "abc-1.2_3"})).headers["x-request-id"] == "abc-1.2_3"
    assert (await stage.api.get("/healthz", headers={"X-Request-ID": "a b"})).headers["x-request-id"] != "a b"


async def test_a_wait_that_ends_without_settlement_returns_the_job_as_it_is(paused: Stage) -> None:
    answer = await paused.api.post("/jobs", json=GOOD, headers={"Prefer": "respond-async, wait=1"})
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "wait=1"


class _Lines(io.RawIOBase):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.written += data
        return len(data)

    def whole(self) -> list[str]:
        return self.written.decode().splitlines()


async def test_no_secret_key_or_token_is_ever_in_a_log(database_url: str) -> None:
    from app import log

    kept = _Lines()

    root, handlers, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    try:
        log.configure("json", logging.DEBUG, io.TextIOWrapper(kept, write_through=True))  # type: ignore[type-var]
        structlog.configure(cache_logger_on_first_use=False)  # else whatever logs here is deaf to later tests
        async with open_stage(database_url) as stage:
            await stage.run("A fox [[callback-double]]")
            await stage.run("A fox [[answer-lost]]")
            stage.world.set_outage("submit", "502")
            await stage.accept()
            await stage.api.post("/callbacks/" + "A" * 43)
            await stage.api.get("/jobs?token=hush")
            await until_logged(stage, kept, "answer_lost")
            tokens = [t["callback_url"].rpartition("/")[2] for t in stage.tasks()]
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
    assert len(tokens) == 2
    lines = kept.whole()
    everything = "\n".join(lines)
    for secret in (ADMIN_KEY, UPSTREAM_KEY, "A" * 43, "hush", *tokens):
        assert secret not in everything
    assert all(isinstance(json.loads(line), dict) for line in lines), "one line an event, each a JSON object"
    told = [json.loads(line) for line in lines]
    assert any(t["event"] == "request" and t["route"] == "/callbacks/{token}" and t["request_id"] for t in told)
    assert any(t["event"] == "succeeded" and t["job_id"] for t in told)


async def until_logged(stage: Stage, kept: _Lines, event: str) -> None:
    async with asyncio.timeout(60):
        while not any(f'"event":"{event}"' in line for line in kept.whole()):
            await stage.api.get("/healthz")
