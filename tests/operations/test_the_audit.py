"""`GET /audit`: what operators did, newest first."""

from __future__ import annotations

from tests.acceptance.stage import Stage


async def test_acts_are_listed_newest_first_page_by_page(stage: Stage) -> None:
    for act in ("pause", "resume", "pause", "resume"):
        await stage.api.post(f"/dispatch/{act}")
    first = (await stage.api.get("/audit", params={"limit": 3})).json()
    assert [act["action"] for act in first["acts"]] == ["dispatch.resume", "dispatch.pause", "dispatch.resume"]
    assert first["has_more"]
    answer = await stage.api.get("/audit", params={"limit": 3, "cursor": first["next_cursor"]})
    rest = answer.json()
    assert [act["action"] for act in rest["acts"]] == ["dispatch.pause", "key.create"]
    assert (rest["next_cursor"], rest["has_more"]) == (None, False)
    ids = [act["id"] for act in [*first["acts"], *rest["acts"]]]
    assert ids == sorted(ids, reverse=True)


async def test_acts_on_one_job_and_by_one_key_are_found(stage: Stage) -> None:
    await stage.api.post("/dispatch/pause")
    jobs = [await stage.accept() for _ in range(2)]
    for job in jobs:
        await stage.api.post(f"/jobs/{job['id']}/cancel")
    [act] = (await stage.api.get("/audit", params={"job": jobs[0]["id"]})).json()["acts"]
    assert (act["action"], act["job_id"], act["tenant"]) == ("job.cancel", jobs[0]["id"], jobs[0]["tenant"])
    by_key = (await stage.api.get("/audit", params={"key": act["key_id"]})).json()["acts"]
    assert [a["action"] for a in by_key] == ["job.cancel", "job.cancel", "dispatch.pause"]
    assert (await stage.api.get("/audit", params={"key": "start"})).json()["acts"][0]["action"] == "key.create"
    assert (await stage.api.get("/audit", params={"key": "nobody"})).json()["acts"] == []


async def test_a_cancel_that_was_asked_for_before_is_no_second_act(stage: Stage) -> None:
    await stage.api.post("/dispatch/pause")
    job = await stage.accept()
    for _ in range(2):
        assert (await stage.api.post(f"/jobs/{job['id']}/cancel")).status_code == 200
    assert len((await stage.api.get("/audit", params={"job": job["id"]})).json()["acts"]) == 1


async def test_a_filter_that_is_none_is_refused(stage: Stage) -> None:
    for query in ({"job": "x"}, {"cursor": "x"}, {"cursor": "0"}, {"limit": "0"}, {"tenant": "x"}, {"key": "\0"}):
        assert (await stage.api.get("/audit", params=query)).status_code == 422, query
