"""The API's document, sentence by sentence."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

HOOK = "http://hook.example/jobs/1"


def test_a_submit_is_answered_with_a_task_id_and_in_progress(play: Any, read: Callable[..., Any]) -> None:
    answer = play.submit("A serene mountain landscape at sunset", size="1024*1024", output_format="png")
    assert answer.status == 200
    assert list(read(answer)) == ["code", "message", "data"]
    assert read(answer)["code"] == 200
    assert read(answer)["message"] == "success"
    assert list(read(answer)["data"]) == ["task_id", "status"]
    assert read(answer)["data"]["status"] == "IN_PROGRESS"
    assert re.fullmatch(r"n\d\d[a-z0-9]{12}qwenimg", read(answer)["data"]["task_id"])


def test_a_missing_prompt_is_refused_in_the_documents_words(play: Any, read: Callable[..., Any]) -> None:
    answer = play.world.submit("Bearer sk-emulator", b"{}")
    assert answer.status == 400
    assert read(answer) == {"code": 400, "message": "Bad Request: 'prompt' is required.", "data": None}


@pytest.mark.parametrize("prompt", ["", "  \n", None, 7, ["a fox"], "x" * 2001, "狐" * 2001, "🦊" * 2001])
def test_a_bad_prompt_is_refused(play: Any, prompt: object) -> None:
    assert play.submit(prompt).status == 400
    assert play.tasks() == []


@pytest.mark.parametrize("prompt", ["x", "x" * 2000, "狐" * 2000, "🦊" * 2000, "\ud800"])
def test_a_prompt_of_up_to_2000_code_points_is_accepted(play: Any, prompt: str) -> None:
    assert play.submit(prompt).status == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"size": "512*512"},
        {"size": "1024x1024"},
        {"size": None},
        {"size": 1024},
        {"seed": "42"},
        {"seed": True},
        {"seed": 42.5},
        {"seed": None},
        {"output_format": "jpg"},
        {"output_format": "PNG"},
        {"output_format": None},
        {"callback_url": "ftp://hook.example/"},
        {"callback_url": "/jobs/1"},
        {"callback_url": "http://"},
        {"callback_url": "http://[::1/"},
        {"callback_url": 7},
        {"callback_url": None},
    ],
)
def test_a_bad_field_is_refused_by_its_name(play: Any, read: Callable[..., Any], fields: dict[str, object]) -> None:
    answer = play.submit(**fields)
    assert answer.status == 400
    assert f"'{next(iter(fields))}'" in read(answer)["message"]
    assert play.tasks() == []


@pytest.mark.parametrize("body", [b"", b"prompt=fox", b"[]", b'"fox"', b"\xff", b'{"prompt": NaN}', b"[" * 100_000])
def test_a_body_which_is_not_a_json_object_is_refused(play: Any, body: bytes) -> None:
    assert play.world.submit("Bearer sk-emulator", body).status == 400


@pytest.mark.parametrize("seed", [0, -1, 42, 42.0, 2**53])
def test_an_integral_seed_is_accepted(play: Any, seed: object) -> None:
    assert play.submit(seed=seed).status == 200


def test_unknown_fields_are_ignored(play: Any) -> None:
    task_id = play.accepted(style="oil")
    assert "style" not in play.data(task_id)["request"]


@pytest.mark.parametrize("size", ["1024*1024", "1024*1536", "1536*1024", "768*1024", "1024*768"])
def test_every_size_of_the_document_is_accepted(play: Any, size: str) -> None:
    assert play.submit(size=size).status == 200


@pytest.mark.parametrize("authorization", [None, "", "sk-emulator", "Bearer", "Bearer sk-other", "Basic sk-emulator"])
def test_without_a_valid_key_everything_is_401(play: Any, read: Callable[..., Any], authorization: str | None) -> None:
    task_id = play.accepted()
    for answer in (play.submit(authorization=authorization), play.status(task_id, authorization)):
        assert answer.status == read(answer)["code"] == 401
        assert read(answer)["data"] is None


def test_status_tells_the_documents_fields_in_order(play: Any) -> None:
    data = play.data(play.accepted("a fox", seed=42.0, callback_url=HOOK))
    assert list(data) == [
        "task_id",
        "status",
        "consumed_credits",
        "error_message",
        "created_at",
        "request",
        "response",
    ]
    assert data["created_at"] == "2024-12-19T10:00:00Z"
    assert data["request"] == {
        "prompt": "a fox",
        "size": "1024*1024",
        "seed": 42,
        "output_format": "jpeg",
        "callback_url": HOOK,
    }


def test_the_callback_url_is_echoed_only_when_given_and_wanted(play: Any, make_play: Callable[..., Any]) -> None:
    assert "callback_url" not in play.data(play.accepted())["request"]
    silent = make_play(echo_callback_url=False)
    assert "callback_url" not in silent.data(silent.accepted(callback_url=HOOK))["request"]


def test_a_task_is_pending_then_in_progress_then_success(play: Any) -> None:
    task_id = play.accepted(output_format="png")
    told = []
    for seconds in (0, 1.9, 0.1, 7.9, 0.1):
        play.pass_seconds(seconds)
        told.append((play.data(task_id)["status"], play.data(task_id)["consumed_credits"]))
    assert told == [("PENDING", 5), ("PENDING", 5), ("IN_PROGRESS", 5), ("IN_PROGRESS", 5), ("SUCCESS", 5)]
    assert play.data(task_id)["response"] == [f"http://emulator/images/{task_id}.png"]
    assert play.data(task_id)["error_message"] is None


def test_a_missing_task_id_is_400_and_an_unknown_one_404(play: Any, read: Callable[..., Any]) -> None:
    assert play.status(None).status == 400
    assert read(play.status(""))["message"] == "Bad Request: 'task_id' is required."
    assert play.status("n43abc123def456qwenimg").status == 404


def test_another_keys_task_is_404(make_play: Callable[..., Any]) -> None:
    play = make_play(keys={"sk-emulator": 100, "sk-other": 100})
    task_id = play.accepted()
    assert play.status(task_id, "Bearer sk-other").status == 404
    assert play.status(task_id).status == 200


def test_the_callback_is_the_status_answer_of_the_ended_task(play: Any) -> None:
    task_id = play.accepted(callback_url=HOOK)
    assert play.world.next_callback_at() == play.now + 10
    play.pass_seconds(9.9)
    assert play.callbacks() == []
    play.pass_seconds(0.1)
    (callback,) = play.callbacks()
    assert (callback.url, callback.content_type) == (HOOK, "application/json")
    assert json.loads(callback.body) == json.loads(play.status(task_id).body)
    assert play.callbacks() == []
    assert play.world.next_callback_at() is None


def test_without_a_callback_url_there_is_no_callback(play: Any) -> None:
    play.accepted()
    assert play.world.next_callback_at() is None


def test_the_callback_delay_is_kept(make_play: Callable[..., Any]) -> None:
    play = make_play(callback_delay=3.0)
    play.accepted(callback_url=HOOK)
    assert play.world.next_callback_at() == play.now + 13


def test_the_same_seed_plays_the_same_game(make_play: Callable[..., Any]) -> None:
    one, same, other = (make_play(seed=seed, run_seconds=(1.0, 9.0)) for seed in (7, 7, 8))
    for play in (one, same, other):
        for _ in range(5):
            play.accepted(callback_url=HOOK)
    assert one.tasks() == same.tasks()
    assert one.tasks() != other.tasks()
