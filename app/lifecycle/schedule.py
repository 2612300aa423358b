"""When to look again. Pure: instants and a policy in, an instant out."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.lifecycle import news
from app.lifecycle.job import Life, Submission
from app.lifecycle.policy import Policy
from app.lifecycle.spread import spread
from app.lifecycle.states import JobState

#: Right after a callback the status endpoint may lag a little; look again soon, then at ease.
AFTER_A_CALLBACK = tuple(timedelta(seconds=s) for s in (1, 2, 5, 10))


def wait_until(s: Submission, policy: Policy) -> datetime:
    """Until when an unconfirmed submission waits for its callback, which comes or does not whether or not checks are possible.

    Without a public address nobody will call back: there is nothing to wait for after the lease.
    """
    return s.sent_at + (policy.unconfirmed_wait if policy.callbacks_expected else policy.lease)


def deadline(s: Submission, policy: Policy) -> datetime:
    """After this, the next answered check is the last."""
    return s.sent_at + s.excused + policy.job_deadline


def hard_deadline(s: Submission, policy: Policy) -> datetime:
    """After this, nobody waits for an answer any more, and the books close."""
    return s.sent_at + s.excused + policy.hard_deadline


def is_young(s: Submission, now: datetime, policy: Policy) -> bool:
    """Whether the upstream may not know the task yet: a 404 says nothing of it."""
    return now - max(s.sent_at, s.answered_at or s.sent_at) < policy.young


def next_check(s: Submission, now: datetime, policy: Policy) -> datetime:
    """When to check again after a check that settled nothing.

    The interval doubles from `poll_min` to `poll_max`; right after a callback it is short. It is spread by up to a fifth, by a
    hash of the submission rather than by chance, so that the same past gives the same future.
    """
    if s.poked_at is not None and s.checks < len(AFTER_A_CALLBACK):
        interval = AFTER_A_CALLBACK[s.checks]
    else:
        interval = min(policy.poll_min * 2 ** min(s.checks, 16), policy.poll_max)
    return now + max(interval * (0.9 + 0.2 * _spread(s)), policy.check_spacing)


def retry_at(attempts: int, now: datetime, policy: Policy) -> datetime:
    """When a job that was proven not accepted may be sent again."""
    pause: timedelta = policy.retry_min * 2 ** min(max(attempts - 1, 0), 16)
    return now + min(pause, policy.retry_max)


def due_at(life: Life, s: Submission, policy: Policy) -> datetime | None:
    """The next instant at which anything can be due for this submission; None when nothing can change any more."""
    moments = [s.check_at] if s.can_be_checked else []
    if timer := _timer_of(life, s):
        moments.append(_expiry(timer, life, s, policy))
    return min((m for m in moments if m is not None), default=None)


def overdue(life: Life, s: Submission, now: datetime, policy: Policy, *, checks_possible: bool) -> news.Timer | None:
    """The timer that has run out for this submission, if any.

    Only a lease and the wait for a callback run while checks are impossible: the other deadlines promise a last look first. So
    what can be checked must have been looked at since its time was over, however long nobody was there to look.
    """
    timer = _timer_of(life, s)
    if timer is None or not (checks_possible or timer is news.LeaseExpired or _is_mere_wait(timer, life)):
        return None
    expiry = _expiry(timer, life, s, policy)
    if expiry is None or expiry > now:
        return None
    waits_for = life.submissions if timer is news.WaitOver else (s,)
    looked = all(_was_looked_at(o, expiry, policy) for o in waits_for if o.can_be_checked)
    return timer(s.number) if looked or timer is news.LeaseExpired else None


def _was_looked_at(s: Submission, since: datetime, policy: Policy) -> bool:
    """A check began since then, and what it brought was written down: one that died with its process has left its lease."""
    return s.checked_at is not None and s.checked_at >= since and s.due_at != s.checked_at + policy.check_lease


def _timer_of(life: Life, s: Submission) -> type[news.Timer] | None:
    """Which clock runs for this submission: at most one at a time."""
    job, current = life.job, s.number == life.job.submission
    if not s.is_open:
        return news.BooksDue if s.candidates else None
    if job.is_settled:
        return news.BooksDue
    if current and job.state is JobState.SUBMITTING:
        return news.LeaseExpired
    if current and job.state is JobState.UNCONFIRMED:
        return news.WaitOver
    if s.task_id is not None and job.state is JobState.RUNNING:
        return news.HardDeadlinePassed
    return None


def _expiry(timer: type[news.Timer], life: Life, s: Submission, policy: Policy) -> datetime | None:
    if timer is news.LeaseExpired:
        return s.lease_until
    if _is_mere_wait(timer, life):
        return wait_until(s, policy)
    if timer is news.HardDeadlinePassed:  # while a younger submission may still end, the job is not given up
        return max(hard_deadline(other, policy) for other in life.submissions if other.is_open)
    return hard_deadline(s, policy)


def _is_mere_wait(timer: type[news.Timer], life: Life) -> bool:
    """For a callback, that is; where one named a task already, it is the task's answer that is waited for."""
    return timer is news.WaitOver and not any(s.candidates for s in life.submissions)


def _spread(s: Submission) -> float:
    """A number in [0, 1) that is the same for the same submission and check."""
    return spread(s.job_id.bytes + s.number.to_bytes(4) + s.checks.to_bytes(4))
