"""`GET /jobs/{id}/events` as JSON: all of it, in order, in pages where it is long; and who gets the stream instead."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from app.gateway import Gateway
from app.jobs.timeline import EVENTS_MAX, wants_stream
from app.lifecycle.transitions import Event
from app.storage.lives import write_events
from tests.acceptance.stage import Stage


async def lengthened(gateway: Gateway, job: dict[str, Any], count: int) -> None:
    """Writes that many more events on the job's timeline."""
    async with gateway.database.writing() as connection:
        now = await gateway.database.now(connection)
        await write_events(connection, [(UUID(job["id"]), Event("checked", {"n": n})) for n in range(count)], now)


async def test_the_list_is_oldest_first_and_whole(stage: Stage) -> None:
    job = await stage.run()
    answer = await stage.api.get(f"/jobs/{job['id']}/events")
    body = answer.json()
    assert body["has_more"] is False
    assert [e["type"] for e in body["events"]][:3] == ["accepted", "submitting", "running"]
    assert body["events"][-1]["type"] == "succeeded"
    assert [e["id"] for e in body["events"]] == sorted({e["id"] for e in body["events"]})
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["vary"], answer.headers["cache-control"]) == ("Accept", "no-store")
    assert "link" not in answer.headers


async def test_a_list_goes_on_behind_any_event(paused: Stage, gateway: Gateway) -> None:
    job = await paused.accept()
    await lengthened(gateway, job, 3)
    url = f"/jobs/{job['id']}/events"
    whole = (await paused.api.get(url)).json()["events"]
    assert len(whole) == 4
    for place, event in enumerate(whole):
        behind = await paused.api.get(url, params={"after": event["id"]})
        assert behind.json() == {"events": whole[place + 1 :], "has_more": False}


async def test_a_long_timeline_comes_in_pages_that_say_so(paused: Stage, gateway: Gateway) -> None:
    job, other = await paused.accept(), await paused.accept()
    await lengthened(gateway, job, 6)
    await lengthened(gateway, other, 2)
    url, found, sizes = f"/jobs/{job['id']}/events?limit=3", [], []
    while url:
        answer = await paused.api.get(url)
        page = answer.json()
        found += page["events"]
        sizes.append(len(page["events"]))
        url = answer.links["next"]["url"] if page["has_more"] else ""
        assert page["has_more"] == ("next" in answer.links)
    assert sizes == [3, 3, 1]
    assert [e["data"].get("n") for e in found] == [None, *range(6)]


async def test_what_does_not_fit_in_one_list_is_not_silently_left_out(paused: Stage, gateway: Gateway) -> None:
    job = await paused.accept()
    await lengthened(gateway, job, EVENTS_MAX)
    first = await paused.api.get(f"/jobs/{job['id']}/events")
    assert (len(first.json()["events"]), first.json()["has_more"]) == (EVENTS_MAX, True)
    rest = await paused.api.get(first.links["next"]["url"])
    assert ([e["data"]["n"] for e in rest.json()["events"]], rest.json()["has_more"]) == ([EVENTS_MAX - 1], False)


async def test_a_query_that_does_not_fit_is_refused_and_named(paused: Stage) -> None:
    job = await paused.accept()
    for query in ("limit=0", f"limit={EVENTS_MAX + 1}", "limit=x", "after=-1", "after=x", f"after={2**63}", "before=3"):
        answer = await paused.api.get(f"/jobs/{job['id']}/events?{query}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, query.partition("=")[0])


@pytest.mark.parametrize(
    ("accept", "stream"),
    [
        ("text/event-stream", True),
        ("TEXT/Event-Stream; charset=utf-8", True),
        ("text/event-stream, */*", True),
        ("application/json, text/event-stream", True),  # as good to them; only few name it
        ("application/json;q=0.9, text/event-stream", True),
        ("application/json;q=0.2, */*;q=0.9, text/event-stream;q=0.5", True),
        ("text/event-stream;q=0.5, application/json", False),
        ("text/event-stream;q=0.5, application/*;q=0.6", False),
        ("text/event-stream;q=0.5, */*", False),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=much", False),
        ("text/*", False),
        ("*/*", False),
        ("application/json", False),
        ("text/html", False),
        ("", False),
        (";;,,q=", False),
    ],
)
def test_only_who_names_the_stream_and_prefers_nothing_else_gets_it(accept: str, stream: bool) -> None:
    assert wants_stream(accept) is stream


async def test_both_forms_are_documented(stage: Stage) -> None:
    operation = (await stage.api.get("/openapi.json")).json()["paths"]["/jobs/{job_id}/events"]["get"]
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert {"200", "204", "401", "403", "404", "422"} <= set(operation["responses"])
    assert {p["name"] for p in operation["parameters"]} == {"job_id", "after", "limit", "Last-Event-ID"}
