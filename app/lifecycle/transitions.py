"""What a piece of news changes: one pure function from (life, news, now) to a change.

The rules it keeps, and the chart it walks, are told in docs/lifecycle.md; the exhaustive model in tests/model walks it through
every interleaving of two workers, crashes, callbacks, checks and timers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, assert_never

from app.lifecycle import news as n
from app.lifecycle import schedule
from app.lifecycle.answers import (
    Accepted,
    NoAnswer,
    NotFound,
    Refused,
    Rejected,
    StillGoing,
    Succeeded,
    TaskFailed,
    Unproven,
)
from app.lifecycle.job import Job, JobError, Life, Submission
from app.lifecycle.policy import Policy
from app.lifecycle.request import PRICE
from app.lifecycle.states import (
    IN_FLIGHT,
    READ_TO_THE_END,
    CompletedVia,
    ErrorCode,
    JobState,
    Outcome,
)

#: Callbacks of one submission that the timeline tells; a flood is counted, not told.
CALLBACKS_TOLD = 20


class Effect(StrEnum):
    """What became of a piece of news. `STALE` is an ordinary result: somebody else was first."""

    APPLIED = "applied"  #: the job changed its state
    NOTED = "noted"  #: it was recorded; the job is where it was
    STALE = "stale"  #: it no longer applies; nothing changed
    REFUSED = "refused"  #: it was asked for, and something stands against it; the change says what


class Objection(StrEnum):
    """What stands against something that was asked for. The words are codes of the API."""

    ALREADY_SETTLED = "already_settled"  #: a job that is over is not canceled
    NOT_SENT = "not_sent"  #: there is no such submission, or none that may have been accepted yet
    NOTHING_TO_CHECK = "nothing_to_check"  #: it was sent, and nobody has named a task yet
    BOOKS_CLOSED = "books_closed"  #: nothing can change any more
    TASK_KNOWN = "task_known"  #: the submission's task is known already
    TASK_TAKEN = "task_taken"  #: the task is another job's
    TOO_MANY_CANDIDATES = "too_many_candidates"  #: as many are named as may be; checks will drop the wrong ones


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the job's timeline."""

    type: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """The life before and after, what to write on the timeline, and how it went."""

    before: Life
    after: Life
    effect: Effect
    events: tuple[Event, ...] = ()
    objection: Objection | None = None  #: where it was refused


def decide(life: Life, news: n.News, now: datetime, policy: Policy) -> Change:
    """What this news changes in this life, now. Total: every news has a result in every state."""
    draft = _Draft(life, now, policy)
    match news:
        case n.Claimed():
            _claim(draft, news)
        case n.GivenBack():
            _give_back(draft, news)
        case n.Answered():
            _answer(draft, news)
        case n.LeaseExpired() | n.WaitOver() | n.HardDeadlinePassed() | n.BooksDue():
            _expire(draft, news)
        case n.CalledBack():
            _hear(draft, news)
        case n.Checked():
            _check(draft, news)
        case n.CancelAsked() | n.CheckAsked() | n.CandidateNamed():
            _do_as_asked(draft, news)
        case n.QueueDeadlinePassed():
            _leave_queue(draft)
        case _:
            assert_never(news)
    return draft.change()


