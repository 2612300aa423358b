"""A job's request, submit, checks, delivery and picture, through a whole gateway over HTTP: joined, and telling no secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode

from app.gateway import Seams
from tests.acceptance.stage import ADMIN_KEY, SECRET_KEY, UPSTREAM_KEY, Stage, client, open_stage
from tests.deliveries.rig import answering, received
from tests.raw_server import Serve
from tests.traces.recording import Overheard, Recording, facts, linked, place

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = CALLER[:-2] + "00"
WORK = ("submit", "check", "deliver", "archive")
SETTINGS = {"delivery_allow": "127.0.0.1", "image_allow": "127.0.0.1", "image_store_url": "memory://"}


@dataclass
class Traced:
    stage: Stage
    recording: Recording
    upstream: Overheard


@pytest.fixture
async def traced(database_url: str) -> AsyncIterator[Traced]:
    recording, upstream = Recording(), Overheard()
    seams = Seams(traces=recording.traces(), upstream_transport=upstream)
    async with open_stage(database_url, seams=seams, **SETTINGS) as stage:
        yield Traced(stage, recording, upstream)


async def test_what_is_done_for_a_job_links_to_the_request_that_made_it(traced: Traced, serve: Serve) -> None:
    server = await serve(answering("200 OK"))
    traced.stage.api.headers["traceparent"] = CALLER
    job = await traced.stage.run("A red fox", callback_url=f"{server.url}/hook")
    [request] = traced.recording.named("POST /jobs")
    assert (request.kind, place(request)[0]) == (SpanKind.SERVER, int(CALLER[3:35], 16))
    assert request.parent is not None
    assert (request.parent.span_id, request.parent.is_remote) == (int(CALLER[36:52], 16), True)
    told = facts(request)
    assert (told["job_id"], told["tenant"], told["http.route"]) == (job["id"], "admin", "/jobs")
    assert told["http.response.status_code"] == 202
    outcomes = {"submit": "accepted", "check": "succeeded", "deliver": "delivered", "archive": "stored"}
    for name in WORK:
        span = (await traced.recording.some(name))[-1]
        assert (span.kind, span.parent, linked(span)) == (SpanKind.CLIENT, None, [place(request)]), name
        told = facts(span)
        assert (told["job_id"], told["tenant"], told["outcome"]) == (job["id"], "admin", outcomes[name])
        assert span.status.status_code is StatusCode.UNSET
    [submit], check = traced.recording.named("submit"), traced.recording.named("check")[-1]
    assert facts(submit)["submission"] == facts(check)["submission"] == 1
    [callback] = await traced.recording.some("POST /callbacks/{token}")
    assert (facts(callback)["job_id"], facts(callback)["callback"]) == (job["id"], "poked")
    assert len({place(span)[0] for span in (request, submit, check, callback)}) == 4


async def test_the_receiver_gets_the_traceparent_of_its_delivery_and_the_upstream_gets_none(
    traced: Traced, serve: Serve
) -> None:
    server = await serve(answering("200 OK"))
    traced.stage.api.headers["traceparent"] = CALLER
    await traced.stage.run("A red fox", callback_url=f"{server.url}/hook")
    [deliver] = await traced.recording.some("deliver")
    [(headers, _)] = received(server)
    trace_id, span_id = place(deliver)
    assert headers["traceparent"][:-2] == f"00-{trace_id:032x}-{span_id:016x}-"
    assert {request.url.path for request in traced.upstream.requests} == {"/api/generate", "/api/status"}
    assert not any("traceparent" in request.headers for request in traced.upstream.requests)


async def test_a_delivery_sent_by_hand_belongs_to_the_request_that_asked(traced: Traced, serve: Serve) -> None:
    server = await serve(answering("200 OK"))
    job = await traced.stage.run("A red fox", callback_url=f"{server.url}/hook")
    [first] = await traced.recording.some("deliver")
    answer = await traced.stage.api.post(f"/deliveries/{facts(first)['delivery_id']}/redeliver")
    assert answer.status_code == 200, answer.text
    [_, again] = traced.recording.named("deliver")
    [asked] = await traced.recording.some("POST /deliveries/{delivery_id}/redeliver")
    [accepted] = traced.recording.named("POST /jobs")
    assert again.parent is not None
    assert (place(asked), linked(again)) == ((again.parent.trace_id, again.parent.span_id), [place(accepted)])
    assert (facts(again)["attempt"], facts(again)["job_id"]) == ("manual", job["id"])


async def test_no_span_tells_a_token_a_prompt_a_key_or_an_address_with_a_secret(traced: Traced, serve: Serve) -> None:
    server = await serve(answering("500 Internal Server Error"))
    stage, words = traced.stage, ["prompt-secret", "metadata-secret", "idempotency-secret", "hook-secret", "path-secret"]
    words += ["query-secret", "state-secret", "header-secret", "method-secret"]
    stage.api.headers.update({"tracestate": "vendor=state-secret", "traceparent": CALLER, "x-api-token": "header-secret"})
    body = {"metadata": {"order": "metadata-secret"}, "callback_url": f"{server.url}/hook-secret?token=hook-secret"}
    answer = await stage.api.post(
        "/jobs", json={"prompt": "prompt-secret [[answer-lost]]", **body}, headers={"Idempotency-Key": "idempotency-secret"}
    )
    job = await stage.settled(answer.json())
    await stage.run("prompt-secret [[content-failure]]")
    for method, path in (
        ("POST", "/callbacks/path-secret-that-nobody-knows"), ("GET", "/path-secret"), ("GET", "/jobs?q=query-secret"),
        ("METHOD-SECRET", "/jobs"), ("GET", "/jobs/path-secret"),
    ):  # fmt: skip
        await stage.api.request(method, path)
    async with client(stage.url, "gw_wrong-key-secret") as stranger:
        await stranger.get("/jobs")
    for name in WORK:
        await traced.recording.some(name)
    secret = (await stage.api.get("/tenants/admin/delivery-secret")).json()["secret"]
    tokens = [urlsplit(task["callback_url"]).path.rpartition("/")[2] for task in stage.tasks()]
    pictures = [urlsplit(picture["url"]).path for picture in job["images"]]
    assert len(tokens) >= 2
    assert pictures
    told = traced.recording.text().lower()
    assert job["id"] in told
    assert "unproven" in told
    unwanted = [*words, *tokens, *pictures, secret, ADMIN_KEY, UPSTREAM_KEY, SECRET_KEY, "wrong-key-secret"]
    assert [word for word in unwanted if word.lower() in told] == []
    assert not any(span.events for span in traced.recording.spans)


async def test_a_batch_a_repeated_request_and_a_retry_know_where_they_came_from(traced: Traced) -> None:
    api = traced.stage.api
    batch = await api.post("/jobs/batch", json={"jobs": [{"prompt": "One"}, {"prompt": "Two"}]})
    assert batch.status_code == 202, batch.text
    jobs = [await traced.stage.settled(job) for job in batch.json()["jobs"]]
    [request] = traced.recording.named("POST /jobs/batch")
    submits = traced.recording.named("submit")
    assert {facts(span)["job_id"] for span in submits} == {job["id"] for job in jobs}
    assert [linked(span) for span in submits] == [[place(request)]] * 2
    assert facts(request)["jobs"] == 2
    headers = {"Idempotency-Key": "twice"}
    for _ in range(2):
        await api.post("/jobs", json={"prompt": "A red fox"}, headers=headers)
    first, second = traced.recording.named("POST /jobs")
    assert (linked(first), linked(second)) == ([], [place(first)])


async def test_of_a_job_all_is_sampled_or_nothing(database_url: str) -> None:
    recording = Recording()
    async with open_stage(database_url, seams=Seams(traces=recording.traces())) as stage:
        stage.api.headers["traceparent"] = UNSAMPLED
        await stage.run("A red fox")
        stage.api.headers["traceparent"] = CALLER
        job = await stage.run("A blue fox")
    assert {facts(span)["job_id"] for name in WORK for span in recording.named(name)} == {job["id"]}
    recording = Recording()
    async with open_stage(database_url, seams=Seams(traces=recording.traces(TraceIdRatioBased(0)))) as stage:
        await stage.run("A green fox")
    assert recording.spans == []


async def test_looks_of_monitors_are_no_spans(traced: Traced) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await traced.stage.api.get(path)).status_code == 200
    await traced.stage.api.get("/jobs")
    await traced.recording.some("GET /jobs")
    assert not {"GET /healthz", "GET /readyz", "GET /metrics", "HTTP"} & {span.name for span in traced.recording.spans}
