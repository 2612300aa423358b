"""The real `decide` with one rule taken away, each by changing what goes in or what comes out. The model must catch each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from job_model import CountHeld, Decide, Environment, Overdue

from app.lifecycle import news as n
from app.lifecycle import schedule
from app.lifecycle.answers import Accepted, NotFound, Refusal, Refused, StillGoing, Succeeded, TaskFailed, Unproven
from app.lifecycle.job import JobError, Life
from app.lifecycle.policy import Policy
from app.lifecycle.states import IN_FLIGHT, ErrorCode, JobState, Outcome
from app.lifecycle.transitions import Change, Effect, decide


@dataclass(frozen=True, kw_only=True)
class BrokenRule:
    """A rule taken away, where, and the kinds of violation of which at least one must be found."""

    env: Environment
    caught_as: frozenset[str]
    decide: Decide = decide
    overdue: Overdue = schedule.overdue
    held: CountHeld | None = None


def requeued_when_its_lease_expires(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    change = decide(life, news, now, policy)
    if isinstance(news, n.LeaseExpired) and change.after.job.state is JobState.UNCONFIRMED:
        return _with_job(change, state=JobState.QUEUED, due_at=now)
    return change


def answers_after_the_lease_are_dropped(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    if isinstance(news, n.Answered) and not life.submission(news.number).is_unanswered:
        return _nothing(life)
    return decide(life, news, now, policy)


def answers_to_a_settled_job_are_dropped(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    if isinstance(news, n.Answered) and life.job.is_settled:
        return _nothing(life)
    return decide(life, news, now, policy)


def checks_end_with_the_job(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    if isinstance(news, n.Checked) and life.job.is_settled:
        return _nothing(life)
    return decide(life, news, now, policy)


def callbacks_are_believed(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    if isinstance(news, n.CalledBack) and news.task_id is not None:
        s = life.submission(news.number)
        if s.is_open and s.task_id is None:
            return decide(life, n.Answered(news.number, Accepted(news.task_id)), now, policy)
    return decide(life, news, now, policy)


def candidates_are_adopted_unseen(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    if isinstance(news, n.Checked):
        news = replace(news, matches=True, task_taken=False)
    return decide(life, news, now, policy)


def a_cancel_does_not_stop_a_resend(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    sending = isinstance(news, n.Claimed) or (isinstance(news, n.Answered) and isinstance(news.answer, Refused))
    if sending and life.job.cancel_requested and not life.job.is_settled:
        change = decide(life.with_job(replace(life.job, cancel_requested=False)), news, now, policy)
        return _with_job(change, cancel_requested=True)
    return decide(life, news, now, policy)


def a_check_overwrites_a_poke(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    if not isinstance(news, n.Checked):
        return decide(life, news, now, policy)
    s = life.submission(news.number)
    change = decide(life.with_submission(replace(s, poked_at=None)), news, now, policy)
    return replace(change, after=change.after.with_submission(replace(change.after.submission(s.number), poked_at=s.poked_at)))


def a_404_of_a_candidate_fails_the_job(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    change = decide(life, news, now, policy)
    if isinstance(news, n.Checked) and isinstance(news.reading, NotFound) and not life.job.is_settled:
        error = JobError(ErrorCode.TASK_LOST, "404")
        return _with_job(change, state=JobState.FAILED, error=error, finished_at=now, due_at=None)
    return change


def nothing_is_written_off(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    return _nothing(life) if isinstance(news, n.BooksDue) else decide(life, news, now, policy)


def no_queue_deadline(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    return _nothing(life) if isinstance(news, n.QueueDeadlinePassed) else decide(life, news, now, policy)


def no_hard_deadline(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    return _nothing(life) if isinstance(news, n.HardDeadlinePassed) else decide(life, news, now, policy)


def a_lost_answer_counts_as_unsent(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    if isinstance(news, n.Answered) and isinstance(news.answer, Unproven):
        news = n.Answered(news.number, Refused(Refusal.NOT_CONNECTED, "timeout"))
    return decide(life, news, now, policy)


def a_settled_job_is_settled_again(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    ends = isinstance(news, n.Checked) and isinstance(news.reading, Succeeded | TaskFailed)
    if ends and life.job.state is JobState.FAILED:
        revived = replace(life.job, state=JobState.RUNNING, error=None, finished_at=None)
        return decide(life.with_job(revived), news, now, policy)
    return decide(life, news, now, policy)


def going_at_the_deadline_of_a_settled_job_fails_it(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    if isinstance(news, n.Checked) and isinstance(news.reading, StillGoing) and life.job.state is JobState.CANCELED:
        change = decide(life, news, now, policy)
        return _with_job(change, state=JobState.FAILED, error=JobError(ErrorCode.DEADLINE_EXCEEDED, "late"))
    return decide(life, news, now, policy)


def proofs_do_not_close_a_submission(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    """The job goes back to the queue, but the books stay open: two open entries for one picture."""
    change = decide(life, news, now, policy)
    if isinstance(news, n.Answered) and isinstance(news.answer, Refused):
        s = change.after.submission(news.number)
        if s.outcome is Outcome.RELEASED:
            return replace(change, after=change.after.with_submission(replace(s, outcome=Outcome.OPEN, closed_at=None)))
    return change


def the_wait_ignores_candidates(life: Life, s: Any, now: datetime, policy: Policy, *, checks_possible: bool) -> n.Timer | None:
    forgetful = _without_candidates(life)
    timer = schedule.overdue(forgetful, forgetful.submission(s.number), now, policy, checks_possible=checks_possible)
    return timer or schedule.overdue(life, s, now, policy, checks_possible=checks_possible)


def the_end_of_the_wait_ignores_candidates(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    """As the row is locked: a callback that came since the timer was seen is overlooked."""
    if not isinstance(news, n.WaitOver):
        return decide(life, news, now, policy)
    change = decide(_without_candidates(life), news, now, policy)
    kept = tuple(
        replace(s, candidates=was.candidates) for s, was in zip(change.after.submissions, life.submissions, strict=True)
    )
    return replace(change, after=Life(change.after.job, kept))


def nobody_needs_to_look(life: Life, s: Any, now: datetime, policy: Policy, *, checks_possible: bool) -> n.Timer | None:
    seen = _looked_at(life, now)
    return schedule.overdue(seen, seen.submission(s.number), now, policy, checks_possible=checks_possible)


def it_is_given_up_unseen(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    timer = isinstance(news, n.WaitOver | n.HardDeadlinePassed | n.BooksDue)
    return decide(_looked_at(life, now) if timer else life, news, now, policy)


def a_last_look_overrules_a_poke(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    change = decide(life, news, now, policy)
    if isinstance(news, n.Checked) and isinstance(news.reading, StillGoing | NotFound):
        unpoked = life.with_submission(replace(life.submission(news.number), poked_at=None))
        overruled = decide(unpoked, news, now, policy)
        return overruled if overruled.after.job.is_settled and not life.job.is_settled else change
    return change


def one_tasks_last_look_is_enough(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    return decide(_looked_at(life, now) if isinstance(news, n.Checked) else life, news, now, policy)


def a_proof_is_forgotten_while_a_candidate_is_unread(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    change = decide(life, news, now, policy)
    forgetful = tuple(replace(s, refusal=None) for s in change.after.submissions)
    return replace(change, after=Life(change.after.job, forgetful))


def a_dropped_candidate_frees_nothing(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    if isinstance(news, n.Checked):
        proofless = Life(life.job, tuple(replace(s, refusal=None) for s in life.submissions))
        change = decide(proofless, news, now, policy)
        pairs = zip(change.after.submissions, life.submissions, strict=True)
        return replace(change, after=Life(change.after.job, tuple(replace(s, refusal=was.refusal) for s, was in pairs)))
    return decide(life, news, now, policy)


def candidates_of_what_is_closed_have_no_clock(
    life: Life, s: Any, now: datetime, policy: Policy, *, checks_possible: bool
) -> n.Timer | None:
    if not s.is_open and not life.job.is_settled:
        return None
    return schedule.overdue(life, s, now, policy, checks_possible=checks_possible)


def checks_end_with_the_write_off(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    if isinstance(news, n.Checked) and life.submission(news.number).outcome is Outcome.WRITTEN_OFF:
        return _nothing(life)
    return decide(life, news, now, policy)


def nobody_ends_the_wait(life: Life, s: Any, now: datetime, policy: Policy, *, checks_possible: bool) -> n.Timer | None:
    timer = schedule.overdue(life, s, now, policy, checks_possible=checks_possible)
    return None if isinstance(timer, n.WaitOver) else timer


def open_jobs(lives: list[Life]) -> int:
    """A job that was given up holds no permit, although its task may still run."""
    return sum(life.job.state in IN_FLIGHT for life in lives)


_ONE = Environment(sends=2, give_back=False)
_CANCELED = Environment(sends=2, cancel=True, give_back=False)
_TWO = Environment(jobs=2, sends=1, forged=1, plain=True, sleepers=False, give_back=False)
_FORGED = Environment(sends=2, forged=1, give_back=False)
_LATE = Environment(sends=1, held=True, give_back=False)
_LYING = Environment(sends=2, lying=True, sleepers=False, give_back=False)
_ONE_SLOT = Environment(jobs=2, sends=1, slots=1, plain=True, sleepers=False, give_back=False)

BROKEN_RULES: dict[str, BrokenRule] = {
    name: BrokenRule(env=env, caught_as=frozenset(kinds.split()), **changed)
    for name, env, kinds, changed in (
        ("a job is queued again when its lease expires", _ONE, "DUP", {"decide": requeued_when_its_lease_expires}),
        ("a lost answer counts as unsent", _ONE, "DUP", {"decide": a_lost_answer_counts_as_unsent}),
        ("answers after the lease are dropped", _ONE, "DROP", {"decide": answers_after_the_lease_are_dropped}),
        ("answers to a settled job are dropped", _ONE, "MONEY", {"decide": answers_to_a_settled_job_are_dropped}),
        ("checks end with the job", _ONE, "MONEY", {"decide": checks_end_with_the_job}),
        ("callbacks are believed", _TWO, "WRONG", {"decide": callbacks_are_believed}),
        ("candidates are adopted unseen", _TWO, "WRONG", {"decide": candidates_are_adopted_unseen}),
        ("a cancel does not stop a resend", _CANCELED, "CANCEL", {"decide": a_cancel_does_not_stop_a_resend}),
        ("a check overwrites a poke", _ONE, "POKE", {"decide": a_check_overwrites_a_poke}),
        ("a 404 of a candidate fails the job", _ONE, "DROP", {"decide": a_404_of_a_candidate_fails_the_job}),
        ("nothing is written off", _ONE, "STUCK", {"decide": nothing_is_written_off}),
        ("no queue deadline", _ONE, "SHUT", {"decide": no_queue_deadline}),
        ("no hard deadline", _ONE, "STUCK", {"decide": no_hard_deadline}),
        ("nobody ends the wait", _ONE, "STUCK", {"overdue": nobody_ends_the_wait}),
        (
            "the wait ignores candidates",
            _ONE,
            "DROP",
            {"overdue": the_wait_ignores_candidates, "decide": the_end_of_the_wait_ignores_candidates},
        ),
        ("a timer is not looked at again", _LATE, "DROP", {"decide": the_end_of_the_wait_ignores_candidates}),
        ("it is given up unseen", _ONE, "DROP", {"overdue": nobody_needs_to_look, "decide": it_is_given_up_unseen}),
        ("a last look overrules a poke", _ONE, "POKE", {"decide": a_last_look_overrules_a_poke}),
        ("one task's last look is enough", _LYING, "DROP", {"decide": one_tasks_last_look_is_enough}),
        ("a proof is forgotten", _FORGED, "PROOF", {"decide": a_proof_is_forgotten_while_a_candidate_is_unread}),
        ("a dropped candidate frees nothing", _FORGED, "LAW", {"decide": a_dropped_candidate_frees_nothing}),
        ("closed ones have no clock", _FORGED, "SHUT STUCK", {"overdue": candidates_of_what_is_closed_have_no_clock}),
        ("checks end with the write-off", _CANCELED, "MONEY", {"decide": checks_end_with_the_write_off}),
        ("permits count open jobs", _ONE_SLOT, "OVER", {"held": open_jobs}),
        ("a settled job is settled again", _ONE, "FINAL", {"decide": a_settled_job_is_settled_again}),
        ("a late look fails a canceled job", _CANCELED, "FINAL", {"decide": going_at_the_deadline_of_a_settled_job_fails_it}),
        ("proofs do not close a submission", _ONE, "LAW", {"decide": proofs_do_not_close_a_submission}),
    )
}


def _with_job(change: Change, **changes: Any) -> Change:
    return replace(change, after=change.after.with_job(replace(change.after.job, **changes)), effect=Effect.APPLIED)


def _without_candidates(life: Life) -> Life:
    return Life(life.job, tuple(replace(s, candidates=()) for s in life.submissions))


def _looked_at(life: Life, now: datetime) -> Life:
    return Life(life.job, tuple(replace(s, checked_at=now) for s in life.submissions))


def _nothing(life: Life) -> Change:
    return Change(life, life, Effect.STALE)