class _Draft:
    """A life being changed: gathers events, and works out at the end what is due when."""

    def __init__(self, life: Life, now: datetime, policy: Policy) -> None:
        self.before = self.life = life
        self.now, self.policy = now, policy
        self.effect = Effect.STALE
        self.objection: Objection | None = None
        self.events: list[Event] = []

    @property
    def job(self) -> Job:
        return self.life.job

    def sub(self, number: int) -> Submission:
        return self.life.submission(number)

    def is_current(self, number: int) -> bool:
        return number == self.job.submission

    def put(self, number: int, **changes: Any) -> None:
        self.life = self.life.with_submission(replace(self.sub(number), **changes))
        self.noted()

    def close(self, number: int, outcome: Outcome, **changes: Any) -> None:
        """Ends the submission's books; nobody waits for its sender any more."""
        self.put(number, outcome=outcome, closed_at=self.now, lease_until=None, **changes)

    def noted(self) -> None:
        self.effect = self.effect if self.effect is Effect.APPLIED else Effect.NOTED

    def refuse(self, objection: Objection) -> None:
        self.effect, self.objection = Effect.REFUSED, objection

    def tell(self, kind: str, **data: Any) -> None:
        self.events.append(Event(kind, {k: v for k, v in data.items() if v is not None}))

    def move(self, to: JobState, **changes: Any) -> None:
        self.life = self.life.with_job(self.job.moved(to, **changes))
        self.effect = Effect.APPLIED

    def settle(
        self,
        to: JobState,
        *,
        error: JobError | None = None,
        images: tuple[str, ...] = (),
        via: CompletedVia | None = None,
        number: int | None = None,
    ) -> None:
        """The last move. A cancel that was asked for wins over whatever the upstream says."""
        to = JobState.CANCELED if self.job.cancel_requested else to
        self.move(to, error=error, images=images, completed_via=via, finished_at=self.now)
        self.tell(
            to.value, submission=number, via=via, images=len(images) or None,
            code=error.code if error else None, message=error.message if error else None,
        )  # fmt: skip

    def fail(self, code: ErrorCode, message: str, **more: Any) -> None:
        self.settle(JobState.FAILED, error=JobError(code, message), **more)

    def change(self) -> Change:
        if self.effect is Effect.STALE or self.effect is Effect.REFUSED:
            return Change(self.before, self.before, self.effect, (), self.objection)
        job = self.job if self.job == self.before.job else replace(self.job, updated_at=self.now)
        life = self.life.with_job(job)
        timed = tuple(replace(s, due_at=schedule.due_at(life, s, self.policy)) for s in life.submissions)
        return Change(self.before, replace(life, submissions=timed), self.effect, tuple(self.events))


# --- sending -------------------------------------------------------------------------------------------------------------


def _claim(d: _Draft, news: n.Claimed) -> None:
    if d.job.state is not JobState.QUEUED or d.job.cancel_requested:
        return
    number = len(d.life.submissions) + 1
    intent = Submission(
        job_id=d.job.job_id,
        number=number,
        outcome=Outcome.OPEN,
        token_hash=news.token_hash,
        sent_at=d.now,
        lease_until=d.now + d.policy.lease,
        due_at=d.now + d.policy.lease,
    )
    d.life = replace(d.life, submissions=(*d.life.submissions, intent))
    d.move(JobState.SUBMITTING, submission=number, submitted_at=d.now)
    d.tell("submitting", submission=number)


def _give_back(d: _Draft, news: n.GivenBack) -> None:
    s = d.sub(news.number)
    if not s.is_open or s.task_id is not None:
        return
    d.close(s.number, Outcome.UNSENT, candidates=())
    d.tell("given_back", submission=s.number, reason=news.reason)
    if d.is_current(s.number) and d.job.state in (JobState.SUBMITTING, JobState.UNCONFIRMED):
        _requeue(d, s.number, due_at=d.now, reason=news.reason)


def _answer(d: _Draft, news: n.Answered) -> None:
    match news.answer:
        case Accepted():
            _confirm(d, news, news.answer)
        case Refused():
            _release(d, news.number, news.answer)
        case Rejected():
            _reject(d, news.number, news.answer)
        case Unproven():
            _lose(d, news.number, news.answer.detail)
        case _:
            assert_never(news.answer)


def _confirm(d: _Draft, news: n.Answered, answer: Accepted) -> None:
    """Our own answer outranks anything a callback said, and counts whenever it comes."""
    s = d.sub(news.number)
    if news.task_taken:
        _lose(d, s.number, f"the upstream named task {answer.task_id}, which is another submission's")
        return
    if s.outcome in READ_TO_THE_END or (s.is_open and s.task_id == answer.task_id):
        if s.is_unanswered:  # a check of a callback's candidate was first
            d.put(s.number, lease_until=None)
        return
    # An answer that comes when the books are, or should be, closed opens them for as long again: credits under an id that we
    # were told are never dropped.
    too_late = schedule.hard_deadline(s, d.policy) <= d.now
    excused = d.now - s.sent_at if too_late else s.excused
    first_check = d.now + d.policy.callback_grace if s.poked_at is None else d.now
    d.put(
        s.number, outcome=Outcome.OPEN, task_id=answer.task_id, candidates=(), refusal=None, lease_until=None,
        answered_at=d.now, closed_at=None, check_at=first_check, checks=0, excused=excused, upstream_status=answer.status,
    )  # fmt: skip
    if d.job.is_settled:
        d.tell("confirmed_late", submission=s.number, task_id=answer.task_id)
        return
    d.tell("running", submission=s.number, task_id=answer.task_id)
    if d.job.state is not JobState.RUNNING:
        d.move(JobState.RUNNING)


