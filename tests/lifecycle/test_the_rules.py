"""The rules of a job's life, one by one, as sentences. Beside what must move stands what must not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from lives import (
    CANDIDATE,
    GOING,
    LIVES,
    NOW,
    PICTURES,
    POLICY,
    REFUSED,
    SENT_AT,
    SUCCESS,
    TASK,
    accepted,
    after,
    canceled,
    change,
    checked,
    claimed,
    failed,
    looked_at,
    minutes,
    queued_again,
    running,
    running_beside_a_lost_one,
    running_beside_an_unanswered_one,
    seconds,
    stopping,
    submitting,
    succeeded,
    unconfirmed,
)

from app.lifecycle import schedule
from app.lifecycle.answers import (
    Accepted,
    NoAnswer,
    NotFound,
    Reading,
    Refusal,
    Refused,
    Rejected,
    SubmitAnswer,
    TaskFailed,
    Unproven,
)
from app.lifecycle.job import Credits, IllegalMoveError, JobError, Life
from app.lifecycle.news import (
    Answered,
    BooksDue,
    CalledBack,
    CancelAsked,
    GivenBack,
    HardDeadlinePassed,
    LeaseExpired,
    News,
    QueueDeadlinePassed,
    Timer,
    WaitOver,
)
from app.lifecycle.states import EDGES, RETRYABLE, CompletedVia, ErrorCode, JobState, Outcome
from app.lifecycle.transitions import Effect

NOTHING = NoAnswer("timeout")

# --- guards: somebody else was first --------------------------------------------------------------------------------------


def test_a_second_claim_finds_nothing_to_take() -> None:
    assert change(submitting(), claimed()).effect is Effect.STALE


def test_only_a_claim_counts_the_submissions_up() -> None:
    again = after(queued_again(), claimed())

    assert [s.number for s in again.submissions] == [1, 2]
    assert again.job.submission == 2
    assert after(again, Answered(2, REFUSED)).job.submission == 2


@pytest.mark.parametrize(
    ("life", "answer"), [(running, Accepted(TASK)), (queued_again, REFUSED), (unconfirmed, Unproven("timeout"))]
)
def test_an_answer_that_is_recorded_twice_changes_nothing(life: Callable[[], Life], answer: SubmitAnswer) -> None:
    assert change(life(), Answered(1, answer)).effect is Effect.STALE


def test_the_answer_to_a_task_that_a_check_adopted_first_only_ends_the_lease() -> None:
    adopted = after(submitting(), CalledBack(1, TASK), checked(GOING))
    answered = change(adopted, Answered(1, Accepted(TASK)))

    assert adopted.submission(1).is_unanswered
    assert answered.effect is Effect.NOTED
    assert replace(adopted.submission(1), lease_until=None) == answered.after.submission(1)
    assert change(answered.after, Answered(1, Accepted(TASK))).effect is Effect.STALE


def test_a_second_callback_changes_nothing_but_the_count() -> None:
    once = after(succeeded(), CalledBack(1, TASK), at=NOW)
    twice = after(once, CalledBack(1, TASK), at=NOW)

    assert twice.job == once.job == succeeded().job
    assert replace(twice.submission(1), callbacks=1) == once.submission(1)


def test_a_second_success_does_not_settle_again() -> None:
    assert change(succeeded(), checked(SUCCESS)).effect is Effect.STALE


def test_an_arrow_that_the_chart_lacks_cannot_be_walked() -> None:
    with pytest.raises(IllegalMoveError, match="succeeded -> running"):
        succeeded().job.moved(JobState.RUNNING)


# --- a late answer is still an answer -------------------------------------------------------------------------------------


def test_a_task_id_that_comes_after_the_lease_makes_the_job_run() -> None:
    lost = after(submitting(), LeaseExpired(1), at=SENT_AT + POLICY.lease)

    assert lost.job.state is JobState.UNCONFIRMED
    assert change(lost, Answered(1, Accepted(TASK))).after.job.state is JobState.RUNNING


def test_a_late_proof_frees_the_job() -> None:
    freed = change(unconfirmed(), Answered(1, REFUSED)).after

    assert freed.job.state is JobState.QUEUED
    assert freed.submission(1).outcome is Outcome.RELEASED


def test_a_task_id_that_comes_after_the_job_failed_is_kept_on_its_submission() -> None:
    late = change(failed(), Answered(1, Accepted(TASK))).after

    assert late.job.state is JobState.FAILED
    assert late.submission(1).task_id == TASK
    assert late.submission(1).due_at is not None, "its credits must still be learnt"


def test_our_own_answer_outranks_what_a_callback_named() -> None:
    life = after(submitting(), CalledBack(1, CANDIDATE), Answered(1, Accepted(TASK)))

    assert life.submission(1).task_id == TASK
    assert life.submission(1).candidates == ()


def test_an_answer_after_the_write_off_opens_the_books_again_and_gives_them_time() -> None:
    at = SENT_AT + POLICY.hard_deadline
    written_off = after(failed(), BooksDue(1), at=at)
    reopened = change(written_off, Answered(1, Accepted(TASK)), at).after

    assert written_off.submission(1).outcome is Outcome.WRITTEN_OFF
    assert reopened.submission(1).outcome is Outcome.OPEN
    assert schedule.overdue(reopened, reopened.submission(1), at, POLICY, checks_possible=True) is None


@pytest.mark.parametrize("late", [submitting, unconfirmed, queued_again, failed])
def test_a_task_id_that_comes_after_two_days_gets_its_full_time_again(late: Callable[[], Life]) -> None:
    at = SENT_AT + timedelta(days=2)
    life = after(late(), Answered(1, Accepted(TASK)), at=at)
    s = life.submission(1)

    assert (schedule.deadline(s, POLICY), schedule.hard_deadline(s, POLICY)) == (
        at + POLICY.job_deadline, at + POLICY.hard_deadline,
    )  # fmt: skip
    assert after(life, checked(GOING, began_at=at), at=at).job.state is life.job.state
    assert running().submission(1).excused == timedelta(0)


def test_a_late_answer_to_an_older_submission_does_not_move_the_newer_one() -> None:
    life = running_beside_an_unanswered_one()

    assert change(life, Answered(1, REFUSED)).effect is Effect.STALE
    assert change(life, Answered(1, Unproven("timeout"))).effect is Effect.STALE


# --- submissions have the clock of checks ---------------------------------------------------------------------------------


def test_a_result_that_comes_after_the_job_failed_is_kept_beside_it() -> None:
    late = after(failed(), Answered(1, Accepted(TASK)), checked(SUCCESS), at=NOW)
    s = late.submission(1)

    assert (late.job.state, late.job.images) == (JobState.FAILED, ())
    assert (s.outcome, s.credits, s.due_at) == (Outcome.SUCCEEDED, 5, None)
    assert s.late_result == {"status": "SUCCESS", "images": list(PICTURES)}


def test_the_books_of_a_settled_job_close_after_a_day() -> None:
    life = failed()
    day = SENT_AT + POLICY.hard_deadline

    assert not life.submission(1).can_be_checked, "nothing to look at first"
    assert schedule.overdue(life, life.submission(1), day - seconds(1), POLICY, checks_possible=True) is None
    assert schedule.overdue(life, life.submission(1), day, POLICY, checks_possible=True) == BooksDue(1)
    assert change(life, BooksDue(1), day).after.submission(1).due_at is None


def test_the_books_of_a_job_that_goes_on_do_not_close() -> None:
    at = SENT_AT + POLICY.hard_deadline

    assert change(looked_at(running(), at), BooksDue(1), at).effect is Effect.STALE


@pytest.mark.parametrize(
    ("reading", "outcome", "told"),
    [(SUCCESS, Outcome.SUCCEEDED, 5), (TaskFailed("no", 0), Outcome.FAILED, 0)],
    ids=["success", "failed"],
)
def test_what_a_check_reads_after_the_write_off_is_booked(reading: Reading, outcome: Outcome, told: int) -> None:
    day = SENT_AT + POLICY.hard_deadline
    life = after(looked_at(canceled(), day), BooksDue(1), at=day)
    late = after(life, checked(reading, began_at=day - seconds(1)), at=day + seconds(5))
    s = late.submission(1)

    assert life.submission(1).outcome is Outcome.WRITTEN_OFF
    assert (s.outcome, s.credits, s.late_result is None) == (outcome, told, False)
    assert late.job == life.job
    for other in (checked(GOING), checked(NotFound()), checked(NOTHING), checked(reading, "another")):
        assert change(life, other, day + seconds(5)).effect is Effect.STALE


# --- a callback's task id is a candidate ----------------------------------------------------------------------------------


def test_a_callback_adopts_nothing() -> None:
    life = change(unconfirmed(), CalledBack(1, CANDIDATE)).after

    assert life.job.state is JobState.UNCONFIRMED
    assert (life.submission(1).task_id, life.submission(1).candidates) == (None, (CANDIDATE,))


def test_a_check_that_finds_our_request_adopts_the_candidate() -> None:
    life = after(unconfirmed(), CalledBack(1, CANDIDATE), checked(GOING, CANDIDATE), at=NOW)

    assert life.job.state is JobState.RUNNING
    assert (life.submission(1).task_id, life.submission(1).candidates) == (CANDIDATE, ())


@pytest.mark.parametrize(
    "news",
    [checked(SUCCESS, CANDIDATE, matches=False), checked(SUCCESS, CANDIDATE, task_taken=True), checked(NotFound(), CANDIDATE)],
    ids=["not ours", "another's", "404"],
)
def test_a_wrong_candidate_is_dropped_and_the_job_stays(news: News) -> None:
    named = after(unconfirmed(), CalledBack(1, CANDIDATE), at=NOW - minutes(2))
    life = after(named, news, at=NOW)

    assert life.job.state is JobState.UNCONFIRMED
    assert life.submission(1).candidates == ()


def test_no_more_than_three_candidates_are_kept() -> None:
    life = after(unconfirmed(), *(CalledBack(1, f"forged-{i}") for i in range(9)), at=NOW)

    assert life.submission(1).candidates == ("forged-0", "forged-1", "forged-2")
    assert life.submission(1).callbacks == 9


def test_candidates_take_turns() -> None:
    """The checker takes the first: a forged one that is never answered must not keep the right one waiting."""
    life = after(unconfirmed(), CalledBack(1, "forged"), CalledBack(1, CANDIDATE), CalledBack(1, "forged, too"))
    seen = []
    for _ in range(4):
        seen.append(life.submission(1).candidates[0])
        life = after(life, checked(NOTHING, seen[-1]), at=NOW)

    assert seen == ["forged", CANDIDATE, "forged, too", "forged"]


def test_a_candidate_is_young_from_the_send_on_and_pokes_do_not_keep_it_so() -> None:
    named = after(unconfirmed(), CalledBack(1, "forged"))

    def candidates(at: datetime) -> tuple[str, ...]:
        poked = after(named, CalledBack(1, "forged"), at=at - seconds(2))
        return after(poked, checked(NotFound(), "forged", began_at=at - seconds(1)), at=at).submission(1).candidates

    assert candidates(SENT_AT + POLICY.young - seconds(1)) == ("forged",)
    assert candidates(SENT_AT + POLICY.young) == ()


def test_a_proof_that_came_while_a_candidate_was_unread_counts_once_the_last_is_dropped() -> None:
    refused = after(submitting(), CalledBack(1, "forged"), CalledBack(1, "forged, too"), Answered(1, REFUSED))
    one_left = after(refused, checked(NotFound(), "forged"), at=NOW)
    dropped = after(one_left, checked(SUCCESS, "forged, too", matches=False), at=NOW)

    assert (refused.job.state, refused.submission(1).refusal) == (JobState.UNCONFIRMED, REFUSED.detail)
    assert one_left.submission(1).is_open
    assert (dropped.job.state, dropped.submission(1).outcome) == (JobState.QUEUED, Outcome.RELEASED)


def test_without_a_proof_a_dropped_candidate_frees_nothing() -> None:
    life = after(unconfirmed(), CalledBack(1, "forged"), checked(NotFound(), "forged"), at=NOW)

    assert (life.job.state, life.submission(1).outcome) == (JobState.UNCONFIRMED, Outcome.OPEN)


def test_a_proof_that_came_while_a_candidate_was_unread_is_forgotten_when_it_was_a_lie() -> None:
    life = after(submitting(), CalledBack(1, TASK), Answered(1, REFUSED), checked(GOING), at=NOW)

    assert (life.job.state, life.submission(1).task_id, life.submission(1).refusal) == (JobState.RUNNING, TASK, None)


def test_a_remembered_proof_frees_a_settled_jobs_books_and_leaves_the_job() -> None:
    life = after(failed(), CalledBack(1, "forged"), Answered(1, REFUSED), checked(NotFound(), "forged"), at=NOW)

    assert (life.job, life.submission(1).outcome) == (failed().job, Outcome.RELEASED)


def test_a_candidate_named_twice_is_kept_once() -> None:
    assert after(unconfirmed(), CalledBack(1, CANDIDATE), CalledBack(1, CANDIDATE)).submission(1).candidates == (CANDIDATE,)


def test_a_callback_without_an_id_says_look_now() -> None:
    life = change(running(), CalledBack(1, None)).after

    assert life.submission(1).check_at == NOW
    assert life.submission(1).candidates == ()


def test_a_named_task_is_no_candidate_once_the_task_is_known() -> None:
    assert change(running(), CalledBack(1, "forged")).after.submission(1).candidates == ()


def test_the_wait_for_a_callback_lasts_while_a_candidate_is_unread() -> None:
    life = after(unconfirmed(), CalledBack(1, CANDIDATE))
    at = SENT_AT + POLICY.unconfirmed_wait

    assert schedule.overdue(life, life.submission(1), at, POLICY, checks_possible=True) is None
    assert schedule.overdue(unconfirmed(), unconfirmed().submission(1), at, POLICY, checks_possible=True) == WaitOver(1)


def test_a_timer_that_was_seen_before_a_callback_came_changes_nothing() -> None:
    """Whoever saw it run out looked before the row was locked."""
    at = SENT_AT + POLICY.unconfirmed_wait
    seen = schedule.overdue(unconfirmed(), unconfirmed().submission(1), at, POLICY, checks_possible=True)

    assert seen == WaitOver(1)
    assert change(after(unconfirmed(), CalledBack(1, TASK)), WaitOver(1), at).effect is Effect.STALE
    assert change(unconfirmed(), WaitOver(1), at).after.job.state is JobState.FAILED


@pytest.mark.parametrize("timer", [LeaseExpired(1), WaitOver(1), HardDeadlinePassed(1), BooksDue(1)])
@pytest.mark.parametrize("situation", LIVES)
def test_a_timer_that_has_not_run_out_changes_nothing(situation: str, timer: Timer) -> None:
    assert change(looked_at(LIVES[situation](), NOW), timer, SENT_AT + seconds(59)).effect is Effect.STALE


def test_a_refusal_is_not_believed_while_a_callback_says_otherwise() -> None:
    life = after(submitting(), CalledBack(1, CANDIDATE), Answered(1, REFUSED))

    assert life.job.state is JobState.UNCONFIRMED
    assert life.submission(1).is_open


def test_a_task_behind_a_500_is_adopted_and_takes_the_job_from_the_queue() -> None:
    life = after(queued_again(), CalledBack(1, TASK), checked(GOING), at=NOW)

    assert life.job.state is JobState.RUNNING
    assert life.submission(1).outcome is Outcome.OPEN


# --- cancel wins over sending ---------------------------------------------------------------------------------------------


def test_a_queued_job_is_canceled_at_once() -> None:
    life = change(accepted(), CancelAsked()).after

    assert (life.job.state, life.job.finished_at) == (JobState.CANCELED, NOW)
    assert life.credits == Credits(0, 0, 0)
    assert change(life, claimed()).effect is Effect.STALE


def test_a_queued_job_is_canceled_at_once_whatever_a_callback_named() -> None:
    """What was sent before is proven not accepted, so nothing is waited for; a task that shows up is booked all the same."""
    life = after(queued_again(), CalledBack(1, TASK), CancelAsked(), at=NOW)
    late = after(life, checked(SUCCESS), at=NOW)

    assert life.job.state is JobState.CANCELED
    assert late.credits == Credits(0, 5, 0)
    assert late.job == life.job
    assert JobState.UNCONFIRMED not in EDGES[JobState.QUEUED]


def test_what_was_asked_to_stop_is_never_claimed() -> None:
    asked = accepted(cancel_requested=True)

    assert change(asked, claimed()).effect is Effect.STALE
    assert change(accepted(), claimed()).effect is Effect.APPLIED


@pytest.mark.parametrize("news", [Answered(1, REFUSED), GivenBack(1, "stopping")], ids=["refused", "given back"])
@pytest.mark.parametrize("life", ["submitting", "unconfirmed"])
def test_what_is_proven_unsent_after_a_cancel_is_canceled(life: str, news: News) -> None:
    assert change(stopping(LIVES[life]()), news).after.job.state is JobState.CANCELED
    assert change(LIVES[life](), news).after.job.state is JobState.QUEUED


def test_a_canceled_job_keeps_the_pictures_and_credits_of_its_task() -> None:
    life = change(stopping(running()), checked(SUCCESS)).after

    assert (life.job.state, life.job.images, life.job.error) == (JobState.CANCELED, PICTURES, None)
    assert life.credits == Credits(0, 5, 0)


def test_a_cancel_is_asked_for_once() -> None:
    assert change(stopping(running()), CancelAsked()).effect is Effect.STALE


@pytest.mark.parametrize("life", [succeeded, failed])
def test_a_settled_job_refuses_a_cancel(life: Callable[[], Life]) -> None:
    assert change(life(), CancelAsked()).effect is Effect.REFUSED


# --- a poke is not overwritten --------------------------------------------------------------------------------------------


def _claimed_for_a_check(began_at: datetime) -> Life:
    return running().with_submission(replace(running().submission(1), checked_at=began_at))


@pytest.mark.parametrize("reading", [GOING, NotFound(), NOTHING])
def test_a_callback_during_a_check_is_looked_after(reading: Reading) -> None:
    began_at = NOW
    life = _claimed_for_a_check(began_at)
    poked = after(life, CalledBack(1, None), at=NOW + seconds(5))
    read = after(poked, checked(reading, began_at=began_at), at=NOW + seconds(9))

    assert read.submission(1).check_at == NOW + seconds(5)


def test_a_callback_before_the_check_began_is_done_with_it() -> None:
    poked = after(running(), CalledBack(1, None), at=NOW)
    read = after(poked, checked(GOING, began_at=NOW + seconds(1)), at=NOW + seconds(2))

    assert read.submission(1).check_at > NOW + seconds(2)


def test_a_callback_during_the_last_look_saves_the_job_until_the_next() -> None:
    deadline = SENT_AT + POLICY.job_deadline
    poked = after(running(), CalledBack(1, None), at=deadline + seconds(1))
    looked = after(poked, checked(GOING, began_at=deadline), at=deadline + seconds(5))

    assert (looked.job.state, looked.submission(1).check_at) == (JobState.RUNNING, deadline + seconds(1))
    next_look = checked(GOING, began_at=deadline + seconds(6))
    assert after(looked, next_look, at=deadline + seconds(7)).job.state is JobState.FAILED
    assert after(running(), checked(GOING, began_at=deadline), at=deadline).job.state is JobState.FAILED


def test_a_callback_during_the_sixth_404_saves_the_job_until_the_next() -> None:
    began_at = SENT_AT + minutes(12)
    missed = replace(running().submission(1), not_found_count=POLICY.lost_count - 1, not_found_since=SENT_AT + minutes(2))
    life = running().with_submission(missed)
    poked = after(life, CalledBack(1, None), at=began_at)

    def state(life: Life, began_at: datetime) -> JobState:
        gone = checked(NotFound(), began_at=began_at, others_answer=True)
        return after(life, gone, at=began_at + seconds(1)).job.state

    assert state(life, began_at) is JobState.FAILED
    assert state(poked, began_at) is JobState.RUNNING
    assert state(poked, began_at + seconds(2)) is JobState.FAILED


def test_checks_of_one_submission_are_two_seconds_apart_however_many_callbacks_come() -> None:
    life = _claimed_for_a_check(NOW)
    flooded = after(life, *(CalledBack(1, TASK) for _ in range(50)), at=NOW + seconds(0.1))

    assert flooded.submission(1).check_at == NOW + POLICY.check_spacing


# --- deadlines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("life", [accepted, queued_again])
def test_a_job_that_waits_too_long_in_the_queue_fails(life: Callable[[], Life]) -> None:
    dropped = change(life(), QueueDeadlinePassed()).after

    assert dropped.job.state is JobState.FAILED
    assert dropped.job.error == JobError(ErrorCode.UPSTREAM_UNAVAILABLE, "It was not accepted before its queue deadline."), (
        "it may have been sent, and refused"
    )


def test_a_candidate_does_not_keep_a_job_in_the_queue_for_ever() -> None:
    """Neither shut gates nor failing checks may hold a job that waits: promise 2."""
    life = after(queued_again(), CalledBack(1, "forged"))
    at = SENT_AT + POLICY.hard_deadline
    assert change(life, QueueDeadlinePassed(), at).effect is Effect.STALE, "while it is unread"

    life = after(looked_at(life, at), checked(NOTHING, "forged", began_at=at), BooksDue(1), at=at)
    assert (life.job.state, life.submission(1).candidates, life.submission(1).due_at) == (JobState.QUEUED, (), None)
    assert life.submission(1).outcome is Outcome.RELEASED, "it was proven, and stays so"
    assert change(life, QueueDeadlinePassed(), at).after.job.state is JobState.FAILED


def test_the_last_look_must_be_answered() -> None:
    deadline = SENT_AT + POLICY.job_deadline

    def at_the_deadline(reading: Reading) -> JobState:
        return after(running(), checked(reading, began_at=deadline), at=deadline + seconds(1)).job.state

    assert at_the_deadline(NOTHING) is JobState.RUNNING
    assert at_the_deadline(GOING) is JobState.FAILED
    assert at_the_deadline(SUCCESS) is JobState.SUCCEEDED


def test_a_check_that_began_before_the_deadline_is_not_the_last() -> None:
    deadline = SENT_AT + POLICY.job_deadline
    life = after(running(), checked(GOING, began_at=deadline - seconds(1)), at=deadline + seconds(1))

    assert life.job.state is JobState.RUNNING


def test_the_hard_deadline_ends_a_job_that_nobody_can_read() -> None:
    at = SENT_AT + POLICY.hard_deadline
    life = change(looked_at(running(), at), HardDeadlinePassed(1), at).after

    assert change(running(), HardDeadlinePassed(1), at).effect is Effect.STALE, "nobody has looked"
    assert life.job.error.code is ErrorCode.DEADLINE_EXCEEDED
    assert life.submission(1).is_open, "its books close by their own clock"


def test_a_younger_submission_holds_off_the_hard_deadline_of_an_older_one() -> None:
    at = SENT_AT + POLICY.hard_deadline
    life = looked_at(running_beside_a_lost_one(), at)
    younger = life.with_submission(replace(life.submission(2), sent_at=NOW))

    assert change(younger, HardDeadlinePassed(1), at).effect is Effect.STALE
    assert change(life, HardDeadlinePassed(1), at).effect is Effect.APPLIED


def test_spent_attempts_fail_the_job_and_what_was_never_sent_is_no_attempt() -> None:
    policy = replace(POLICY, submit_attempts=2)
    life = after(accepted(), claimed(), GivenBack(1, "stopping"), claimed(), Answered(2, REFUSED), claimed(), policy=policy)
    assert (life.job.state, life.attempts) == (JobState.SUBMITTING, 2)

    life = after(life, Answered(3, REFUSED), policy=policy)

    assert life.job.error.code is ErrorCode.UPSTREAM_UNAVAILABLE
    assert life.job.error.retryable


def test_a_rejected_request_is_not_sent_again_and_not_worth_a_retry() -> None:
    life = change(submitting(), Answered(1, Rejected("Invalid size"))).after

    assert life.job.error == JobError(ErrorCode.UPSTREAM_REJECTED, "Invalid size")
    assert not life.job.error.retryable
    assert ErrorCode.SUBMISSION_UNCONFIRMED in RETRYABLE


def test_a_refusal_that_asks_for_patience_is_given_it() -> None:
    patience = Refused(Refusal.THROTTLED, "slow down", retry_after=minutes(20))

    assert change(submitting(), Answered(1, patience)).after.job.due_at == NOW + minutes(20)
    assert change(submitting(), Answered(1, REFUSED)).after.job.due_at == NOW + seconds(1)


# --- a failed check is never a failed job ---------------------------------------------------------------------------------


def test_a_check_without_an_answer_reschedules_however_often() -> None:
    life = running()
    for i in range(200):
        life = after(life, checked(NOTHING, began_at=NOW + minutes(i)), at=NOW + minutes(i))
        assert life.submission(1).due_at is not None

    assert life.job.state is JobState.RUNNING


def test_a_404_for_a_young_task_reschedules_and_is_not_counted() -> None:
    at = SENT_AT + seconds(30)
    s = after(running(), checked(NotFound(), began_at=at), at=at).submission(1)

    assert s.not_found_count == 0
    assert s.check_at is not None


def test_a_task_is_lost_after_six_404s_over_ten_minutes_while_others_answer() -> None:
    def missed(times: int, every: float, *, others_answer: bool = True) -> JobState:
        life = running()
        for i in range(times):
            at = SENT_AT + minutes(2) + i * seconds(every)
            life = after(life, checked(NotFound(), began_at=at, others_answer=others_answer), at=at)
        return life.job.state

    assert missed(6, 120) is JobState.FAILED
    assert missed(5, 150) is JobState.RUNNING, "not often enough"
    assert missed(20, 31) is JobState.RUNNING, "not long enough"
    assert missed(6, 120, others_answer=False) is JobState.RUNNING, "the upstream knows nobody"


def test_a_task_is_young_from_its_answer_on_and_pokes_do_not_keep_it_so() -> None:
    answered_late = after(unconfirmed(), Answered(1, Accepted(TASK)), at=NOW)

    def missed(life: Life, at: datetime) -> int:
        poked = after(life, CalledBack(1, None), at=at - seconds(2))
        return after(poked, checked(NotFound(), began_at=at - seconds(1)), at=at).submission(1).not_found_count

    assert missed(answered_late, NOW + POLICY.young - seconds(1)) == 0
    assert missed(answered_late, NOW + POLICY.young) == 1
    assert missed(running(), SENT_AT + POLICY.young) == 1


def test_a_task_that_is_found_again_was_not_lost() -> None:
    missed = after(running(), checked(NotFound()), at=NOW)
    found = after(missed, checked(GOING), at=NOW)

    assert missed.submission(1).not_found_count == 1
    assert (found.submission(1).not_found_count, found.submission(1).not_found_since) == (0, None)


def test_a_failed_task_fails_its_job_only_when_no_other_submission_is_open() -> None:
    fails = checked(TaskFailed("no", 0))

    assert change(running(), fails).after.job.state is JobState.FAILED
    assert change(running_beside_an_unanswered_one(), fails).after.job.state is JobState.SUBMITTING
    assert change(running_beside_a_lost_one(), fails).after.job.state is JobState.UNCONFIRMED


def _two_tasks() -> Life:
    """Only an upstream that answers 500 after accepting brings this about."""
    return after(running_beside_an_unanswered_one(), Answered(2, Accepted("task-2")), at=SENT_AT + seconds(11))


def test_of_two_tasks_the_job_fails_only_when_each_had_its_last_look() -> None:
    deadline = SENT_AT + POLICY.job_deadline
    at = deadline + seconds(5)
    first = checked(GOING, began_at=deadline)
    second = checked(GOING, "task-2", 2, began_at=deadline + seconds(1))
    waiting = after(looked_at(_two_tasks(), deadline), first, at=at)

    assert waiting.job.state is JobState.RUNNING, "the second may be done"
    assert after(looked_at(_two_tasks(), deadline - seconds(1), 2), first, at=at).job.state is JobState.RUNNING
    assert after(looked_at(waiting, second.began_at, 2), second, at=at).job.state is JobState.FAILED
    assert after(waiting, checked(SUCCESS, "task-2", 2), at=at).job.state is JobState.SUCCEEDED


def test_of_two_tasks_a_lost_one_does_not_fail_the_job_before_the_other_had_its_last_look() -> None:
    both = _two_tasks()
    missed = replace(both.submission(1), not_found_count=POLICY.lost_count, not_found_since=SENT_AT + minutes(2))
    gone = checked(NotFound(), began_at=SENT_AT + minutes(20), others_answer=True)

    assert after(both.with_submission(missed), gone, at=gone.began_at).job.state is JobState.RUNNING
    alone = replace(both.submission(2), outcome=Outcome.FAILED, credits=0)
    assert after(both.with_submission(missed).with_submission(alone), gone, at=gone.began_at).job.state is JobState.FAILED


def test_a_candidate_of_an_earlier_submission_does_not_hold_back_a_later_ones_end() -> None:
    """Known, and accepted: only an upstream that answers 500 after accepting gets here. Its credits are booked all the same."""
    life = after(queued_again(), CalledBack(1, TASK), claimed(), Answered(2, Rejected("Invalid size")))
    late = after(life, checked(SUCCESS), at=NOW)

    assert life.job.error == JobError(ErrorCode.UPSTREAM_REJECTED, "Invalid size")
    assert (late.job, late.credits) == (life.job, Credits(0, 5, 0))


def test_what_settled_a_job_is_told() -> None:
    assert change(running(), checked(SUCCESS, poked=True)).after.job.completed_via is CompletedVia.CALLBACK
    assert change(running(), checked(SUCCESS)).after.job.completed_via is CompletedVia.POLL


# --- the figures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "figures"),
    {
        "queued": Credits(reserved=5, consumed=0, unresolved=0),
        "submitting": Credits(5, 0, 0),
        "unconfirmed": Credits(0, 0, 5),
        "running": Credits(5, 0, 0),
        "succeeded": Credits(0, 5, 0),
        "failed": Credits(0, 0, 5),
        "canceled": Credits(0, 0, 5),
        "running, #2 unanswered": Credits(10, 0, 0),
        "running, #2 lost": Credits(10, 0, 0),
    }.items(),
)
def test_credits_are_sums_over_the_submissions(situation: str, figures: Credits) -> None:
    assert LIVES[situation]().credits == figures


def test_a_success_that_names_no_price_costs_the_price_and_a_failure_nothing() -> None:
    unpriced = replace(SUCCESS, credits=None)

    assert change(running(), checked(unpriced)).after.credits.consumed == 5
    assert change(running(), checked(TaskFailed("no", None))).after.credits == Credits(0, 0, 0)
    assert change(running(), checked(TaskFailed("no", 5))).after.credits == Credits(0, 5, 0)


def test_a_write_off_ends_what_was_unresolved() -> None:
    at = SENT_AT + POLICY.hard_deadline

    assert canceled().credits == Credits(0, 0, 5)
    assert change(looked_at(canceled(), at), BooksDue(1), at).after.credits == Credits(0, 0, 0)


def test_attempts_count_sends_and_unproven_ones_may_have_been_accepted() -> None:
    life = after(queued_again(), claimed(), Answered(2, Unproven("timeout")))

    assert (life.attempts, life.unproven) == (2, 1)


def test_the_task_to_show_is_the_one_that_settled_the_job() -> None:
    both = after(running_beside_an_unanswered_one(), Answered(2, Accepted("task-2")))
    settled = after(both, checked(SUCCESS), checked(SUCCESS, "task-2", 2), at=NOW)

    assert both.task is not None
    assert both.task.task_id == "task-2"
    assert settled.task is not None
    assert settled.task.task_id == TASK
    assert settled.credits == Credits(0, 10, 0)


# --- the chart ------------------------------------------------------------------------------------------------------------


def test_the_chart_in_the_docs_is_the_chart_of_the_code() -> None:
    page = Path(__file__).parents[2] / "docs" / "lifecycle.md"
    arrows = re.findall(r"^\s*(\w+)\s*-->\s*(\w+)\s*:", page.read_text("utf-8"), re.MULTILINE)

    assert {(JobState(a), JobState(b)) for a, b in arrows} == {(a, b) for a, bs in EDGES.items() for b in bs}
