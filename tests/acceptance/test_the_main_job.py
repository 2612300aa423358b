"""Jobs go through the gateway to the emulator and come back; its account is the judge."""

from __future__ import annotations

import asyncio
import io
import re

import pytest
from PIL import Image

from tests.acceptance.stage import Stage, open_stage


async def test_a_job_comes_back_by_its_callback_with_a_picture_and_its_credits(stage: Stage) -> None:
    accepted = await stage.accept("A red fox", size="1024*768", output_format="png", seed=7, metadata={"order": "17"})
    assert accepted["state"] == "queued"
    assert accepted["credits"] == {"reserved": 5, "consumed": 0, "unresolved": 0}
    job = await stage.settled(accepted)
    assert job["state"] == "succeeded"
    assert job["completed_via"] == "callback"
    assert job["credits"] == {"reserved": 0, "consumed": 5, "unresolved": 0}
    assert (job["attempts"], job["submissions"]) == (1, 1)
    assert job["metadata"] == {"order": "17"}
    [task] = stage.tasks()
    assert job["upstream"] == {"task_id": task["task_id"], "status": "SUCCESS"}
    assert (task["prompt"], task["size"], task["output_format"], task["requested_seed"]) == ("A red fox", "1024*768", "png", 7)
    answer = await stage.api.get(job["images"][0]["url"], follow_redirects=True)
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert (picture.size, picture.format) == ((1024, 768), "PNG")


async def test_the_upstream_is_told_to_call_back_on_the_submissions_token(stage: Stage) -> None:
    await stage.run()
    [task] = stage.tasks()
    assert re.fullmatch(re.escape(stage.url) + r"/callbacks/[A-Za-z0-9_-]{43}", task["callback_url"])
    assert [c["http_status"] for c in task["callbacks"]] == [204]


@pytest.mark.parametrize(
    ("marker", "state", "via", "consumed"),
    [
        ("callback-double", "succeeded", "callback", 5),
        ("callback-before-answer", "succeeded", "callback", 5),
        ("callback-forged", "succeeded", "callback", 5),
        ("callback-strange-body=binary", "succeeded", "callback", 5),
        ("callback-strange-body=gzip", "succeeded", "callback", 5),
        ("answer-lost", "succeeded", "callback", 5),
        ("submit-500-accepted", "succeeded", None, None),
        ("task-id-in-error", "succeeded", "callback", 5),
        ("numbers-as-strings", "succeeded", "callback", 5),
        ("response-as-string", "succeeded", "callback", 5),
        ("response-null=1", "succeeded", None, 5),
        ("status-lag=1", "succeeded", None, 5),
        ("status-500=1", "succeeded", None, 5),
        ("status-html=1", "succeeded", None, 5),
        ("content-failure", "failed", "callback", 0),
        ("failure-billed", "failed", "callback", 5),
    ],
)
async def test_an_upstream_that_misbehaves_still_settles_the_job(
    stage: Stage, marker: str, state: str, via: str | None, consumed: int | None
) -> None:
    job = await stage.run(f"A red fox [[{marker}]]")
    assert job["state"] == state
    assert via is None or job["completed_via"] == via
    if consumed is not None:
        assert job["credits"] == {"reserved": 0, "consumed": consumed, "unresolved": 0}
        assert sum(t["consumed_credits"] for t in stage.tasks()) == consumed
        assert len(stage.tasks()) == 1


async def test_a_lost_callback_is_made_good_by_a_check(database_url: str) -> None:
    async with open_stage(database_url, callback_grace="300ms") as stage:
        job = await stage.run("A bottle in the sea [[callback-lost]]")
    assert (job["state"], job["completed_via"]) == ("succeeded", "poll")


async def test_without_a_public_address_everything_is_polled_for(database_url: str) -> None:
    async with open_stage(database_url, public_base_url=None) as stage:
        job = await stage.run()
        [task] = stage.tasks()
        ready = (await stage.api.get("/readyz")).json()
    assert (job["state"], job["completed_via"]) == ("succeeded", "poll")
    assert task["callback_url"] is None
    assert ready["status"] == "degraded"
    assert not ready["checks"]["callbacks"]["ok"]


async def test_a_refusal_is_sent_again_and_a_rejection_is_not(stage: Stage) -> None:
    stage.world.add_fault(stage_rule("submit-500@next-2"))
    job = await stage.run()
    assert (job["state"], job["attempts"], job["submissions"]) == ("succeeded", 3, 1)
    assert len(stage.tasks()) == 1
    assert (await stage.events(job)).count("released") == 2


async def test_an_answer_that_never_comes_fails_the_job_when_its_wait_is_over(database_url: str) -> None:
    async with open_stage(database_url, unconfirmed_wait="1s") as stage:
        job = await stage.run("[[answer-lost]] [[callback-lost]]")
    assert job["state"] == "failed"
    assert job["error"]["code"] == "submission_unconfirmed"
    assert job["error"]["retryable"] is True
    assert job["credits"] == {"reserved": 0, "consumed": 0, "unresolved": 5}