def _release(d: _Draft, number: int, answer: Refused) -> None:
    s = d.sub(number)
    if not s.is_open or s.task_id is not None:
        return
    if s.candidates:
        # A callback already named a task: the refusal may be the lie. The check of the candidate decides.
        d.put(s.number, refusal=answer.detail)
        _lose(d, s.number, f"refused ({answer.detail}), but a callback named a task")
        return
    _free(d, s.number, reason=answer.reason, detail=answer.detail, retry_after=answer.retry_after)


def _free(d: _Draft, number: int, *, reason: str, detail: str, retry_after: timedelta | None = None) -> None:
    """Proven not accepted: the submission cost nothing, and the job may be sent again."""
    d.close(number, Outcome.RELEASED)
    d.tell("released", submission=number, reason=reason, detail=detail)
    if d.is_current(number) and d.job.state in (JobState.SUBMITTING, JobState.UNCONFIRMED):
        due_at = schedule.retry_at(d.life.attempts, d.now, d.policy)
        _requeue(d, number, due_at=max(due_at, d.now + (retry_after or timedelta(0))), reason=detail)


def _requeue(d: _Draft, number: int, *, due_at: datetime, reason: str) -> None:
    """Proven not sent: back to the queue, unless somebody asked to stop or the attempts are spent."""
    if others := d.life.others_open(number):
        _depend_on(d, others)
    elif d.job.cancel_requested:
        d.settle(JobState.CANCELED, number=number)
    elif d.life.attempts >= d.policy.submit_attempts:
        message = f"Not accepted in {d.life.attempts} attempts; the last: {reason}"
        d.fail(ErrorCode.UPSTREAM_UNAVAILABLE, message, number=number)
    else:
        d.move(JobState.QUEUED, due_at=due_at)
        d.tell("queued", submission=number, due_at=due_at.isoformat())


def _reject(d: _Draft, number: int, answer: Rejected) -> None:
    s = d.sub(number)
    if not s.is_open or s.task_id is not None:
        return
    d.close(s.number, Outcome.REJECTED, candidates=())
    d.tell("rejected", submission=s.number, message=answer.message)
    if d.is_current(s.number) and d.job.state in (JobState.SUBMITTING, JobState.UNCONFIRMED):
        if others := d.life.others_open(s.number):
            _depend_on(d, others)
        else:
            d.fail(ErrorCode.UPSTREAM_REJECTED, answer.message, number=s.number)


def _lose(d: _Draft, number: int, detail: str) -> None:
    s = d.sub(number)
    if not s.is_unanswered:
        return
    d.put(number, lease_until=None)
    d.tell("answer_lost", submission=number, detail=detail)
    if d.is_current(number) and d.job.state is JobState.SUBMITTING:
        _depend_on(d, (s, *d.life.others_open(number)))


def _depend_on(d: _Draft, submissions: Iterable[Submission]) -> None:
    """The job's fate hangs on these now."""
    d.move(JobState.RUNNING if any(s.task_id for s in submissions) else JobState.UNCONFIRMED)


# --- hearing and checking ------------------------------------------------------------------------------------------------


def _hear(d: _Draft, news: n.CalledBack) -> None:
    """A callback moves the next check forward to now, and names at most a candidate."""
    s = d.sub(news.number)
    if s.outcome in READ_TO_THE_END or s.outcome in (Outcome.REJECTED, Outcome.UNSENT):
        d.put(s.number, poked_at=d.now, callbacks=s.callbacks + 1)
        return
    candidates = s.candidates
    if s.task_id is None and news.task_id is not None and news.task_id not in candidates:
        candidates = (*candidates, news.task_id)[: d.policy.candidates_max]
    d.put(
        s.number, candidates=candidates, check_at=_soonest_check(d, s), checks=0, poked_at=d.now, callbacks=s.callbacks + 1
    )  # fmt: skip
    if candidates != s.candidates or s.callbacks < CALLBACKS_TOLD:
        d.tell("callback", submission=s.number, named=news.task_id if candidates != s.candidates else None)


def _soonest_check(d: _Draft, s: Submission) -> datetime:
    """Checks of one submission stay some seconds apart."""
    return d.now if s.checked_at is None else max(d.now, s.checked_at + d.policy.check_spacing)


