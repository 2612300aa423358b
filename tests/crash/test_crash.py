"""The process dies, by SIGKILL, at every point of a job's way; the next one on the same file makes everything good."""

from __future__ import annotations

import signal
import sqlite3
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.crash.processes import Emulator, Gateway, running, wait_for

JOBS = 5
NewGateway = Callable[..., Gateway]


def _story() -> str:
    """A word that only this test's prompts hold."""
    return f"story-{uuid.uuid4().hex[:8]}"


def _die(gateway: Gateway, prompts: list[str], **how: str) -> dict[str, str]:
    """Runs the gateway until it kills itself; the ids of the jobs that it acknowledged, by prompt."""
    with gateway.running(**how) as process:
        jobs = {prompt: gateway.accept(prompt) for prompt in prompts}
        assert process.ended() == -signal.SIGKILL
    return {prompt: job["id"] for prompt, job in jobs.items() if job is not None}


def _all_settled(gateway: Gateway, prompts: list[str], acknowledged: dict[str, str]) -> list[dict[str, Any]]:
    """Asks again for every job, as a caller would who does not know; each is there once, under the id that was told."""
    jobs = {prompt: gateway.accept(prompt) for prompt in prompts}
    for prompt, job in jobs.items():
        assert job is not None
        assert job["id"] == acknowledged.get(prompt, job["id"]), "an acknowledged job is lost"
    settled = [gateway.settled(job) for job in jobs.values() if job is not None]
    assert len(gateway.jobs()) == len(prompts)
    return settled


def _books_agree(jobs: list[dict[str, Any]], tasks: list[dict[str, Any]]) -> None:
    """The emulator's account is the judge."""
    assert max(Counter(task["prompt"] for task in tasks).values()) == 1, "paid twice"
    by_id = {task["task_id"]: task for task in tasks}
    for job in jobs:
        task = by_id.pop(job["upstream"]["task_id"], None)
        assert job["credits"]["consumed"] == (task["consumed_credits"] if task else 0)
        assert job["credits"]["reserved"] == 0
        assert task is None or task["prompt"] == job["prompt"]
    assert not by_id, "a task that no job knows of"


@pytest.mark.parametrize(("point", "after"), [("before-answer", 2), ("before-record", 1)])
def test_killed_between_a_send_and_its_record_the_task_is_found_by_its_callback(
    point: str, after: int, new_gateway: NewGateway, emulator: Emulator
) -> None:
    gateway, story = new_gateway(), _story()
    prompts = [f"{story} {n} [[answer-hang=1]] [[run=3]]" for n in range(JOBS)]  # all are sent before the first answer comes
    acknowledged = _die(gateway, prompts, DIE_AT=point, DIE_AFTER=str(after))
    with gateway.running():
        jobs = _all_settled(gateway, prompts, acknowledged)
        assert [job["state"] for job in jobs] == ["succeeded"] * JOBS
        assert all(job["attempts"] == 1 and job["credits"]["unresolved"] == 0 for job in jobs)
        assert any("answer_lost" in gateway.events(job) for job in jobs), "nothing was interrupted"
        _books_agree(jobs, emulator.tasks(story))


def test_killed_before_a_send_the_job_is_not_sent_again(new_gateway: NewGateway, emulator: Emulator) -> None:
    """Nobody can know that nothing was sent, so it ends as unconfirmed, with its credits shown as unresolved."""
    gateway, story = new_gateway(unconfirmed_wait="1s", upstream_max_in_flight="1"), _story()
    prompts = [f"{story} {n}" for n in range(JOBS)]
    acknowledged = _die(gateway, prompts, DIE_AT="before-send", DIE_AFTER="2")
    with gateway.running(GATEWAY_UPSTREAM_MAX_IN_FLIGHT="100"):
        jobs = _all_settled(gateway, prompts, acknowledged)
        unconfirmed = [job for job in jobs if job["state"] == "failed"]
        assert [job["error"]["code"] for job in unconfirmed] == ["submission_unconfirmed"]
        assert [job["credits"]["unresolved"] for job in unconfirmed] == [5]
        assert unconfirmed[0]["attempts"] == 1
        assert sum(job["state"] == "succeeded" for job in jobs) == JOBS - 1
        assert unconfirmed[0]["prompt"] not in {task["prompt"] for task in emulator.tasks(story)}
        _books_agree(jobs, emulator.tasks(story))


def test_killed_after_the_record_the_job_is_read_by_the_next_process(new_gateway: NewGateway, emulator: Emulator) -> None:
    """No callback helps here: the task id on disk is enough."""
    gateway, story = new_gateway(callback_grace="200ms"), _story()
    prompts = [f"{story} {n} [[callback-lost]]" for n in range(JOBS)]
    acknowledged = _die(gateway, prompts, DIE_AT="before-check", DIE_AFTER="3")
    with gateway.running():
        jobs = _all_settled(gateway, prompts, acknowledged)
        assert {(job["state"], job["completed_via"]) for job in jobs} == {("succeeded", "poll")}
        _books_agree(jobs, emulator.tasks(story))


def test_killed_between_a_callback_and_its_check_the_callback_is_not_forgotten(
    new_gateway: NewGateway, emulator: Emulator
) -> None:
    """The grace is an hour: nothing but the callback, which the upstream does not repeat, can have caused the check."""
    gateway, story = new_gateway(callback_grace="1h"), _story()
    prompts = [f"{story} {n}" for n in range(JOBS)]
    acknowledged = _die(gateway, prompts, DIE_AT="before-check", DIE_AFTER="1")
    received = _rows(gateway, "SELECT count(*) FROM callbacks")[0][0]
    assert received > 1
    with gateway.running():
        jobs = _all_settled(gateway, prompts, acknowledged)
        assert {job["state"] for job in jobs} == {"succeeded"}
        tasks = emulator.tasks(story)
        _books_agree(jobs, tasks)
        first = [[c["http_status"] for c in task["callbacks"]] for task in tasks]
        assert all(statuses.count(204) <= 1 for statuses in first), "what was answered 204 is not sent again"