async def test_a_task_that_never_ends_fails_at_its_deadline_after_a_last_check(database_url: str) -> None:
    async with open_stage(database_url, job_deadline="1s", callback_grace="100ms") as stage:
        job = await stage.run("[[never-ends]]")
    assert (job["state"], job["error"]["code"]) == ("failed", "deadline_exceeded")
    assert job["credits"]["unresolved"] == 5


async def test_a_canceled_job_keeps_what_its_task_still_produced(stage: Stage) -> None:
    accepted = await stage.accept("A street [[run=5]]")
    await stage.until(accepted, "running")
    answer = await stage.api.post(f"/jobs/{accepted['id']}/cancel")
    assert answer.status_code == 202
    assert answer.json()["upstream_will_bill"] == "yes"
    again = await stage.api.post(f"/jobs/{accepted['id']}/cancel")
    assert (again.status_code, again.json()["upstream_will_bill"]) == (202, "yes")
    job = await stage.settled(accepted)
    assert (job["state"], job["credits"]["consumed"], len(job["images"])) == ("canceled", 5, 1)


async def test_a_queued_job_is_canceled_at_once_and_costs_nothing(stage: Stage) -> None:
    assert (await stage.api.post("/dispatch/pause")).json()["submits"]["reason"] == "paused"
    accepted = await stage.accept()
    answer = await stage.api.post(f"/jobs/{accepted['id']}/cancel")
    assert (answer.status_code, answer.json()["state"], answer.json()["upstream_will_bill"]) == (200, "canceled", "no")
    assert (await stage.api.post(f"/jobs/{accepted['id']}/cancel")).status_code == 200
    assert (await stage.api.post("/dispatch/resume")).json()["submits"]["open"] is True
    assert (await stage.run())["state"] == "succeeded"
    assert len(stage.tasks()) == 1


async def test_a_settled_job_cannot_be_canceled(stage: Stage) -> None:
    job = await stage.run()
    answer = await stage.api.post(f"/jobs/{job['id']}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "already_settled")


async def test_many_jobs_at_once_stay_within_the_limits_and_the_books_agree(database_url: str) -> None:
    async with open_stage(database_url, upstream_max_in_flight=7) as stage:
        jobs = await asyncio.gather(*(stage.run(f"Job {n}") for n in range(60)))
        account = stage.world.account()
    assert {job["state"] for job in jobs} == {"succeeded"}
    assert account["max_open"] <= 7
    assert sum(job["credits"]["consumed"] for job in jobs) == sum(t["consumed_credits"] for t in account["tasks"]) == 300


async def test_an_empty_account_shuts_the_gate_and_a_resume_opens_it(stage: Stage) -> None:
    stage.world.set_credits("sk-emulator", 0)
    accepted = await stage.accept()
    gate = await until_gate(stage, "no_credits")
    assert gate["submits"]["until"] is not None
    assert gate["checks"]["open"] is True
    stage.world.set_credits("sk-emulator", 100)
    await stage.api.post("/dispatch/resume")
    assert (await stage.settled(accepted))["state"] == "succeeded"


async def test_a_bad_key_shuts_submits_and_checks(stage: Stage) -> None:
    stage.world.withdraw_key("sk-emulator")
    await stage.accept()
    gate = await until_gate(stage, "bad_key")
    assert gate["checks"] == {**gate["checks"], "open": False, "reason": "bad_key"}
    ready = (await stage.api.get("/readyz")).json()
    assert (ready["status"], ready["checks"]["gate"]["ok"]) == ("degraded", False)


async def test_a_bad_key_does_not_hold_up_the_end_of_a_wait_for_a_callback(database_url: str) -> None:
    async with open_stage(database_url, unconfirmed_wait="3s") as stage:
        lost = await stage.accept("[[answer-lost]] [[callback-lost]]")
        await stage.until(lost, "answer_lost")
        stage.world.withdraw_key("sk-emulator")
        await stage.accept()
        await until_gate(stage, "bad_key")
        job = await stage.settled(lost)
        gate = (await stage.api.get("/dispatch")).json()
    assert (job["state"], job["error"]["code"]) == ("failed", "submission_unconfirmed")
    assert gate["checks"]["open"] is False


def stage_rule(notation: str):  # type: ignore[no-untyped-def]
    from app.emulator.fault_plan import FaultRule

    return FaultRule.parse(notation)


async def until_gate(stage: Stage, reason: str) -> dict[str, dict[str, object]]:
    async with asyncio.timeout(60):
        while (gate := (await stage.api.get("/dispatch")).json())["submits"]["reason"] != reason:
            pass
    return gate
