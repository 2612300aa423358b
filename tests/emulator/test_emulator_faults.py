"""Every fault, called for by a marker in a prompt."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from app.emulator.fault import FAULTS

HOOK = "http://hook.example/jobs/1"


def kinds(callbacks: list[Any]) -> list[str]:
    return [callback.kind for callback in callbacks]


@pytest.mark.parametrize(
    ("marker", "status"),
    [
        ("submit-500", 500),
        ("submit-502-html", 502),
        ("submit-503", 503),
        ("submit-429=7", 429),
        ("submit-402", 402),
        ("submit-403", 403),
        ("submit-401", 401),
        ("code-mismatch", 200),
        ("drop-before-accept", 200),
    ],
)
def test_a_refused_submit_makes_no_task_and_costs_nothing(play: Any, marker: str, status: int) -> None:
    assert play.submit(f"a fox [[{marker}]]").status == status
    assert (play.tasks(), play.consumed()) == ([], 0)
    assert play.account()["faults_struck"] == {marker.partition("=")[0]: 1}


@pytest.mark.parametrize(
    ("marker", "status"),
    [
        ("answer-lost", 200),
        ("answer-hang", 200),
        ("submit-500-accepted", 500),
        ("submit-502-accepted", 502),
        ("task-id-in-error", 500),
    ],
)
def test_an_accepted_submit_costs_though_its_answer_is_bad(play: Any, marker: str, status: int) -> None:
    assert play.submit(f"a fox [[{marker}]]").status == status
    assert (len(play.tasks()), play.consumed()) == (1, 5)


def test_a_429_says_when_to_come_back(play: Any) -> None:
    assert play.submit("[[submit-429=6.2]]").headers["retry-after"] == "7"


def test_lost_answers_break_off_and_hung_ones_wait(play: Any) -> None:
    assert play.submit("[[answer-lost]]").lost == "truncated"
    assert play.submit("[[drop-before-accept]]").lost == "truncated"
    hung = play.submit("[[answer-hang=4]]")
    assert (hung.lost, hung.delay) == ("hang", 4.0)
    assert play.submit("[[answer-hang]]").delay == 3600.0


def test_an_error_may_hold_the_task_id(play: Any, read: Callable[..., Any]) -> None:
    answer = read(play.submit("[[task-id-in-error]]"))
    assert (answer["code"], answer["data"]["task_id"]) == (500, play.tasks()[0]["task_id"])


def test_the_envelope_may_disagree_with_http(play: Any, read: Callable[..., Any]) -> None:
    assert read(play.submit("[[code-mismatch]]")) == {"code": 500, "message": "Internal Server Error", "data": None}


def test_html_is_html(play: Any) -> None:
    for marker in ("submit-502-html", "submit-502-accepted"):
        answer = play.submit(f"[[{marker}]]")
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.body.startswith(b"<html>")


def test_a_lost_callback_never_comes(play: Any) -> None:
    play.accepted("[[callback-lost]]", callback_url=HOOK)
    assert play.world.next_callback_at() is None


def test_a_late_callback_comes_late(play: Any) -> None:
    play.accepted("[[callback-late=3]]", callback_url=HOOK)
    assert play.world.next_callback_at() == play.now + 13


def test_a_doubled_callback_is_said_twice(play: Any) -> None:
    play.accepted("[[callback-double]]", callback_url=HOOK)
    play.pass_seconds(10)
    first, second = play.callbacks()
    assert first.body == second.body
    assert kinds([first, second]) == ["true", "double"]


def test_an_early_callback_is_true_and_holds_the_answer_back(play: Any, read: Callable[..., Any]) -> None:
    answer = play.submit("[[callback-before-answer]]", callback_url=HOOK)
    task_id = read(answer)["data"]["task_id"]
    assert answer.held_for == task_id
    (callback,) = play.callbacks()
    assert json.loads(callback.body)["data"]["status"] == play.data(task_id)["status"] == "SUCCESS"


def test_nothing_is_held_back_for_a_callback_which_will_not_come(play: Any) -> None:
    assert play.submit("[[callback-before-answer]]").held_for is None
    assert play.submit("[[callback-before-answer]] [[callback-lost]]", callback_url=HOOK).held_for is None


def test_forged_callbacks_come_beside_the_true_one(play: Any) -> None:
    other = play.accepted("another")
    task_id = play.accepted("[[callback-forged]]", callback_url=HOOK)
    play.pass_seconds(5)
    forged = play.callbacks()
    assert kinds(forged) == ["forged-unknown", "forged-other"]
    made_up, misused = (json.loads(callback.body)["data"]["task_id"] for callback in forged)
    assert made_up not in {task["task_id"] for task in play.tasks()}
    assert misused == other
    play.pass_seconds(5)
    (true,) = play.callbacks()
    assert json.loads(true.body)["data"]["task_id"] == task_id
    assert [record["names"] for record in play.tasks()[1]["callbacks"]] == [made_up, other, task_id]


def test_with_no_other_task_there_is_none_to_misuse(play: Any) -> None:
    play.accepted("[[callback-forged]]", callback_url=HOOK)
    play.pass_seconds(10)
    assert kinds(play.callbacks()) == ["forged-unknown", "true"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [("not-json", b"task finished :-)"), ("list", b'["SUCCESS"]'), ("empty", b""), ("binary", bytes(range(256)))],
)
def test_a_strange_body_is_sent_instead(play: Any, body: str, expected: bytes) -> None:
    play.accepted(f"[[callback-strange-body={body}]]", callback_url=HOOK)
    play.pass_seconds(10)
    (callback,) = play.callbacks()
    assert (callback.kind, callback.body) == (f"strange-{body}", expected)


def test_a_packed_body_is_the_envelope_under_gzip(play: Any) -> None:
    task_id = play.accepted("[[callback-strange-body=gzip]]", callback_url=HOOK)
    play.pass_seconds(10)
    (callback,) = play.callbacks()
    assert callback.headers == {"content-encoding": "gzip"}
    assert json.loads(gzip.decompress(callback.body))["data"]["task_id"] == task_id


def test_strange_bodies_take_turns(play: Any) -> None:
    for _ in range(6):
        play.accepted("[[callback-strange-body]]", callback_url=HOOK)
    play.pass_seconds(10)
    turns = ["not-json", "list", "empty", "gzip", "binary", "not-json"]
    assert kinds(play.callbacks()) == [f"strange-{turn}" for turn in turns]


@pytest.mark.parametrize(
    ("name", "status"), [("status-404", 404), ("status-500", 500), ("status-429", 429), ("status-html", 200)]
)
def test_status_misbehaves_for_a_while_after_acceptance(play: Any, name: str, status: int) -> None:
    task_id = play.accepted(f"[[{name}=4]]")
    innocent = play.accepted()
    play.pass_seconds(3.9)
    assert play.status(task_id).status == status
    assert b'"task_id"' not in play.status(task_id).body
    assert play.data(innocent)["status"] == "IN_PROGRESS"
    play.pass_seconds(0.1)
    assert play.data(task_id)["status"] == "IN_PROGRESS"


def test_a_hung_status_is_held_back(play: Any) -> None:
    answer = play.status(play.accepted("[[status-hang=9]]"))
    assert (answer.lost, answer.delay) == ("hang", 9.0)


def test_status_may_lag_behind_the_callback(play: Any) -> None:
    task_id = play.accepted("[[status-lag=4]]", callback_url=HOOK)
    play.pass_seconds(10)
    (callback,) = play.callbacks()
    assert json.loads(callback.body)["data"]["status"] == "SUCCESS"
    assert play.data(task_id)["status"] == "IN_PROGRESS"
    assert play.tasks()[0]["status"] == "SUCCESS"
    play.pass_seconds(4)
    assert play.data(task_id)["status"] == "SUCCESS"


def test_numbers_may_be_strings(play: Any, read: Callable[..., Any]) -> None:
    assert read(play.submit("[[numbers-as-strings]]"))["code"] == "200"
    answer = read(play.status(play.tasks()[0]["task_id"]))
    assert (answer["code"], answer["data"]["consumed_credits"]) == ("200", "5")


def test_the_response_may_be_a_string(play: Any) -> None:
    task_id = play.accepted("[[response-as-string]]")
    play.pass_seconds(10)
    assert json.loads(play.data(task_id)["response"]) == [f"http://emulator/images/{task_id}.jpeg"]


def test_the_response_may_be_null_for_a_while(play: Any) -> None:
    task_id = play.accepted("[[response-null=3]]", callback_url=HOOK)
    play.pass_seconds(10)
    assert (play.data(task_id)["status"], play.data(task_id)["response"]) == ("SUCCESS", None)
    assert json.loads(play.callbacks()[0].body)["data"]["response"] is None
    play.pass_seconds(3)
    assert play.data(task_id)["response"] is not None


def test_a_task_may_never_end(play: Any) -> None:
    task_id = play.accepted("[[never-ends]]", callback_url=HOOK)
    play.pass_seconds(10**8)
    assert play.data(task_id)["status"] == "IN_PROGRESS"
    assert (play.account()["open"], play.callbacks()) == (1, [])


def test_a_task_may_be_forgotten_for_ever(play: Any) -> None:
    task_id = play.accepted("[[forgotten=3]]")
    assert play.status(task_id).status == 200
    play.pass_seconds(3)
    assert play.status(task_id).status == 404
    play.pass_seconds(10**6)
    assert play.status(task_id).status == 404


def test_a_prompt_may_set_its_running_time(play: Any) -> None:
    task_id = play.accepted("[[run=4]]")
    play.pass_seconds(4)
    assert play.data(task_id)["status"] == "SUCCESS"


def test_several_markers_may_stand_in_one_prompt(play: Any) -> None:
    play.accepted("a [[callback-late=3]] red [[ run = 2 ]] fox [[callback-double]]", callback_url=HOOK)
    assert play.tasks()[0]["faults"] == {"callback-late": 3.0, "run": 2.0, "callback-double": None}
    assert play.world.next_callback_at() == play.now + 5


@pytest.mark.parametrize("prompt", ["[[no-such-fault]]", "[[run=soon]]", "[[run=-1]]", "[[run=inf]]", "[[ ]]", "[[run"])
def test_a_marker_not_understood_is_prose(play: Any, prompt: str) -> None:
    play.accepted(prompt)
    assert play.tasks()[0]["faults"] == {}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_can_be_marked_and_keeps_the_books_straight(play: Any, name: str) -> None:
    play.submit(f"a fox [[{name}]]", callback_url=HOOK)
    play.pass_seconds(100)
    play.callbacks()
    account = play.account()
    assert account["faults_struck"] == {name: 1}
    assert sum(task["consumed_credits"] for task in account["tasks"]) == play.consumed()
