"""Check now, and name a task as a candidate: what an operator may do, and what stands against it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.acceptance.stage import Stage, open_stage
from tests.access.keyring import Keyring
from tests.operations.conftest import Until

LOST = "[[answer-lost]] [[callback-lost]] A red fox"  #: accepted upstream; neither its answer nor its callback comes
SILENT = "[[callback-lost]] A red fox"


@pytest.fixture
async def patient(database_url: str) -> AsyncIterator[Stage]:
    """A stage on which no check comes by itself."""
    async with open_stage(database_url, callback_grace="20m", poll_min="20m", poll_max="20m") as opened:
        yield opened


@pytest.fixture
async def keyring(patient: Stage) -> AsyncIterator[Keyring]:
    async with Keyring(patient) as opened:
        yield opened


async def in_state(stage: Stage, until: Until, prompt: str, state: str) -> dict[str, Any]:
    """A job of which nothing more is heard."""
    job = await stage.accept(prompt)

    async def show() -> dict[str, Any]:
        return (await stage.api.get(f"/jobs/{job['id']}")).json()

    return await until(show, lambda found: found["state"] == state)


async def ready(stage: Stage, until: Until) -> str:
    """The only task, once the upstream is done with it."""

    async def tasks() -> list[dict[str, Any]]:
        return stage.tasks()

    return str((await until(tasks, lambda found: [t["status"] for t in found] == ["SUCCESS"]))[0]["task_id"])


async def events(stage: Stage, job: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = (await stage.api.get(f"/jobs/{job['id']}/events")).json()["events"]
    return [event["data"] for event in found if event["type"] == kind]


async def acts_on(stage: Stage, job: dict[str, Any]) -> list[str]:
    found = (await stage.api.get("/audit", params={"job": job["id"]})).json()["acts"]
    return [act["action"] for act in found]


async def test_a_check_that_an_operator_asked_for_settles_the_job(patient: Stage, until: Until) -> None:
    job = await in_state(patient, until, SILENT, "running")
    await ready(patient, until)
    answer = await patient.api.post(f"/jobs/{job['id']}/check")
    assert answer.status_code == 202, answer.text
    settled = await patient.settled(job)
    assert (settled["state"], settled["completed_via"]) == ("succeeded", "operator")
    [told] = await events(patient, job, "check_asked")
    assert (told["submission"], set(told)) == (1, {"submission", "by"})
    assert await acts_on(patient, job) == ["job.check"]


async def test_a_check_of_what_cannot_change_is_refused(patient: Stage, until: Until) -> None:
    unconfirmed = await in_state(patient, until, LOST, "unconfirmed")
    await patient.api.post("/dispatch/pause")
    queued = await patient.accept()
    await patient.api.post("/dispatch/resume")
    over = await patient.run()
    for job, code in ((unconfirmed, "nothing_to_check"), (over, "books_closed")):
        answer = await patient.api.post(f"/jobs/{job['id']}/check")
        assert (answer.status_code, answer.json()["code"]) == (409, code)
        assert await acts_on(patient, job) == []
    await patient.settled(queued)


async def test_a_job_that_was_never_sent_has_nothing_to_check_nor_a_task(patient: Stage) -> None:
    await patient.api.post("/dispatch/pause")
    job = await patient.accept()
    for path, body in (("check", None), ("candidates", {"task_id": "task-1"})):
        answer = await patient.api.post(f"/jobs/{job['id']}/{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_sent")


async def test_a_task_that_an_operator_named_is_checked_adopted_and_brings_the_picture(patient: Stage, until: Until) -> None:
    job = await in_state(patient, until, LOST, "unconfirmed")
    task_id = await ready(patient, until)
    answer = await patient.api.post(f"/jobs/{job['id']}/candidates", json={"task_id": task_id})
    assert answer.status_code == 202, answer.text
    assert answer.json()["state"] in ("unconfirmed", "running", "succeeded"), "it is believed by nobody before a check"
    settled = await patient.settled(job)
    assert (settled["state"], settled["completed_via"]) == ("succeeded", "operator")
    assert settled["upstream"]["task_id"] == task_id
    assert settled["credits"] == {"reserved": 0, "consumed": 5, "unresolved": 0}
    [told] = await events(patient, job, "candidate_named")
    assert told["task_id"] == task_id
    assert "by" in told
    assert await acts_on(patient, job) == ["job.candidate"]


async def test_a_task_of_another_request_is_dropped_and_never_shown_as_the_jobs(patient: Stage, until: Until) -> None:
    job = await in_state(patient, until, LOST, "unconfirmed")
    mine = await ready(patient, until)
    await patient.api.post("/dispatch/pause")
    twin = await patient.accept("[[answer-lost]] [[callback-lost]] A blue whale")
    await patient.api.post("/dispatch/resume")

    async def tasks() -> list[dict[str, Any]]:
        return [t for t in patient.tasks() if t["task_id"] != mine]

    [other] = await until(tasks, lambda found: [t["status"] for t in found] == ["SUCCESS"])
    answer = await patient.api.post(f"/jobs/{job['id']}/candidates", json={"task_id": other["task_id"]})
    assert answer.status_code == 202, answer.text

    async def dropped() -> list[dict[str, Any]]:
        return await events(patient, job, "candidate_dropped")

    assert (await until(dropped, bool))[0]["task_id"] == other["task_id"]
    shown = (await patient.api.get(f"/jobs/{job['id']}")).json()
    assert (shown["state"], shown["upstream"]["task_id"]) == ("unconfirmed", None)
    assert (await patient.api.get(f"/jobs/{twin['id']}")).json()["state"] == "unconfirmed"


async def test_a_task_that_is_known_is_no_candidate_neither_here_nor_elsewhere(patient: Stage, until: Until) -> None:
    lost = await in_state(patient, until, LOST, "unconfirmed")
    running = await in_state(patient, until, SILENT, "running")
    task_id = running["upstream"]["task_id"]
    for job, code in ((running, "task_known"), (lost, "task_taken")):
        answer = await patient.api.post(f"/jobs/{job['id']}/candidates", json={"task_id": task_id})
        assert (answer.status_code, answer.json()["code"]) == (409, code)
        assert await events(patient, job, "candidate_named") == []


async def test_a_task_id_that_cannot_be_one_is_refused(patient: Stage) -> None:
    await patient.api.post("/dispatch/pause")
    job = await patient.accept()
    for body in ({}, {"task_id": ""}, {"task_id": "a b"}, {"task_id": "x" * 201}, {"task_id": "x", "submission": 0}):
        answer = await patient.api.post(f"/jobs/{job['id']}/candidates", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_acts_of_callers_are_on_the_timeline_and_those_of_operators_in_the_audit_too(
    patient: Stage, keyring: Keyring
) -> None:
    await patient.api.post("/dispatch/pause")
    caller = await keyring.caller("jobs:write", "jobs:read")
    job = (await caller.post("/jobs", json={"prompt": "A red fox"})).json()
    await caller.post(f"/jobs/{job['id']}/cancel")
    retry = (await patient.api.post(f"/jobs/{job['id']}/retry")).json()
    await patient.api.post(f"/jobs/{job['id']}/retry")
    assert await acts_on(patient, job) == ["job.retry"], "once, and the caller's cancel is no operator's act"
    [canceled] = await events(patient, job, "cancel_requested")
    [retried] = await events(patient, job, "retried")
    assert retried["retry"] == retry["id"]
    assert canceled["by"] != retried["by"]
    seen = (await caller.get(f"/jobs/{job['id']}/events")).json()["events"]
    assert [e["data"] for e in seen if e["type"] in ("cancel_requested", "retried")] == [{}, {"retry": retry["id"]}]


async def test_nobody_but_admins_may(patient: Stage, keyring: Keyring) -> None:
    caller = await keyring.caller("jobs:write", "jobs:read")
    job = (await caller.post("/jobs", json={"prompt": "A red fox"})).json()
    for method, path in (
        ("POST", f"/jobs/{job['id']}/check"), ("POST", f"/jobs/{job['id']}/candidates"), ("GET", "/audit"),
        ("GET", "/operations"), ("POST", "/operations"),
    ):  # fmt: skip
        answer = await caller.request(method, path, json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