def _check(d: _Draft, news: n.Checked) -> None:
    s = d.sub(news.number)
    is_candidate = s.task_id is None and news.task_id in s.candidates
    reading = news.reading
    too_late = s.outcome is Outcome.WRITTEN_OFF and isinstance(reading, Succeeded | TaskFailed)
    if not is_candidate and not (s.task_id == news.task_id and (s.is_open or too_late)):
        return
    if is_candidate and not isinstance(reading, NoAnswer):
        if isinstance(reading, NotFound) and schedule.is_young(s, d.now, d.policy):
            _look_again(d, s, news, "404")
            return
        if isinstance(reading, NotFound) or not news.matches or news.task_taken:
            _drop_candidate(d, s, news)
            return
        _adopt(d, s, news)
    _read(d, news)


def _drop_candidate(d: _Draft, s: Submission, news: n.Checked) -> None:
    reason = "the upstream does not know it" if isinstance(news.reading, NotFound) else "it is not this request's"
    left = tuple(c for c in s.candidates if c != news.task_id)
    d.put(s.number, candidates=left, check_at=d.now + d.policy.check_spacing if left else None)
    d.tell("candidate_dropped", submission=s.number, task_id=news.task_id, reason=reason)
    if not left and s.refusal is not None and s.is_open:
        _free(d, s.number, reason="refused", detail=s.refusal)


def _adopt(d: _Draft, s: Submission, news: n.Checked) -> None:
    d.put(
        s.number, task_id=news.task_id, candidates=(), refusal=None, outcome=Outcome.OPEN, closed_at=None, answered_at=d.now
    )  # fmt: skip
    d.tell("adopted", submission=s.number, task_id=news.task_id)
    if d.job.state is JobState.QUEUED or (d.job.state in IN_FLIGHT and d.job.state is not JobState.RUNNING):
        d.move(JobState.RUNNING)


def _read(d: _Draft, news: n.Checked) -> None:
    s, reading = d.sub(news.number), news.reading
    match reading:
        case NoAnswer():
            _look_again(d, s, news, f"no answer: {reading.detail}")
        case NotFound():
            _miss(d, s, news)
        case StillGoing():
            d.put(s.number, upstream_status=reading.status, not_found_since=None, not_found_count=0)
            _look_again(d, s, news, reading.status)
            _last_look(d, news, f"The task was still {reading.status} at its deadline.")
            if reading.status == "SUCCESS" and d.job.is_settled:
                _book_without_pictures(d, s.number, reading)
        case Succeeded():
            _succeed(d, s, news, reading)
        case TaskFailed():
            _fail_task(d, s, news, reading)
        case _:
            assert_never(reading)


def _book_without_pictures(d: _Draft, number: int, reading: StillGoing) -> None:
    """It ended, was billed, and never showed a picture: the books need wait for nothing more."""
    credits = PRICE if reading.credits is None else reading.credits
    d.close(number, Outcome.SUCCEEDED, credits=credits, check_at=None, late_result={"status": "SUCCESS", "images": []})
    d.tell("late_result", submission=number, status="SUCCESS", credits=credits)


def _look_again(d: _Draft, s: Submission, news: n.Checked, read: str) -> None:
    """Reschedules; a callback that came since the check began has already said when, and is not overwritten."""
    if read != s.last_reading:
        d.tell("checked", submission=s.number, task_id=news.task_id, read=read)
    # Candidates take turns, so that a forged one cannot keep the right one waiting.
    turns = (*(c for c in s.candidates if c != news.task_id), *(c for c in s.candidates if c == news.task_id))
    d.put(s.number, last_reading=read, candidates=turns)
    if not s.is_wanted_since(news.began_at):
        check_at = schedule.next_check(s, d.now, d.policy)
        if isinstance(news.reading, NoAnswer) and news.reading.retry_after is not None:
            check_at = max(check_at, d.now + news.reading.retry_after)
        d.put(s.number, checks=s.checks + 1, check_at=check_at)


def _miss(d: _Draft, s: Submission, news: n.Checked) -> None:
    """404 for a task that we were told of: perhaps too young, perhaps forgotten."""
    if schedule.is_young(s, d.now, d.policy):
        _look_again(d, s, news, "404")
        return
    since = s.not_found_since or d.now
    d.put(s.number, not_found_since=since, not_found_count=s.not_found_count + 1)
    s = d.sub(s.number)
    _look_again(d, s, news, "404")
    forgotten = s.not_found_count >= d.policy.lost_count and d.now - since >= d.policy.lost_after
    if forgotten and news.others_answer and _may_fail(d, news):
        d.fail(ErrorCode.TASK_LOST, "The upstream no longer knows the task.", number=s.number, via=_via(news))
    else:
        _last_look(d, news, "The upstream did not know the task at its deadline.")


