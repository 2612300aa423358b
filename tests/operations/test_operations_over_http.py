"""`/operations` on a whole gateway: count first, make, watch, stop."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.acceptance.stage import Stage
from tests.access.keyring import Keyring
from tests.operations.conftest import Until

HARVEST = {"metadata": {"batch": "harvest"}}


async def make(stage: Stage, status: int = 202, **body: Any) -> dict[str, Any]:
    answer = await stage.api.post("/operations", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def ended(stage: Stage, until: Until, operation: dict[str, Any]) -> dict[str, Any]:
    """The operation once it is over."""

    async def show() -> dict[str, Any]:
        return (await stage.api.get(operation["links"]["self"])).json()

    return await until(show, lambda found: found["finished_at"] is not None)


async def state_of(stage: Stage, job: dict[str, Any]) -> str:
    return (await stage.api.get(f"/jobs/{job['id']}")).json()["state"]


async def test_all_that_match_are_canceled_and_nothing_else(paused: Stage, until: Until) -> None:
    mine = [await paused.accept(**HARVEST) for _ in range(3)]
    beside = await paused.accept(metadata={"batch": "another"})
    counted = await make(paused, 200, kind="cancel", filter=HARVEST, dry_run=True)
    assert counted == {"kind": "cancel", "matched": {"jobs": 3, "at_least": False}}
    assert (await paused.api.get("/operations")).json()["operations"] == [], "a dry run makes nothing"
    answer = await paused.api.post("/operations", json={"kind": "cancel", "filter": HARVEST})
    assert answer.status_code == 202
    made = answer.json()
    assert answer.headers["location"] == made["links"]["self"]
    done = await ended(paused, until, made)
    assert (done["state"], done["matched"]["jobs"]) == ("done", 3)
    assert done["progress"] == {"seen": 3, "done": 3, "skipped": 0, "failed": 0}
    assert (done["filter"], done["query"], done["jobs"]) == (HARVEST, "metadata.batch=harvest", None)
    assert done["links"]["stop"] is None
    assert [await state_of(paused, job) for job in mine] == ["canceled"] * 3
    assert await state_of(paused, beside) == "queued"


async def test_a_selection_is_retried_and_says_what_stood_against_the_others(paused: Stage, until: Until) -> None:
    canceled, queued, unknown = await paused.accept(), await paused.accept(), str(uuid4())
    await paused.api.post(canceled["links"]["cancel"])
    made = await make(paused, kind="retry", jobs=[canceled["id"], canceled["id"], queued["id"], unknown])
    assert made["matched"] == {"jobs": 3, "at_least": False}
    done = await ended(paused, until, made)
    assert done["progress"] == {"seen": 3, "done": 1, "skipped": 1, "failed": 1}
    assert done["codes"] == {"not_settled": 1, "not_found": 1}
    refused = {r["job_id"]: (r["result"], r["code"]) for r in done["refused"]}
    assert refused == {queued["id"]: ("skipped", "not_settled"), unknown: ("failed", "not_found")}
    assert done["jobs"] == [canceled["id"], queued["id"], unknown]
    newest = (await paused.api.get("/jobs", params={"limit": 1})).json()["jobs"][0]
    assert newest["retry_of"] == canceled["id"]


async def test_retried_jobs_go_on_to_their_end(stage: Stage, until: Until) -> None:
    await stage.api.post("/dispatch/pause")
    job = await stage.accept()
    await stage.api.post(job["links"]["cancel"])
    await stage.api.post("/dispatch/resume")
    await ended(stage, until, await make(stage, kind="retry", filter={"state": ["canceled"]}))
    newest = (await stage.api.get("/jobs", params={"limit": 1})).json()["jobs"][0]
    assert newest["retry_of"] == job["id"]
    assert (await stage.settled(newest))["state"] == "succeeded"


async def test_a_tenants_budget_stands_against_a_retry_and_the_operator_sees_it(paused: Stage, until: Until) -> None:
    jobs = [await paused.accept() for _ in range(3)]
    for job in jobs:
        await paused.api.post(job["links"]["cancel"])
    tenant = jobs[0]["tenant"]
    limited = await paused.api.put(f"/tenants/{tenant}", json={"monthly_credits": 10})
    assert limited.status_code == 200, limited.text
    done = await ended(paused, until, await make(paused, kind="retry", filter={"tenant": tenant}))
    assert done["progress"] == {"seen": 3, "done": 2, "skipped": 0, "failed": 1}
    assert done["codes"] == {"credit_budget_exceeded": 1}


async def test_whoever_presses_twice_gets_the_same_operation(paused: Stage, until: Until) -> None:
    await paused.accept(**HARVEST)
    body = {"kind": "cancel", "filter": HARVEST}
    first = await paused.api.post("/operations", json=body, headers={"Idempotency-Key": "press-1"})
    done = await ended(paused, until, first.json())
    second = await paused.api.post("/operations", json=body, headers={"Idempotency-Key": "press-1"})
    assert (first.status_code, second.status_code) == (202, 200)
    assert second.headers["idempotent-replayed"] == "true"
    assert (second.json()["id"], second.json()["progress"]) == (done["id"], done["progress"])
    other = await paused.api.post(
        "/operations", json={"kind": "cancel", "filter": {"state": ["queued"]}}, headers={"Idempotency-Key": "press-1"}
    )
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_stop_is_answered_alike_however_often_and_not_once_it_is_done(paused: Stage, until: Until) -> None:
    await paused.accept(**HARVEST)
    done = await ended(paused, until, await make(paused, kind="cancel", filter=HARVEST))
    late = await paused.api.post(f"/operations/{done['id']}/stop")
    assert (late.status_code, late.json()["code"]) == (409, "operation_done")
    made = await make(paused, kind="retry", jobs=[str(uuid4()) for _ in range(1000)])  # many seconds of batches
    first, second = [await paused.api.post(made["links"]["stop"]) for _ in range(2)]
    assert (first.status_code, second.status_code) == (200, 200)
    assert (first.json()["state"], first.json()["stopped_by"]) == ("stopped", made["by"])
    assert first.json()["progress"]["seen"] < 1000
    assert second.json() == first.json()
    assert (await ended(paused, until, made))["progress"] == first.json()["progress"]


async def test_operations_and_their_stops_are_in_the_audit(paused: Stage, until: Until) -> None:
    made = await make(paused, kind="cancel", filter={"state": ["queued"], "tenant": "design"})
    await ended(paused, until, made)
    act = (await paused.api.get("/audit", params={"key": made["by"], "limit": 1})).json()["acts"][0]
    assert (act["action"], act["tenant"], act["key_id"]) == ("operation.create", "design", made["by"])
    assert act["data"]["operation_id"] == made["id"]


async def test_each_job_tells_of_the_operation_and_only_admins_hear_of_the_key(
    paused: Stage, keyring: Keyring, until: Until
) -> None:
    caller = await keyring.caller("jobs:write", "jobs:read")
    job = (await caller.post("/jobs", json={"prompt": "A red fox"})).json()
    made = await make(paused, kind="cancel", jobs=[job["id"]])
    await ended(paused, until, made)
    for reader, expected in (
        (paused.api, {"operation": made["id"], "by": made["by"]}),
        (caller, {"operation": made["id"]}),
    ):
        events = (await reader.get(f"/jobs/{job['id']}/events")).json()["events"]
        assert [e["data"] for e in events if e["type"] == "cancel_requested"] == [expected]
        stream = (await reader.get(f"/jobs/{job['id']}/events", headers={"Accept": "text/event-stream"})).text
        assert made["id"] in stream
        assert (made["by"] in stream) == ("by" in expected)


async def test_the_list_goes_on_page_by_page(paused: Stage, until: Until) -> None:
    made = [await make(paused, kind="cancel", filter={"q": word}) for word in ("one", "two", "three")]
    page = (await paused.api.get("/operations", params={"limit": 2})).json()
    assert [o["id"] for o in page["operations"]] == [made[2]["id"], made[1]["id"]]
    assert page["has_more"]
    rest = (await paused.api.get("/operations", params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert ([o["id"] for o in rest["operations"]], rest["next_cursor"]) == ([made[0]["id"]], None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "cancel"}, "filter"),
        ({"kind": "cancel", "filter": {"q": "fox"}, "jobs": [str(uuid4())]}, "filter"),
        ({"kind": "cancel", "filter": {}}, "filter"),
        ({"kind": "cancel", "filter": {"state": ["succeeded", "failed"]}}, "filter.state"),
        ({"kind": "retry", "filter": {"state": ["queued"]}}, "filter.state"),
        ({"kind": "cancel", "filter": {"state": ["queued"]}, "accept_double_billing": True}, "accept_double_billing"),
        ({"kind": "pause", "filter": {"state": ["queued"]}}, "kind"),
        ({"kind": "cancel", "filter": {"colour": "red"}}, "filter.colour"),
        ({"kind": "cancel", "filter": {"created_after": "yesterday"}}, "filter.created_after"),
        ({"kind": "cancel", "jobs": []}, "jobs"),
        ({"kind": "cancel", "jobs": ["none"]}, "jobs.0"),
        ({"kind": "cancel", "jobs": [str(uuid4()) for _ in range(1001)]}, "jobs"),
    ],
)
async def test_what_is_unclear_is_refused_and_makes_nothing(stage: Stage, body: dict[str, Any], field: str) -> None:
    refused = await make(stage, 422, **body)
    assert refused["code"] == "invalid_request"
    assert field in [error["field"] for error in refused["errors"]]
    assert (await stage.api.get("/operations")).json()["operations"] == []


async def test_what_is_not_there_is_a_404(stage: Stage) -> None:
    for path in (f"/operations/{uuid4()}", "/operations/none"):
        assert (await stage.api.get(path)).status_code == 404
        assert (await stage.api.post(f"{path}/stop")).status_code == 404
    assert (await stage.api.get("/operations", params={"cursor": "x"})).status_code == 422
