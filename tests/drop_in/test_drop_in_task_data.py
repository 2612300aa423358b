"""A job as a task of the upstream's, in every state."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.drop_in.envelope import status_body
from app.drop_in.picture_link import picture_link
from app.drop_in.task_data import task_data
from app.lifecycle.answers import Rejected, StillGoing, Succeeded, TaskFailed
from app.lifecycle.job import CallbackFormat, Picture, PictureState
from app.lifecycle.news import Answered, CancelAsked
from app.lifecycle.states import JobState
from tests.lifecycle.lives import LIVES, PICTURES, SENT_AT, accepted, after, checked, minutes, running, submitting

WORDS = {
    "queued": ("PENDING", 5),
    "submitting": ("PENDING", 5),
    "unconfirmed": ("PENDING", 5),
    "running": ("IN_PROGRESS", 5),
    "succeeded": ("SUCCESS", 5),
    "failed": ("FAILED", 5),  # nobody knows yet whether it was billed
    "canceled": ("FAILED", 5),  # its task may still end, and is paid for then
    "submitting, stopping": ("PENDING", 5),
    "unconfirmed, stopping": ("PENDING", 5),
    "running, stopping": ("IN_PROGRESS", 5),
    "running, #2 unanswered": ("IN_PROGRESS", 5),
    "running, #2 lost": ("IN_PROGRESS", 5),
}


def nowhere(_job_id: UUID, _index: int) -> None:
    return None


def ours(job_id: UUID, index: int) -> str:
    return f"https://gateway.test/{job_id}/{index}"


@pytest.mark.parametrize("situation", LIVES)
def test_every_life_has_the_documents_word(situation: str) -> None:
    data = task_data(LIVES[situation](), nowhere)
    assert (data.status, data.consumed_credits) == WORDS[situation]
    assert (data.error_message is not None) == (data.status == "FAILED")
    assert (data.response is not None) == (data.status == "SUCCESS")


@pytest.mark.parametrize(
    ("heard", "told"),
    [("PENDING", "PENDING"), ("IN_PROGRESS", "IN_PROGRESS"), ("SUCCESS", "IN_PROGRESS"), ("?", "IN_PROGRESS")],
)
def test_a_running_job_has_the_word_that_a_check_heard_where_it_is_one_of_an_open_task(heard: str, told: str) -> None:
    life = after(running(), checked(StillGoing(heard)), at=SENT_AT + minutes(1))
    assert life.task is not None
    assert life.task.upstream_status == heard
    assert task_data(life, nowhere).status == told


def test_a_failed_task_says_what_the_upstream_said_and_costs_what_it_said() -> None:
    for told, cost in ((0, 0), (None, 0), (5, 5)):
        data = task_data(after(running(), checked(TaskFailed("too dark", told)), at=SENT_AT + minutes(1)), nowhere)
        assert (data.status, data.error_message, data.consumed_credits) == ("FAILED", "too dark", cost)


def test_a_request_that_the_upstream_refused_costs_nothing() -> None:
    data = task_data(after(submitting(), Answered(1, Rejected("no such size"))), nowhere)
    assert (data.status, data.error_message, data.consumed_credits) == ("FAILED", "no such size", 0)


def test_a_canceled_job_reads_failed_and_says_so() -> None:
    data = task_data(after(accepted(), CancelAsked()), nowhere)
    assert (data.status, data.error_message, data.consumed_credits) == ("FAILED", "The task was canceled.", 0)


def test_a_canceled_job_shows_no_pictures_though_it_may_hold_some() -> None:
    life = after(running(), CancelAsked(), checked(Succeeded(PICTURES, 5)), at=SENT_AT + minutes(1))
    assert (life.job.state, life.job.images) == (JobState.CANCELED, PICTURES)
    data = task_data(life, ours)
    assert (data.status, data.response, data.consumed_credits) == ("FAILED", None, 5)


def test_a_picture_is_the_upstreams_until_it_is_stored_and_then_ours() -> None:
    two = ("https://pictures.test/1.png", "https://pictures.test/2.png")
    life = after(running(), checked(Succeeded(two, 5)), at=SENT_AT + minutes(1))
    pending, stored = Picture(0, two[0], PictureState.PENDING), Picture(1, two[1], PictureState.STORED)
    assert task_data(life, ours).response == list(two)
    half = replace(life, pictures=(pending, stored))
    assert task_data(half, ours).response == [two[0], ours(life.job.job_id, 1)]
    assert task_data(half, nowhere).response == list(two)


def test_instants_are_told_to_the_second() -> None:
    made = datetime(2026, 3, 1, 13, 0, 0, 999_999, tzinfo=UTC)
    assert task_data(accepted(created_at=made), nowhere).created_at == "2026-03-01T13:00:00Z"


def test_a_callbacks_body_is_the_status_answer() -> None:
    life = accepted(callback_url="https://hook.test/1", callback_format=CallbackFormat.DROP_IN)
    assert json.loads(status_body(life, nowhere)) == {
        "code": 200,
        "message": "success",
        "data": {
            "task_id": str(life.job.job_id),
            "status": "PENDING",
            "consumed_credits": 5,
            "error_message": None,
            "created_at": "2026-03-01T12:00:00Z",
            "request": {
                "prompt": "a lighthouse", "size": "1024*1024", "seed": -1, "output_format": "jpeg",
                "callback_url": "https://hook.test/1",
            },
            "response": None,
        },
    }  # fmt: skip


def test_a_link_stays_the_same_for_a_day_and_opens_for_six_more() -> None:
    asked: list[datetime] = []

    def signed_url(base_url: str, job_id: UUID, index: int, expires_at: datetime) -> str:
        asked.append(expires_at)
        return f"{base_url}/{job_id}/{index}"

    morning, night = datetime(2026, 3, 1, 0, 0, 1, tzinfo=UTC), datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)
    links = [picture_link(signed_url, "https://gateway.test", now)(UUID(int=1), 0) for now in (morning, night)]
    assert links == [f"https://gateway.test/{UUID(int=1)}/0"] * 2
    assert asked == [datetime(2026, 3, 8, tzinfo=UTC)] * 2
    assert timedelta(days=6) < asked[0] - night < asked[0] - morning < timedelta(days=7)


def test_there_is_no_link_where_nobody_knows_the_gateways_address() -> None:
    assert picture_link(lambda *_: "never", None, datetime(2026, 3, 1, tzinfo=UTC))(UUID(int=1), 0) is None