def _last_look(d: _Draft, news: n.Checked, message: str) -> None:
    """A check that began after the deadline and was answered is the last."""
    s = d.sub(news.number)
    if news.began_at >= schedule.deadline(s, d.policy) and _may_fail(d, news):
        d.fail(ErrorCode.DEADLINE_EXCEEDED, message, number=s.number, via=_via(news))


def _may_fail(d: _Draft, news: n.Checked) -> bool:
    """A job fails only when no callback came meanwhile, and no other submission of it can still bring its pictures."""
    if d.job.state is not JobState.RUNNING or d.sub(news.number).is_wanted_since(news.began_at):
        return False
    return not any(o.candidates or not _had_its_last_look(o, d) for o in d.life.others_open(news.number))


def _had_its_last_look(s: Submission, d: _Draft) -> bool:
    last = schedule.deadline(s, d.policy)
    if s.task_id is None:
        return last <= d.now
    return s.checked_at is not None and s.checked_at >= last and not s.is_wanted_since(s.checked_at)


def _succeed(d: _Draft, s: Submission, news: n.Checked, reading: Succeeded) -> None:
    credits = PRICE if reading.credits is None else reading.credits
    _read_to_the_end(d, s, Outcome.SUCCEEDED, "SUCCESS", credits)
    if d.job.is_settled:
        d.put(s.number, late_result={"status": "SUCCESS", "images": list(reading.images)})
        d.tell("late_result", submission=s.number, status="SUCCESS", credits=credits, images=len(reading.images))
        return
    d.tell("checked", submission=s.number, task_id=news.task_id, read="SUCCESS", credits=credits)
    d.settle(JobState.SUCCEEDED, images=reading.images, via=_via(news), number=s.number)


def _read_to_the_end(d: _Draft, s: Submission, outcome: Outcome, read: str, cost: int) -> None:
    d.close(s.number, outcome, upstream_status=read, last_reading=read, credits=cost, check_at=None, candidates=())


def _fail_task(d: _Draft, s: Submission, news: n.Checked, reading: TaskFailed) -> None:
    credits = reading.credits or 0
    _read_to_the_end(d, s, Outcome.FAILED, "FAILED", credits)
    if d.job.is_settled:
        d.put(s.number, late_result={"status": "FAILED", "message": reading.message})
        d.tell("late_result", submission=s.number, status="FAILED", credits=credits, message=reading.message)
        return
    d.tell("checked", submission=s.number, task_id=news.task_id, read="FAILED", credits=credits)
    others = d.life.others_open(s.number)
    if not others:
        d.fail(ErrorCode.GENERATION_FAILED, reading.message, via=_via(news), number=s.number)
    elif not any(o.task_id for o in others):
        current = d.life.current
        d.move(JobState.SUBMITTING if current and current.is_unanswered else JobState.UNCONFIRMED)


def _via(news: n.Checked) -> CompletedVia:
    if news.poked:
        return CompletedVia.CALLBACK
    return CompletedVia.OPERATOR if news.asked else CompletedVia.POLL


# --- what somebody asks for ----------------------------------------------------------------------------------------------


def _do_as_asked(d: _Draft, asked: n.Asked) -> None:
    match asked:
        case n.CancelAsked():
            _cancel(d, asked)
        case n.CheckAsked():
            _ask_for_checks(d, asked)
        case n.CandidateNamed():
            _take_candidate(d, asked)
        case _:
            assert_never(asked)


def _ask_for_checks(d: _Draft, news: n.CheckAsked) -> None:
    """Like a callback that names nothing, it moves the next checks forward to now; and what it asks for is not overwritten."""
    checkable = [s for s in d.life.submissions if s.can_be_checked]
    if not checkable:
        d.refuse(_why_nothing_to_check(d.life))
    for s in checkable:
        if not _is_asked_already(s):
            d.put(s.number, check_at=_soonest_check(d, s), asked_at=d.now)
            d.tell("check_asked", submission=s.number, **_told(news.by))


def _why_nothing_to_check(life: Life) -> Objection:
    if any(s.is_open for s in life.submissions):
        return Objection.NOTHING_TO_CHECK
    return Objection.BOOKS_CLOSED if life.job.is_settled and life.submissions else Objection.NOT_SENT


