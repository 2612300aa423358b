"""Batches, retries, quotes, limits and usage, over HTTP, on both databases."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.acceptance.stage import Stage, client, open_stage

NOBODYS = "0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f20"


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with open_stage(database_url) as opened:
        yield opened


@pytest.fixture
async def paused(stage: Stage) -> Stage:
    """A stage on which nothing is sent upstream."""
    await stage.api.post("/dispatch/pause")
    return stage


async def key_of(stage: Stage, tenant: str, *scopes: str) -> httpx.AsyncClient:
    """A client with a new key of the tenant."""
    body = {"tenant": tenant, "name": "test", "scopes": list(scopes or ("jobs:write", "jobs:read"))}
    made = await stage.api.post("/keys", json=body)
    assert made.status_code == 201, made.text
    return client(stage.url, made.json()["key"])


async def limit(stage: Stage, tenant: str, **limits: Any) -> None:
    body = {"monthly_credits": None, "open_jobs_max": None, "requests_per_second": None, **limits}
    assert (await stage.api.put(f"/tenants/{tenant}", json=body)).status_code in (200, 201)


# --- batches ---


async def test_a_batch_is_accepted_whole_and_in_order(stage: Stage) -> None:
    answer = await stage.api.post("/jobs/batch", json={"jobs": [{"prompt": f"A fox {n}"} for n in range(5)]})
    assert answer.status_code == 202
    jobs = answer.json()["jobs"]
    assert [job["prompt"] for job in jobs] == [f"A fox {n}" for n in range(5)]
    assert {(await stage.settled(job))["state"] for job in jobs} == {"succeeded"}
    assert len(stage.tasks()) == 5


async def test_a_batch_with_one_bad_job_is_refused_whole_and_names_it(paused: Stage) -> None:
    answer = await paused.api.post(
        "/jobs/batch", json={"jobs": [{"prompt": "A fox"}, {"prompt": " "}, {"prompt": "B", "x": 1}]}
    )
    assert answer.status_code == 422
    assert {e["field"] for e in answer.json()["errors"]} == {"jobs.1.prompt", "jobs.2.x"}
    assert (await paused.api.get("/jobs")).json()["jobs"] == []


@pytest.mark.parametrize("count", [0, 101])
async def test_a_batch_has_1_to_100_jobs(paused: Stage, count: int) -> None:
    assert (await paused.api.post("/jobs/batch", json={"jobs": [{"prompt": "A fox"}] * count})).status_code == 422


@pytest.mark.parametrize("escaped", [False, True], ids=["UTF-8", "escaped"])
async def test_a_batch_of_100_jobs_at_their_limits_is_accepted(paused: Stage, escaped: bool) -> None:
    job = {"prompt": "𠮷" * 2000, "metadata": {f"{n:02}" + "𠮷" * 38: "𠮷" * 500 for n in range(16)}}
    body = json.dumps({"jobs": [job] * 100}, ensure_ascii=escaped).encode()
    answer = await paused.api.post("/jobs/batch", content=body, headers={"Content-Type": "application/json"}, timeout=60)
    assert answer.status_code == 202, answer.text[:300]
    assert len({j["id"] for j in answer.json()["jobs"]}) == 100


async def test_one_key_is_for_the_whole_batch(paused: Stage) -> None:
    body, headers = {"jobs": [{"prompt": "A"}, {"prompt": "B"}, {"prompt": "C"}]}, {"Idempotency-Key": "order-7"}
    first = await paused.api.post("/jobs/batch", json=body, headers=headers)
    again = await paused.api.post("/jobs/batch", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.headers["Idempotent-Replayed"] == "true"
    ids = [[job["id"] for job in answer.json()["jobs"]] for answer in (first, again)]
    assert ids[0] == ids[1]
    assert {job["idempotency_key"] for job in again.json()["jobs"]} == {"order-7"}
    other_body = await paused.api.post("/jobs/batch", json={"jobs": body["jobs"][:2]}, headers=headers)
    as_single = await paused.api.post("/jobs", json={"prompt": "A"}, headers=headers)
    assert [(a.status_code, a.json()["code"]) for a in (other_body, as_single)] == [(422, "idempotency_key_reused")] * 2


async def test_a_hundred_doubles_of_a_batch_make_it_once(paused: Stage) -> None:
    body, headers = {"jobs": [{"prompt": "A"}, {"prompt": "B"}]}, {"Idempotency-Key": "once"}
    answers = await asyncio.gather(*(paused.api.post("/jobs/batch", json=body, headers=headers) for _ in range(100)))
    assert Counter(a.status_code for a in answers) == {202: 1, 200: 99}
    assert len({job["id"] for a in answers for job in a.json()["jobs"]}) == 2
    assert len((await paused.api.get("/jobs")).json()["jobs"]) == 2


# --- the order of decisions ---


async def test_a_known_key_with_a_body_that_is_not_even_valid_is_a_reused_key(paused: Stage) -> None:
    headers = {"Idempotency-Key": "k"}
    await paused.accept()
    await paused.api.post("/jobs", json={"prompt": "A fox"}, headers=headers)
    for content in (b"{", b'{"prompt": ""}', b'{"prompt": "A fox", "callback_url": "http://127.0.0.1/"}'):
        answer = await paused.api.post("/jobs", content=content, headers={**headers, "Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    unknown = await paused.api.post("/jobs", json={"prompt": ""}, headers={"Idempotency-Key": "new"})
    assert unknown.json()["code"] == "invalid_request"


async def test_a_replay_costs_nothing_when_the_limits_are_spent(paused: Stage) -> None:
    async with await key_of(paused, "design") as api:
        await limit(paused, "design", monthly_credits=5, open_jobs_max=1, requests_per_second=0.001)
        first = await api.post("/jobs", json={"prompt": "A fox"}, headers={"Idempotency-Key": "k"})
        again = await api.post("/jobs", json={"prompt": "A fox"}, headers={"Idempotency-Key": "k"})
        assert (first.status_code, again.status_code) == (202, 200)
        assert first.json()["id"] == again.json()["id"]


async def test_the_rate_is_looked_at_before_open_jobs_and_open_jobs_before_the_budget(paused: Stage) -> None:
    async with await key_of(paused, "design") as api:
        await limit(paused, "design", monthly_credits=0, open_jobs_max=0, requests_per_second=1)
        codes = [(await api.post("/jobs", json={"prompt": "A"})).json()["code"] for _ in range(2)]
        assert codes == ["open_jobs_exceeded", "rate_limit_exceeded"]
        await limit(paused, "design", monthly_credits=0)
        assert (await api.post("/jobs", json={"prompt": "A"})).json()["code"] == "credit_budget_exceeded"


async def test_a_callback_url_that_no_delivery_may_go_to_is_named(paused: Stage) -> None:
    answer = await paused.api.post("/jobs", json={"prompt": "A fox", "callback_url": "http://169.254.169.254/latest"})
    assert answer.status_code == 422
    assert [e["field"] for e in answer.json()["errors"]] == ["callback_url"]
    jobs = [{"prompt": "A"}, {"prompt": "B", "callback_url": "https://localhost/"}]
    batch = await paused.api.post("/jobs/batch", json={"jobs": jobs})
    assert [e["field"] for e in batch.json()["errors"]] == ["jobs.1.callback_url"]


# --- limits ---


async def test_many_race_for_the_last_5_credits_and_one_gets_them(paused: Stage) -> None:
    async with await key_of(paused, "design") as api:
        await limit(paused, "design", monthly_credits=25)
        for _ in range(4):
            assert (await api.post("/jobs", json={"prompt": "A fox"})).status_code == 202
        answers = await asyncio.gather(*(api.post("/jobs", json={"prompt": "A fox"}) for _ in range(40)))
        assert Counter(a.status_code for a in answers) == {202: 1, 402: 39}
        usage = (await api.get("/usage")).json()["now"]
        assert (usage["credits_held"], usage["credits_left"], usage["open_jobs"]) == (25, 0, 5)


async def test_replicas_race_for_the_last_5_credits_and_one_gets_them(postgres_url: str) -> None:
    async with open_stage(postgres_url) as one, open_stage(postgres_url, upstream_base_url="http://127.0.0.1:9") as two:
        await one.api.post("/dispatch/pause")
        async with await key_of(one, "design") as here:
            key = here.headers["Authorization"].removeprefix("Bearer ")
            await limit(one, "design", monthly_credits=5)
            async with client(two.url, key) as there:
                posts = [api.post("/jobs", json={"prompt": "A fox"}) for api in (here, there) for _ in range(20)]
                answers = await asyncio.gather(*posts)
    assert Counter(a.status_code for a in answers) == {202: 1, 402: 39}


async def test_a_batch_beyond_the_budget_is_refused_whole(paused: Stage) -> None:
    async with await key_of(paused, "design") as api:
        await limit(paused, "design", monthly_credits=14)
        refused = await api.post("/jobs/batch", json={"jobs": [{"prompt": "A"}] * 3})
        assert (refused.status_code, refused.json()["code"]) == (402, "credit_budget_exceeded")
        assert (await api.post("/jobs/batch", json={"jobs": [{"prompt": "A"}] * 2})).status_code == 202
        assert len((await api.get("/jobs")).json()["jobs"]) == 2


async def test_a_canceled_job_gives_back_what_it_held(paused: Stage) -> None:
    async with await key_of(paused, "design") as api:
        await limit(paused, "design", monthly_credits=5, open_jobs_max=1)
        job = (await api.post("/jobs", json={"prompt": "A"})).json()
        assert (await api.post("/jobs", json={"prompt": "B"})).json()["code"] == "open_jobs_exceeded"
        await api.post(f"/jobs/{job['id']}/cancel")
        assert (await api.post("/jobs", json={"prompt": "B"})).status_code == 202


async def test_what_was_consumed_stays_spent(stage: Stage) -> None:
    async with await key_of(stage, "design") as api:
        await limit(stage, "design", monthly_credits=9)
        job = (await api.post("/jobs", json={"prompt": "A"}, headers={"Prefer": "wait=60"})).json()
        assert (job["state"], job["credits"]["consumed"]) == ("succeeded", 5)
        assert (await api.post("/jobs", json={"prompt": "B"})).status_code == 402
        usage = (await api.get("/usage")).json()
        assert usage["now"]["credits_left"] == 4
        (day,) = usage["days"]
        assert (day["tenant"], day["jobs_accepted"], day["jobs_succeeded"], day["credits_consumed"]) == ("design", 1, 1, 5)


async def test_the_request_rate_is_told_and_kept(paused: Stage) -> None:
    async with await key_of(paused, "design") as api:
        await limit(paused, "design", requests_per_second=0.01)
        first, second = [await api.post("/jobs", json={"prompt": "A"}) for _ in range(2)]
        assert (first.status_code, second.status_code) == (202, 429)
        assert first.headers["RateLimit-Policy"] == second.headers["RateLimit-Policy"] == '"requests";q=1;w=100'
        assert first.headers["RateLimit"] == '"requests";r=0;t=100'
        assert second.headers["RateLimit"].startswith('"requests";r=0;t=')
        assert 0 < int(second.headers["Retry-After"]) <= 100


async def test_tenants_without_limits_are_told_of_none(paused: Stage) -> None:
    answer = await paused.api.post("/jobs", json={"prompt": "A"})
    assert not [name for name in answer.headers if name.startswith("ratelimit")]


# --- retries ---


@pytest.fixture
async def failed(stage: Stage) -> dict[str, Any]:
    job = await stage.run("A fox [[content-failure]]", metadata={"order": "7"}, priority="high")
    assert job["state"] == "failed"
    return job


async def test_a_retry_is_a_new_job_with_the_same_request(stage: Stage, failed: dict[str, Any]) -> None:
    answer = await stage.api.post(failed["links"]["retry"])
    assert answer.status_code == 202
    new = answer.json()
    assert new["retry_of"] == failed["id"] != new["id"]
    same = ("prompt", "size", "seed", "output_format", "metadata", "priority")
    assert [new[name] for name in same] == [failed[name] for name in same]
    assert answer.headers["Location"] == new["links"]["self"]
    again = await stage.api.post(failed["links"]["retry"])
    assert (again.status_code, again.json()["id"]) == (200, new["id"])
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_a_hundred_retries_at_once_make_one_job(stage: Stage, failed: dict[str, Any]) -> None:
    answers = await asyncio.gather(*(stage.api.post(failed["links"]["retry"]) for _ in range(100)))
    assert Counter(a.status_code for a in answers) == {202: 1, 200: 99}
    assert len({a.json()["id"] for a in answers}) == 1


async def test_what_is_not_settled_or_has_succeeded_is_not_retried(stage: Stage) -> None:
    done = await stage.run()
    await stage.api.post("/dispatch/pause")
    waiting = await stage.accept()
    answers = [await stage.api.post(f"/jobs/{job['id']}/retry") for job in (done, waiting)]
    assert [(a.status_code, a.json()["code"]) for a in answers] == [(409, "already_succeeded"), (409, "not_settled")]
    assert (await stage.api.post(f"/jobs/{NOBODYS}/retry")).status_code == 404


async def test_after_a_lost_answer_a_retry_must_accept_to_pay_twice(database_url: str) -> None:
    async with open_stage(database_url, unconfirmed_wait="1s") as stage:
        job = await stage.run("A fox [[answer-lost]] [[callback-lost]]")
        assert job["error"]["code"] == "submission_unconfirmed"
        refused = await stage.api.post(f"/jobs/{job['id']}/retry")
        assert (refused.status_code, refused.json()["code"]) == (409, "may_be_billed_twice")
        assert "accept_double_billing" in refused.json()["detail"]
        assert (await stage.api.post(f"/jobs/{job['id']}/retry", params={"accept_double_billing": True})).status_code == 202


async def test_a_retry_that_was_paid_for_is_found_again_without_accepting_to_pay(database_url: str) -> None:
    async with open_stage(database_url, unconfirmed_wait="1s") as stage:
        job = await stage.run("A fox [[answer-lost]] [[callback-lost]]")
        new = await stage.api.post(f"/jobs/{job['id']}/retry", params={"accept_double_billing": True})
        again = await stage.api.post(f"/jobs/{job['id']}/retry")
    assert (new.status_code, again.status_code, again.headers.get("Idempotent-Replayed")) == (202, 200, "true")
    assert again.json()["id"] == new.json()["id"]


async def test_a_retry_of_what_came_late_settles_at_once_for_nothing(database_url: str) -> None:
    async with open_stage(database_url, unconfirmed_wait="1s") as stage:
        job = await stage.run("A fox [[answer-lost]] [[callback-late=6]]")
        assert job["error"]["code"] == "submission_unconfirmed"
        await stage.until(job, "late_result")
        answer = await stage.api.post(f"/jobs/{job['id']}/retry")
        new = answer.json()
        assert (answer.status_code, new["state"], new["completed_via"]) == (202, "succeeded", "reuse")
        assert new["credits"] == {"reserved": 0, "consumed": 0, "unresolved": 0}
        assert len(new["images"]) == 1
        assert len(stage.tasks()) == 1


async def test_a_retry_keeps_the_limits(stage: Stage) -> None:
    async with await key_of(stage, "design") as api:
        job = (await api.post("/jobs", json={"prompt": "A fox [[content-failure]]"}, headers={"Prefer": "wait=60"})).json()
        assert job["state"] == "failed"
        await limit(stage, "design", open_jobs_max=0)
        assert (await api.post(f"/jobs/{job['id']}/retry")).status_code == 429
        await limit(stage, "design")
        assert (await api.post(f"/jobs/{job['id']}/retry")).status_code == 202


# --- quotes and forecasts ---


async def test_a_quote_prices_without_creating(paused: Stage) -> None:
    async with await key_of(paused, "design") as api:
        await limit(paused, "design", monthly_credits=7)
        await api.post("/jobs", json={"prompt": "A"})
        quote = (await api.post("/jobs/quote", json={"prompt": "A fox"})).json()
        assert (quote["credits"], quote["reused"], quote["refusal"]) == (5, False, "credit_budget_exceeded")
        assert quote["budget"] == {"monthly_credits": 7, "left": 2}
        assert quote["queue_depth"] == 1
        assert (await api.post("/jobs/quote", json={"prompt": ""})).status_code == 422
        assert len((await api.get("/jobs")).json()["jobs"]) == 1


async def test_a_queued_job_knows_its_place(paused: Stage) -> None:
    jobs = [await paused.accept(f"A {n}") for n in range(3)]
    first = await paused.accept("Z", priority="high")
    places = [(await paused.api.get(f"/jobs/{job['id']}")).json()["place"] for job in (*jobs, first)]
    assert places == [2, 3, 4, 1]


# --- ETag ---


async def test_a_job_that_is_as_the_caller_knows_it_is_not_sent_again(stage: Stage) -> None:
    job = await stage.run()
    first = await stage.api.get(f"/jobs/{job['id']}")
    etag = first.headers["ETag"]
    for known in (etag, f'W/{etag}, "other"', "*"):
        again = await stage.api.get(f"/jobs/{job['id']}", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    other = await stage.api.get(f"/jobs/{job['id']}", headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.json()) == (200, job)


async def test_a_change_changes_the_etag(paused: Stage) -> None:
    job = await paused.accept()
    before = (await paused.api.get(f"/jobs/{job['id']}")).headers["ETag"]
    assert (await paused.api.get(f"/jobs/{job['id']}", headers={"If-None-Match": before})).status_code == 304
    await paused.api.post(f"/jobs/{job['id']}/cancel")
    assert (await paused.api.get(f"/jobs/{job['id']}", headers={"If-None-Match": before})).status_code == 200


# --- usage ---


async def test_usage_is_by_day_and_tenant_and_tenants_see_their_own(stage: Stage) -> None:
    async with await key_of(stage, "a") as a, await key_of(stage, "b") as b:
        await a.post("/jobs", json={"prompt": "A"}, headers={"Prefer": "wait=60"})
        await b.post("/jobs", json={"prompt": "B [[content-failure]]"}, headers={"Prefer": "wait=60"})
        (own,) = (await a.get("/usage")).json()["days"]
        assert (own["tenant"], own["jobs_succeeded"], own["jobs_failed"], own["credits_consumed"]) == ("a", 1, 0, 5)
        assert (await a.get("/usage", params={"tenant": "b"})).json() == {"days": [], "now": None}
        everybodys = (await stage.api.get("/usage")).json()["days"]
        assert {day["tenant"]: day["jobs_failed"] for day in everybodys} == {"a": 0, "b": 1}
        old = await a.get("/usage", params={"from": "2020-01-01", "to": "2020-02-01"})
        assert old.json()["days"] == []
        bad = [
            {"from": "2026-02-01", "to": "2026-01-01"},
            {"from": "yesterday"},
            {"since": "2026-01-01"},
            {"from": "1900-01-01"},
            {"to": "0"},
            {"from": "1767225600"},
            {"from": "2026-01-01T00:00:00"},
        ]
        assert [(await a.get("/usage", params=params)).status_code for params in bad] == [422] * 7
