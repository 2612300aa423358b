"""What operators ask for: checks now, and candidates; and what the timeline says of who asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lives import (
    CANDIDATE,
    GOING,
    LIVES,
    NOW,
    POLICY,
    SENT_AT,
    SUCCESS,
    TASK,
    accepted,
    after,
    change,
    checked,
    failed,
    looked_at,
    queued_again,
    running,
    running_beside_a_lost_one,
    seconds,
    succeeded,
    unconfirmed,
)

from app.lifecycle.answers import NotFound
from app.lifecycle.news import By, CalledBack, CancelAsked, CandidateNamed, CheckAsked
from app.lifecycle.operation import JobOutcome, JobResult, Progress
from app.lifecycle.retry import NotAgain, why_not_again
from app.lifecycle.states import CompletedVia, JobState, Outcome
from app.lifecycle.transitions import Effect, Objection

ME = By("key-1", is_operator=True)


def test_a_check_that_was_asked_for_is_due_at_once() -> None:
    life = change(running(), CheckAsked(ME)).after

    assert life.submission(1).due_at == NOW
    assert life.job == running().job


def test_checks_stay_apart_however_often_somebody_asks() -> None:
    just_checked = looked_at(running(), NOW - seconds(1))

    asked = change(just_checked, CheckAsked())
    assert asked.after.submission(1).due_at == NOW - seconds(1) + POLICY.check_spacing
    assert change(asked.after, CheckAsked()).effect is Effect.STALE


def test_the_record_of_a_check_does_not_overwrite_what_was_asked_for_meanwhile() -> None:
    life = looked_at(running(), NOW)
    asked = change(life, CheckAsked(), NOW + seconds(5)).after

    recorded = change(asked, checked(GOING, began_at=NOW), NOW + seconds(6)).after

    assert recorded.submission(1).due_at == asked.submission(1).due_at == NOW + seconds(5)


def test_a_last_look_that_began_before_somebody_asked_does_not_fail_the_job() -> None:
    late = SENT_AT + POLICY.job_deadline + seconds(60)
    asked = change(running(), CheckAsked(), late).after
    last = checked(GOING, began_at=late - seconds(1))

    assert change(running(), last, late).after.job.state is JobState.FAILED
    assert change(asked, last, late).after.job.state is JobState.RUNNING


@pytest.mark.parametrize(
    ("more", "via"),
    [
        ({}, CompletedVia.POLL),
        ({"asked": True}, CompletedVia.OPERATOR),
        ({"poked": True}, CompletedVia.CALLBACK),
        ({"poked": True, "asked": True}, CompletedVia.CALLBACK),
    ],
)
def test_what_settled_it_is_what_caused_the_check(more: dict[str, bool], via: CompletedVia) -> None:
    assert change(running(), checked(SUCCESS, **more)).after.job.completed_via is via


def test_an_operators_candidate_is_looked_at_before_those_of_callbacks() -> None:
    life = after(unconfirmed(), CalledBack(1, "another"), CandidateNamed(CANDIDATE), at=NOW)

    assert life.submission(1).candidates == (CANDIDATE, "another")
    assert life.submission(1).due_at == NOW


def test_an_operators_candidate_is_believed_by_nobody_before_a_check() -> None:
    named = change(unconfirmed(), CandidateNamed(CANDIDATE)).after
    assert (named.job, named.submission(1).task_id) == (unconfirmed().job, None)

    not_ours = change(named, checked(SUCCESS, task_id=CANDIDATE, matches=False)).after
    unknown = change(named, checked(NotFound(), task_id=CANDIDATE)).after
    for dropped in (not_ours, unknown):
        assert (dropped.job.state, dropped.submission(1).candidates) == (JobState.UNCONFIRMED, ())
    ours = change(named, checked(SUCCESS, task_id=CANDIDATE, asked=True)).after
    assert (ours.job.state, ours.job.completed_via) == (JobState.SUCCEEDED, CompletedVia.OPERATOR)


def test_a_candidate_of_a_job_that_was_given_up_brings_its_credits_and_pictures_late() -> None:
    life = after(failed(), CandidateNamed(CANDIDATE), checked(SUCCESS, task_id=CANDIDATE), at=NOW)

    assert life.job == failed().job
    assert (life.submission(1).outcome, life.credits.consumed) == (Outcome.SUCCEEDED, 5)
    assert life.late_images


def test_without_a_number_the_submission_that_wants_a_task_most_takes_the_candidate() -> None:
    beside = change(running_beside_a_lost_one(), CandidateNamed(CANDIDATE)).after
    assert [s.candidates for s in beside.submissions] == [(), (CANDIDATE,)]

    refused_by_a_lie = change(queued_again(), CandidateNamed(CANDIDATE)).after
    assert refused_by_a_lie.submission(1).candidates == (CANDIDATE,)
    assert refused_by_a_lie.job.state is JobState.QUEUED


@pytest.mark.parametrize(
    ("life", "news", "objection"),
    [
        (accepted(), CheckAsked(), Objection.NOT_SENT),
        (accepted(), CandidateNamed(CANDIDATE), Objection.NOT_SENT),
        (queued_again(), CheckAsked(), Objection.NOT_SENT),
        (unconfirmed(), CheckAsked(), Objection.NOTHING_TO_CHECK),
        (succeeded(), CheckAsked(), Objection.BOOKS_CLOSED),
        (succeeded(), CancelAsked(), Objection.ALREADY_SETTLED),
        (running(), CandidateNamed(TASK), Objection.TASK_KNOWN),
        (running(), CandidateNamed(CANDIDATE), Objection.TASK_KNOWN),
        (unconfirmed(), CandidateNamed(CANDIDATE, 2), Objection.NOT_SENT),
        (unconfirmed(), CandidateNamed(CANDIDATE, task_taken=True), Objection.TASK_TAKEN),
        (after(unconfirmed(), *(CalledBack(1, n) for n in "abc")), CandidateNamed(CANDIDATE), Objection.TOO_MANY_CANDIDATES),
    ],
)
def test_what_stands_against_it_has_a_name(life: object, news: object, objection: Objection) -> None:
    done = change(life, news)  # type: ignore[arg-type]
    assert (done.effect, done.objection, done.events) == (Effect.REFUSED, objection, ())
    assert done.after is life


def test_when_its_token_is_too_old_a_released_send_takes_no_candidate() -> None:
    at_last = SENT_AT + POLICY.hard_deadline

    assert change(queued_again(), CandidateNamed(CANDIDATE), at_last - seconds(1)).effect is Effect.NOTED
    assert change(queued_again(), CandidateNamed(CANDIDATE), at_last).objection is Objection.BOOKS_CLOSED


def test_an_open_send_takes_a_candidate_however_old_it_is() -> None:
    assert change(unconfirmed(), CandidateNamed(CANDIDATE), SENT_AT + POLICY.hard_deadline * 3).effect is Effect.NOTED


@pytest.mark.parametrize(
    ("life", "news"),
    [(running(), CancelAsked(ME)), (running(), CheckAsked(ME)), (unconfirmed(), CandidateNamed(CANDIDATE, by=ME))],
)
def test_the_timeline_says_who_asked(life: object, news: object) -> None:
    [event] = change(life, news).events  # type: ignore[arg-type]
    assert event.data["by"] == "key-1"
    assert "operation" not in event.data


@pytest.mark.parametrize("situation", LIVES)
def test_whether_a_job_may_be_asked_for_again(situation: str) -> None:
    life = LIVES[situation]()
    expected = {
        "succeeded": NotAgain.ALREADY_SUCCEEDED, "failed": NotAgain.MAY_BE_BILLED_TWICE, "canceled": None,
    }.get(situation, NotAgain.NOT_SETTLED)  # fmt: skip

    assert why_not_again(life, accept_double_billing=False) is expected
    if situation == "failed":
        assert why_not_again(life, accept_double_billing=True) is None


def test_pictures_that_came_late_are_no_reason_to_fear_for_money() -> None:
    late = replace(failed().submission(1), late_result={"status": "SUCCESS", "images": ["https://pictures.test/1.png"]})
    assert why_not_again(failed().with_submission(late), accept_double_billing=False) is None


def test_progress_adds_up() -> None:
    job_id = accepted().job.job_id
    outcomes = [
        JobOutcome(job_id, JobResult.DONE),
        JobOutcome(job_id, JobResult.SKIPPED, "a"),
        JobOutcome(job_id, JobResult.FAILED, "b"),
        JobOutcome(job_id, JobResult.FAILED, "b"),
    ]
    half = Progress().after(outcomes)
    assert half == Progress(4, 1, 1, 2, {"a": 1, "b": 2})
    assert half.after(outcomes) == Progress(8, 2, 2, 4, {"a": 2, "b": 4})