def test_killed_again_and_again_nothing_is_lost_or_paid_twice(new_gateway: NewGateway, emulator: Emulator) -> None:
    """Each process gets jobs of its own besides what the ones before left, so that it surely comes to where it dies.

    Jobs are claimed by the batch: one that dies over the first answer may have sent the others or not, and nobody can know.
    """
    gateway, story = new_gateway(callback_grace="500ms", unconfirmed_wait="20s"), _story()
    prompts: list[str] = []
    acknowledged: dict[str, str] = {}
    for point in ("before-record", "before-answer", "before-check"):
        prompts += [f"{story} {point} {n}" for n in range(JOBS)]
        acknowledged = _die(gateway, prompts, DIE_AT=point) | acknowledged
    with gateway.running():
        jobs = _all_settled(gateway, prompts, acknowledged)
        tasks = emulator.tasks(story)
        sent = {task["prompt"] for task in tasks}
        assert {job["prompt"] for job in jobs if job["state"] == "succeeded"} == sent
        assert {job["error"]["code"] for job in jobs if job["prompt"] not in sent} <= {"submission_unconfirmed"}
        assert len(sent) >= JOBS
        _books_agree(jobs, tasks)


def test_a_stop_records_the_answers_in_flight_and_leaves_the_rest_in_the_queue(
    new_gateway: NewGateway, emulator: Emulator
) -> None:
    gateway, story = new_gateway(upstream_max_in_flight="2"), _story()
    long_enough_to_stop = "[[answer-hang=1]] [[run=15]]"  # else what was sent first makes room for the next
    prompts = [f"{story} {n} {long_enough_to_stop if n < 2 else '[[answer-hang=1]]'}" for n in range(JOBS)]
    with gateway.running() as process:
        acknowledged = {prompt: job["id"] for prompt in prompts if (job := gateway.accept(prompt))}
        wait_for(lambda: len(emulator.tasks(story)) == 2)
        process.terminate()
        assert process.ended() == 0
    states = Counter(_rows(gateway, "SELECT state, submission FROM jobs"))
    assert states == {("running", 1): 2, ("queued", 0): JOBS - 2}
    assert len(_rows(gateway, "SELECT task_id FROM submissions WHERE task_id IS NOT NULL AND lease_until IS NULL")) == 2
    with gateway.running(GATEWAY_UPSTREAM_MAX_IN_FLIGHT="100"):
        jobs = _all_settled(gateway, prompts, acknowledged)
        assert [(job["state"], job["attempts"]) for job in jobs] == [("succeeded", 1)] * JOBS
        _books_agree(jobs, emulator.tasks(story))


def test_a_stop_does_not_wait_for_ever_for_an_upstream_that_hangs(new_gateway: NewGateway, emulator: Emulator) -> None:
    gateway, story = new_gateway(), _story()
    prompts = [f"{story} {n} [[answer-hang=600]]" for n in range(2)]
    with gateway.running(SUBMIT_SECONDS="1.5") as process:
        acknowledged = {prompt: job["id"] for prompt in prompts if (job := gateway.accept(prompt))}
        wait_for(lambda: len(emulator.tasks(story)) == 2)
        process.terminate()
        assert process.ended() == 0
        assert not any("Traceback" in line for line in process.stderr)
    with gateway.running():
        jobs = _all_settled(gateway, prompts, acknowledged)
        assert [(job["state"], job["attempts"]) for job in jobs] == [("succeeded", 1)] * 2
        _books_agree(jobs, emulator.tasks(story))


def test_a_second_process_on_the_same_file_names_the_first_and_ends(new_gateway: NewGateway, tmp_path: Path) -> None:
    gateway = new_gateway()
    with gateway.running() as first:
        assert _refused_start(gateway.environment, tmp_path, str(first.pid))
        assert gateway.accept("still here") is not None


def test_a_start_without_the_upstream_key_names_the_setting(new_gateway: NewGateway, tmp_path: Path) -> None:
    environment = new_gateway().environment
    del environment["GATEWAY_UPSTREAM_API_KEY"]
    _refused_start(environment, tmp_path, "GATEWAY_UPSTREAM_API_KEY")


def test_a_bad_duration_is_named_and_its_value_is_not_repeated(new_gateway: NewGateway, tmp_path: Path) -> None:
    environment = {**new_gateway().environment, "GATEWAY_UNCONFIRMED_WAIT": "soon-ish"}
    assert "soon-ish" not in _refused_start(environment, tmp_path, "GATEWAY_UNCONFIRMED_WAIT")


def _refused_start(environment: dict[str, str], directory: Path, word: str) -> str:
    """The one line with which the real command explains why it does not start."""
    with running(["-m", "app", "serve", "--port", "0"], environment, directory) as process:
        assert process.ended() == 2
        assert process.stdout == []
        assert len(process.stderr) == 1, "".join(process.stderr)
        assert word in process.stderr[0]
        return process.stderr[0]


def _rows(gateway: Gateway, query: str) -> list[Any]:
    """What is on disk, read while no gateway runs."""
    connection = sqlite3.connect(gateway.directory / "gateway.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
