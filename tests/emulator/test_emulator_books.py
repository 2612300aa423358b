"""The account: what the judge of the gateway's books knows."""

import json
from collections.abc import Callable
from typing import Any

import pytest

HOOK = "http://hook.example/jobs/1"


def test_a_generation_costs_five_credits_at_acceptance(play: Any) -> None:
    play.submit()
    assert play.account()["keys"]["sk-emulator"] == {"credits_left": 99_995, "consumed": 5, "valid": True}


def test_too_few_credits_are_402_and_charge_nothing(make_play: Callable[..., Any], read: Callable[..., Any]) -> None:
    play = make_play(keys={"sk-emulator": 9})
    assert play.submit().status == 200
    answer = play.submit()
    assert answer.status == read(answer)["code"] == 402
    assert play.account()["keys"]["sk-emulator"]["credits_left"] == 4
    assert len(play.tasks()) == 1


def test_a_failure_is_refunded_when_it_happens(play: Any) -> None:
    task_id = play.accepted("a fox [[content-failure]]")
    assert (play.consumed(), play.data(task_id)["consumed_credits"]) == (5, 5)
    play.pass_seconds(10)
    data = play.data(task_id)
    assert (data["status"], data["consumed_credits"], data["response"]) == ("FAILED", 0, None)
    assert data["error_message"] == "Content policy violation detected"
    assert play.consumed() == 0


def test_a_billed_failure_stays_consumed(play: Any) -> None:
    task_id = play.accepted("a fox [[failure-billed]]")
    play.pass_seconds(10)
    assert (play.data(task_id)["status"], play.data(task_id)["consumed_credits"]) == ("FAILED", 5)
    assert play.consumed() == 5


def test_the_books_of_tasks_and_keys_agree(play: Any) -> None:
    for marker in ("", "[[content-failure]]", "[[failure-billed]]", "[[answer-lost]]", "[[submit-500]]"):
        play.submit(f"a fox {marker}")
    play.pass_seconds(10)
    account = play.account()
    assert sum(task["consumed_credits"] for task in account["tasks"]) == account["keys"]["sk-emulator"]["consumed"]


def test_open_tasks_are_counted_and_their_highest_number_kept(play: Any) -> None:
    for _ in range(3):
        play.submit()
    play.pass_seconds(10)
    play.submit()
    assert (play.account()["open"], play.account()["max_open"]) == (1, 3)


def test_every_request_is_counted_by_its_http_status(play: Any) -> None:
    task_id = play.accepted()
    play.pass_seconds(1)
    for prompt in ("", "[[answer-lost]]", "[[drop-before-accept]]", "[[submit-503]]"):
        play.submit(prompt)
    play.status(task_id)
    play.status("unknown")
    account = play.account()
    assert account["requests"] == {
        "submit": 5,
        "status": 2,
        "submit_by_http_status": {"200": 1, "400": 1, "broken": 2, "503": 1},
        "status_by_http_status": {"200": 1, "404": 1},
    }
    assert account["submit_times"] == [play.now - 1, play.now, play.now, play.now, play.now]
    assert account["status_times"] == [play.now, play.now]
    assert account["tasks"][0]["status_requests"] == 1


def test_a_task_is_described_in_full(play: Any) -> None:
    task_id = play.accepted("a fox [[callback-late=1]]", seed=-1, callback_url=HOOK)
    (task,) = play.tasks()
    assert task["task_id"] == task_id
    assert (task["key"], task["accepted_at"], task["ends_at"]) == ("sk-emulator", play.now, play.now + 10)
    assert (task["size"], task["output_format"], task["callback_url"]) == ("1024*1024", "jpeg", HOOK)
    assert task["requested_seed"] == -1
    assert task["seed"] >= 0
    assert task["faults"] == {"callback-late": 1.0}
    assert (task["status"], task["submit_answer"], task["callbacks"]) == ("PENDING", "told", [])