def _is_asked_already(s: Submission) -> bool:
    """An operator has asked, and no check has begun since."""
    return s.asked_at is not None and (s.checked_at is None or s.asked_at > s.checked_at)


def _take_candidate(d: _Draft, news: n.CandidateNamed) -> None:
    """As a callback would name it, and with the same say: it is checked, and adopted only if our request stands behind it."""
    if any(news.task_id in s.candidates for s in d.life.submissions):
        return
    s = _wants_a_task(d, news.number)
    if objection := _why_no_candidate(d, news, s):
        d.refuse(objection)
        return
    assert s is not None
    # In front: what an operator asked for is what the next check looks at.
    d.put(s.number, candidates=(news.task_id, *s.candidates), check_at=_soonest_check(d, s), asked_at=d.now)
    d.tell("candidate_named", submission=s.number, task_id=news.task_id, **_told(news.by))


def _wants_a_task(d: _Draft, number: int | None) -> Submission | None:
    """The submission with that number; without one, the youngest whose task is not known, an open one before a released one."""
    if number is not None:
        return d.sub(number) if number <= len(d.life.submissions) else None
    unknown = sorted((s for s in d.life.submissions if _may_have_a_task(d, s)), key=lambda s: (s.is_open, s.number))
    return unknown[-1] if unknown else d.life.current


def _may_have_a_task(d: _Draft, s: Submission) -> bool:
    """As long as its callback token is good; a refusal may have been a lie."""
    in_time = s.is_open or (s.outcome is Outcome.RELEASED and schedule.hard_deadline(s, d.policy) > d.now)
    return in_time and s.task_id is None


def _why_no_candidate(d: _Draft, news: n.CandidateNamed, s: Submission | None) -> Objection | None:
    if s is None:
        return Objection.NOT_SENT
    if news.task_id in {o.task_id for o in d.life.submissions} or s.task_id is not None:
        return Objection.TASK_KNOWN
    if news.task_taken:
        return Objection.TASK_TAKEN
    if not _may_have_a_task(d, s):
        return Objection.BOOKS_CLOSED
    return Objection.TOO_MANY_CANDIDATES if len(s.candidates) >= d.policy.candidates_max else None


def _told(by: n.By | None) -> dict[str, str]:
    return by.told if by is not None else {}


# --- stopping ------------------------------------------------------------------------------------------------------------


def _cancel(d: _Draft, news: n.CancelAsked) -> None:
    if d.job.cancel_requested:
        return
    if d.job.is_settled:
        d.refuse(Objection.ALREADY_SETTLED)
        return
    d.life = d.life.with_job(replace(d.job, cancel_requested=True))
    d.noted()
    d.tell("cancel_requested", **_told(news.by))
    if d.job.state is JobState.QUEUED:
        d.settle(JobState.CANCELED)


def _expire(d: _Draft, timer: n.Timer) -> None:
    """A timer counts only if it still runs out now: whoever saw it looked before the row was locked."""
    s = d.sub(timer.number)
    if schedule.overdue(d.life, s, d.now, d.policy, checks_possible=True) != timer:
        return
    match timer:
        case n.LeaseExpired():
            _lose(d, s.number, "the sender did not report before its lease ended")
        case n.WaitOver():
            message = "The upstream's answer was lost and no callback came in time; the generation may have been billed."
            d.fail(ErrorCode.SUBMISSION_UNCONFIRMED, message, number=s.number)
        case n.HardDeadlinePassed():
            message = "The task did not end, and the upstream gave no answer, until the hard deadline."
            d.fail(ErrorCode.DEADLINE_EXCEEDED, message, number=s.number)
        case n.BooksDue():
            _write_off(d, s)
        case _:
            assert_never(timer)


def _write_off(d: _Draft, s: Submission) -> None:
    if not s.is_open:
        d.put(s.number, candidates=(), check_at=None)
        return
    d.close(s.number, Outcome.WRITTEN_OFF, candidates=(), check_at=None)
    d.tell("written_off", submission=s.number, credits=PRICE)


def _leave_queue(d: _Draft) -> None:
    if d.job.state is JobState.QUEUED and not any(s.candidates for s in d.life.submissions):
        d.fail(ErrorCode.UPSTREAM_UNAVAILABLE, "It was not accepted before its queue deadline.")
