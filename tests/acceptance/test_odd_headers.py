"""Headers as proxies and hasty programs send them: over several lines, given twice, empty in their quotation marks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.stage import Stage

Lines = list[tuple[str, str]]


@pytest.fixture
async def paused(stage: Stage) -> Stage:
    """A stage on which nothing is sent upstream."""
    await stage.api.post("/dispatch/pause")
    return stage


async def etag_of(stage: Stage, job: dict[str, Any]) -> str:
    return (await stage.api.get(f"/jobs/{job['id']}")).headers["ETag"]


async def canceled(stage: Stage) -> dict[str, Any]:
    """A job of which nothing changes any more."""
    job = await stage.accept()
    await stage.api.post(f"/jobs/{job['id']}/cancel")
    return job


@pytest.mark.parametrize("given", ['"x", {}', "W/{}", '{},"y"', "*"])
async def test_an_etag_is_known_among_others_and_however_weak(paused: Stage, given: str) -> None:
    job = await canceled(paused)
    known = {"If-None-Match": given.format(await etag_of(paused, job))}
    assert (await paused.api.get(f"/jobs/{job['id']}", headers=known)).status_code == 304


async def test_an_etag_is_known_on_any_line(paused: Stage) -> None:
    job = await canceled(paused)
    lines: Lines = [("If-None-Match", '"x"'), ("If-None-Match", await etag_of(paused, job))]
    assert (await paused.api.get(f"/jobs/{job['id']}", headers=lines)).status_code == 304


@pytest.mark.parametrize("given", ['"x"', 'W/"x"', '"*"', "x", '""', ""])
async def test_another_etag_gets_the_job(paused: Stage, given: str) -> None:
    job = await canceled(paused)
    assert (await paused.api.get(f"/jobs/{job['id']}", headers={"If-None-Match": given})).status_code == 200


@pytest.mark.parametrize(
    ("lines", "granted"),
    [
        (["respond-async", "wait=1"], "wait=1"),
        (["wait=0"], "wait=0"),
        (["wait=61"], "wait=60"),
        (["wait=99999999"], "wait=60"),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait"], None),
    ],
)
async def test_a_wait_is_understood_on_any_line_and_granted_up_to_a_minute(
    paused: Stage, lines: list[str], granted: str | None
) -> None:
    job = await canceled(paused)
    answer = await paused.api.get(f"/jobs/{job['id']}", headers=[("Prefer", line) for line in lines])
    assert (answer.status_code, answer.headers.get("Preference-Applied")) == (200, granted)


@pytest.mark.parametrize(("path", "body"), [("/jobs", {"prompt": "A"}), ("/jobs/batch", {"jobs": [{"prompt": "A"}]})])
@pytest.mark.parametrize("keys", [["order-1", "order-2"], ["order-1", "order-1"], ['""']])
async def test_two_idempotency_keys_are_none_and_neither_is_an_empty_one(
    paused: Stage, path: str, body: Any, keys: list[str]
) -> None:
    answer = await paused.api.post(path, json=body, headers=[("Idempotency-Key", key) for key in keys])
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert (await paused.api.get("/jobs")).json()["jobs"] == []


async def test_two_idempotency_keys_are_a_bad_request_for_a_client_of_the_upstream(paused: Stage) -> None:
    lines: Lines = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = await paused.api.post("/api/generate", json={"prompt": "A"}, headers=lines)
    assert (answer.status_code, answer.json()["code"], answer.json()["data"]) == (400, 400, None)
