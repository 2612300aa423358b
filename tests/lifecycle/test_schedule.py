"""When to look again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from lives import (
    ACCEPTED_AT,
    CANDIDATE,
    GOING,
    LIVES,
    NOW,
    POLICY,
    SENT_AT,
    accepted,
    after,
    change,
    checked,
    looked_at,
    minutes,
    queued_again,
    running,
    running_beside_a_lost_one,
    seconds,
    submitting,
    succeeded,
    unconfirmed,
)

from app.lifecycle import schedule
from app.lifecycle.answers import Accepted, NoAnswer, Unproven
from app.lifecycle.job import Life
from app.lifecycle.news import Answered, BooksDue, CalledBack, Claimed, HardDeadlinePassed, LeaseExpired, WaitOver
from app.lifecycle.states import Outcome


def _intervals(life: Life, looks: int, at: datetime = NOW) -> list[float]:
    """How long each of the next looks waits, with a check made at the very moment it is wanted."""
    found = []
    for _ in range(looks):
        life = after(life, checked(GOING, began_at=at), at=at)
        next_at = life.submission(1).check_at
        assert next_at is not None
        found.append((next_at - at).total_seconds())
        at = next_at
    return found


def _overdue(life: Life, at: datetime, *, checks_possible: bool = True) -> object:
    return schedule.overdue(life, life.submission(life.job.submission), at, POLICY, checks_possible=checks_possible)


def test_the_first_look_comes_after_the_grace() -> None:
    assert running().submission(1).check_at == SENT_AT + POLICY.callback_grace


def test_a_task_that_already_called_back_is_looked_at_at_once() -> None:
    life = after(submitting(), CalledBack(1, None), Answered(1, Accepted("task-1")), at=NOW)

    assert life.submission(1).check_at == NOW


def test_the_interval_doubles_from_five_to_sixty_seconds() -> None:
    for found, nominal in zip(_intervals(running(), 8), [5, 10, 20, 40, 60, 60, 60, 60], strict=True):
        assert nominal * 0.9 <= found <= nominal * 1.1


def test_right_after_a_callback_looks_are_close_but_never_under_two_seconds() -> None:
    poked = after(running(), CalledBack(1, None), at=NOW)

    for found, nominal in zip(_intervals(poked, 5, NOW + seconds(1)), [2, 2, 5, 10, 60], strict=True):
        assert max(2, nominal * 0.9) <= found <= nominal * 1.1


def test_the_same_past_gives_the_same_future_and_submissions_are_spread() -> None:
    s = running().submission(1)
    later = [schedule.next_check(replace(s, number=i, checks=6), NOW, POLICY) for i in range(1, 200)]

    assert schedule.next_check(s, NOW, POLICY) == schedule.next_check(s, NOW, POLICY)
    assert len(set(later)) > 150
    assert min(later) >= NOW + seconds(54)
    assert max(later) <= NOW + seconds(66)


def test_a_long_row_of_checks_does_not_overflow() -> None:
    s = replace(running().submission(1), checks=10_000_000)

    assert schedule.next_check(s, NOW, POLICY) <= NOW + POLICY.poll_max * 1.1


def test_pauses_between_sends_double_up_to_five_minutes() -> None:
    pauses = [(schedule.retry_at(n, NOW, POLICY) - NOW).total_seconds() for n in (0, 1, 2, 3, 8, 9, 10, 1_000)]

    assert pauses == [1, 1, 2, 4, 128, 256, 300, 300]


@pytest.mark.parametrize(
    ("situation", "timer", "expiry"),
    [
        ("submitting", LeaseExpired(1), POLICY.lease),
        ("unconfirmed", WaitOver(1), POLICY.unconfirmed_wait),
        ("running", HardDeadlinePassed(1), POLICY.hard_deadline),
        ("failed", BooksDue(1), POLICY.hard_deadline),
        ("canceled", BooksDue(1), POLICY.hard_deadline),
    ],
)
def test_each_clock_runs_out_at_its_instant_and_not_before(situation: str, timer: object, expiry: timedelta) -> None:
    at = SENT_AT + expiry
    life = looked_at(LIVES[situation](), at)

    assert _overdue(life, at - timedelta(microseconds=1)) is None
    assert _overdue(life, at) == timer


def _named(life: Life) -> Life:
    return after(life, CalledBack(1, CANDIDATE))


@pytest.mark.parametrize(
    ("life", "timer"),
    [(running(), HardDeadlinePassed(1)), (_named(unconfirmed()), WaitOver(1)), (LIVES["canceled"](), BooksDue(1)),
     (_named(LIVES["failed"]()), BooksDue(1)), (_named(queued_again()), BooksDue(1))],
    ids=["running", "unconfirmed", "settled, its task known", "settled, a task named", "queued, a task named"],
)  # fmt: skip
def test_a_gateway_that_was_off_for_two_days_looks_once_before_it_gives_up(life: Life, timer: object) -> None:
    at, expiry = SENT_AT + timedelta(days=2), SENT_AT + POLICY.hard_deadline
    early = looked_at(life, expiry - timedelta(microseconds=1))

    for unseen in (life, early):
        assert _overdue(unseen, at) is None
        assert unseen.submission(1).due_at <= at, "yet somebody comes, to look"
    assert _overdue(looked_at(life, expiry), at) == timer
    assert _overdue(looked_at(life, at), at) == timer


def test_a_look_that_died_with_its_process_was_none() -> None:
    at, expiry = SENT_AT + timedelta(days=2), SENT_AT + POLICY.hard_deadline
    life = looked_at(running(), expiry)
    died = life.with_submission(replace(life.submission(1), due_at=expiry + POLICY.check_lease))

    assert _overdue(life, at) == HardDeadlinePassed(1)
    assert _overdue(died, at) is None


def test_a_lease_waits_for_no_look() -> None:
    assert _overdue(_named(submitting()), SENT_AT + timedelta(days=2)) == LeaseExpired(1)


@pytest.mark.parametrize("life", [queued_again, submitting, running, LIVES["failed"]])
def test_a_closed_submission_with_a_candidate_has_a_clock_whatever_the_jobs_state(life: Callable[[], Life]) -> None:
    s = replace(life().submission(1), outcome=Outcome.RELEASED, task_id=None, candidates=(CANDIDATE,), check_at=None)
    closed = looked_at(life().with_submission(s), SENT_AT + POLICY.hard_deadline)

    assert schedule.due_at(closed, closed.submission(1), POLICY) == SENT_AT + POLICY.hard_deadline
    assert _overdue(closed, SENT_AT + POLICY.hard_deadline) == BooksDue(1)


def test_the_hard_deadline_of_a_job_is_the_latest_of_its_open_submissions() -> None:
    life = running_beside_a_lost_one()
    younger = looked_at(life.with_submission(replace(life.submission(2), sent_at=NOW)), NOW + timedelta(days=3))
    closed = younger.with_submission(replace(younger.submission(2), outcome=Outcome.RELEASED))

    def overdue(life: Life, at: datetime) -> object:
        return schedule.overdue(life, life.submission(1), at, POLICY, checks_possible=True)

    assert overdue(younger, SENT_AT + POLICY.hard_deadline) is None
    assert overdue(younger, NOW + POLICY.hard_deadline) == HardDeadlinePassed(1)
    assert overdue(closed, SENT_AT + POLICY.hard_deadline) == HardDeadlinePassed(1)


@pytest.mark.parametrize("life", [succeeded, queued_again])
def test_no_clock_runs_for_closed_books(life: Callable[[], Life]) -> None:
    assert _overdue(life(), SENT_AT + timedelta(days=999)) is None
    assert life().submission(1).due_at is None


def test_only_a_lease_and_the_wait_for_a_callback_run_while_checks_are_impossible() -> None:
    at = SENT_AT + timedelta(days=2)

    assert _overdue(submitting(), at, checks_possible=False) == LeaseExpired(1)
    assert _overdue(unconfirmed(), at, checks_possible=False) == WaitOver(1)
    for unseen in (running(), _named(unconfirmed()), LIVES["failed"](), LIVES["canceled"]()):
        life = looked_at(unseen, at)
        assert _overdue(life, at, checks_possible=False) is None
        assert _overdue(life, at) is not None


@pytest.mark.parametrize("situation", ["unconfirmed", "running", "failed"])
def test_excused_time_moves_the_deadlines_and_not_the_wait_for_a_callback(situation: str) -> None:
    life = LIVES[situation]()
    hours = timedelta(hours=3)
    excused = life.with_submission(replace(life.submission(1), excused=hours))
    s, was = excused.submission(1), life.submission(1)

    for moment in (schedule.deadline, schedule.hard_deadline):
        assert moment(s, POLICY) == moment(was, POLICY) + hours
    assert schedule.wait_until(s, POLICY) == schedule.wait_until(was, POLICY)


def test_an_excused_job_is_not_given_up_at_its_old_deadline() -> None:
    life = running()
    excused = life.with_submission(replace(life.submission(1), excused=timedelta(hours=3)))
    late = checked(GOING, began_at=SENT_AT + POLICY.job_deadline)

    assert not change(excused, late, late.began_at).after.job.is_settled
    assert change(life, late, late.began_at).after.job.is_settled


def test_without_a_public_address_nobody_waits_for_a_callback_longer_than_the_lease() -> None:
    private = replace(POLICY, callbacks_expected=False)
    life = after(submitting(), Answered(1, Unproven("timeout")), policy=private)

    assert schedule.wait_until(life.submission(1), private) == SENT_AT + POLICY.lease
    assert life.submission(1).due_at == SENT_AT + POLICY.lease
    assert unconfirmed().submission(1).due_at == SENT_AT + POLICY.unconfirmed_wait


@pytest.mark.parametrize("situation", LIVES)
def test_what_can_still_change_is_due_and_not_before_it_must(situation: str) -> None:
    life = LIVES[situation]()
    for s in life.submissions:
        assert s.due_at == schedule.due_at(life, s, POLICY)
        at = SENT_AT + timedelta(days=40)
        if schedule.overdue(life, s, at, POLICY, checks_possible=True) or s.can_be_checked:
            assert s.due_at is not None


def test_the_earlier_of_check_and_clock_is_what_is_due() -> None:
    named = after(submitting(), CalledBack(1, CANDIDATE), at=SENT_AT + seconds(5))
    far = running().with_submission(replace(running().submission(1), check_at=SENT_AT + timedelta(days=2)))

    assert named.submission(1).due_at == SENT_AT + seconds(5)
    assert schedule.due_at(far, far.submission(1), POLICY) == SENT_AT + POLICY.hard_deadline


def test_a_claim_is_due_when_its_lease_ends() -> None:
    life = change(accepted(), Claimed(b"hash"), ACCEPTED_AT).after

    assert life.submission(1).lease_until == life.submission(1).due_at == ACCEPTED_AT + POLICY.lease
    assert life.job.due_at is None, "it is no longer in the queue"


def test_a_check_that_failed_waits_as_long_as_one_that_was_answered() -> None:
    answered = change(running(), checked(GOING)).after.submission(1)
    failed = change(running(), checked(NoAnswer("timeout"))).after.submission(1)

    assert answered.check_at == failed.check_at
    assert NOW + seconds(4) < answered.check_at < NOW + minutes(1)


def test_a_check_that_is_asked_for_patience_waits_as_long_as_asked_and_never_shorter() -> None:
    def next_check(retry_after: timedelta) -> datetime | None:
        asked = NoAnswer("429", retry_after=retry_after)
        return change(running(), checked(asked)).after.submission(1).check_at

    assert next_check(minutes(20)) == NOW + minutes(20)
    assert next_check(seconds(1)) == change(running(), checked(NoAnswer("429"))).after.submission(1).check_at