def test_a_callback_is_in_the_account_from_its_sending_on(play: Any) -> None:
    task_id = play.accepted(callback_url=HOOK)
    play.pass_seconds(10)
    (callback,) = play.world.take_due_callbacks()
    assert play.tasks()[0]["callbacks"] == [
        {
            "at": play.now,
            "url": HOOK,
            "kind": "true",
            "names": task_id,
            "attempt": 1,
            "http_status": None,
            "error": None,
            "ended_at": None,
        }
    ]
    play.pass_seconds(1)
    play.world.note_callback(callback, http_status=204)
    (attempt,) = play.tasks()[0]["callbacks"]
    assert (attempt["http_status"], attempt["ended_at"]) == (204, play.now)


def test_what_the_status_endpoint_said_of_a_task_is_in_the_account(play: Any) -> None:
    task_id = play.accepted("a fox [[status-404=5]]")
    play.status(task_id)
    missing_at = play.now
    play.pass_seconds(10)
    play.status(task_id)
    assert play.tasks()[0]["status_answers"] == {"status-404": missing_at, "SUCCESS": play.now}


def test_a_submit_that_faults_refused_is_in_the_account(play: Any) -> None:
    play.accepted(callback_url=HOOK)
    play.submit("a fox [[drop-before-accept]]", callback_url=HOOK)
    assert play.account()["refusals"] == [{"at": play.now, "callback_url": HOOK, "faults": ["drop-before-accept"]}]


@pytest.mark.parametrize("outcome", [(500, None), (302, None), (None, "ConnectError: refused")])
def test_a_failed_callback_is_not_repeated_unless_asked(play: Any, outcome: tuple[int | None, str | None]) -> None:
    play.accepted(callback_url=HOOK)
    play.pass_seconds(10)
    play.callbacks(*outcome)
    assert play.world.next_callback_at() is None
    (attempt,) = play.tasks()[0]["callbacks"]
    assert (attempt["http_status"], attempt["error"]) == outcome


def test_a_failed_callback_is_repeated_as_often_as_asked(make_play: Callable[..., Any]) -> None:
    play = make_play(callback_retries=2)
    play.accepted(callback_url=HOOK)
    play.pass_seconds(10)
    bodies = []
    for http_status in (500, None, 200):
        bodies += [callback.body for callback in play.callbacks(http_status, None if http_status else "gone")]
        play.pass_seconds(1)
    assert play.callbacks() == []
    attempts = play.tasks()[0]["callbacks"]
    assert [(attempt["attempt"], attempt["http_status"]) for attempt in attempts] == [(1, 500), (2, None), (3, 200)]
    assert [attempt["error"] for attempt in attempts] == [None, "gone", None]
    assert len(bodies) == 3
    assert len(set(bodies)) == 1


def test_the_submits_answer_is_in_the_account(play: Any) -> None:
    markers = {
        "run=1": "told",
        "answer-lost": "lost",
        "answer-hang": "hung",
        "submit-500-accepted": "error",
        "submit-502-accepted": "error",
        "task-id-in-error": "error-with-task-id",
    }
    for marker in markers:
        play.submit(f"a fox [[{marker}]]")
    assert [task["submit_answer"] for task in play.tasks()] == list(markers.values())


def test_a_withdrawn_key_keeps_its_books(play: Any) -> None:
    play.submit()
    play.world.withdraw_key("sk-emulator")
    assert play.submit().status == 401
    assert play.account()["keys"]["sk-emulator"] == {"credits_left": 99_995, "consumed": 5, "valid": False}
    play.world.issue_key("sk-emulator", 5)
    assert play.submit().status == 200
    assert play.consumed() == 10


def test_a_reset_forgets_all_but_the_task_ids(play: Any) -> None:
    before = {play.accepted() for _ in range(20)}
    play.world.reset()
    assert (play.tasks(), play.consumed(), play.account()["open"]) == ([], 0, 0)
    assert not before & {play.accepted() for _ in range(20)}


def test_the_account_is_json(play: Any) -> None:
    play.accepted("[[never-ends]]")
    assert json.loads(json.dumps(play.world.account(), allow_nan=False))["tasks"][0]["ends_at"] is None
