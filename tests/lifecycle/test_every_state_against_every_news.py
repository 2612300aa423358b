"""Every state against every news: the rules as one table. A changed rule shows as a changed row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import get_args

import pytest
from lives import (
    CANDIDATE,
    GOING,
    LIVES,
    NOW,
    POLICY,
    REFUSED,
    SENT_AT,
    SUCCESS,
    TASK,
    change,
    checked,
    claimed,
    looked_at,
    minutes,
    seconds,
)

from app.lifecycle.answers import (
    Accepted,
    NoAnswer,
    NotFound,
    Reading,
    Rejected,
    SubmitAnswer,
    TaskFailed,
    Unproven,
)
from app.lifecycle.job import Life
from app.lifecycle.news import (
    Answered,
    BooksDue,
    CalledBack,
    CancelAsked,
    CandidateNamed,
    CheckAsked,
    Checked,
    GivenBack,
    HardDeadlinePassed,
    LeaseExpired,
    News,
    QueueDeadlinePassed,
    WaitOver,
)
from app.lifecycle.states import EDGES, JobState
from app.lifecycle.transitions import Change, Effect, decide

YOUNG = SENT_AT + seconds(30)
WAITED = SENT_AT + POLICY.unconfirmed_wait
LATE = SENT_AT + POLICY.job_deadline + minutes(1)
AT_LAST = SENT_AT + POLICY.hard_deadline


def _named(life: Life) -> Life:
    """A callback named a candidate."""
    return decide(life, CalledBack(1, CANDIDATE), YOUNG - seconds(5), POLICY).after


def _named_then_refused(life: Life) -> Life:
    return decide(_named(life), Answered(1, REFUSED), YOUNG, POLICY).after


def _looked_at(life: Life) -> Life:
    """A check began when everything was over, and brought nothing."""
    return looked_at(life, AT_LAST)


def _named_and_looked_at(life: Life) -> Life:
    return _looked_at(_named(life))


def _written_off(life: Life) -> Life:
    """Its books are closed, where the job is settled."""
    return decide(_looked_at(life), BooksDue(1), AT_LAST, POLICY).after


def _poked(life: Life) -> Life:
    """A callback came while the check was under way."""
    return decide(life, CalledBack(1, None), NOW, POLICY).after


def _poked_at_the_deadline(life: Life) -> Life:
    return decide(life, CalledBack(1, None), LATE, POLICY).after


def _missed(life: Life) -> Life:
    """It answered 404 for almost long enough to be lost."""
    missed = {"not_found_count": POLICY.lost_count - 1, "not_found_since": NOW - POLICY.lost_after}
    return life.with_submission(replace(life.submission(1), **missed))


def _missed_and_poked(life: Life) -> Life:
    return _poked(_missed(life))


def _asked(life: Life) -> Life:
    """An operator asked for a check while one was under way."""
    return decide(life, CheckAsked(), LATE, POLICY).after


def _asked_and_looked_at(life: Life) -> Life:
    return decide(looked_at(life, NOW - seconds(5)), CheckAsked(), NOW - seconds(1), POLICY).after


def _by_an_operator(life: Life) -> Life:
    return decide(life, CandidateNamed(CANDIDATE, 1), YOUNG, POLICY).after


def _named_thrice(life: Life) -> Life:
    for number in range(3):
        life = decide(life, CalledBack(1, f"a-wrong-one-{number}"), NOW, POLICY).after
    return life


def _as_it_is(life: Life) -> Life:
    return life


def _at_the_deadline(reading: Reading) -> Checked:
    return checked(reading, began_at=LATE - seconds(1))


def _of_the_candidate(reading: Reading, began_at: datetime = NOW - seconds(1), **more: bool) -> Checked:
    return checked(reading, task_id=CANDIDATE, began_at=began_at, **more)


FAILURE = TaskFailed("Content policy violation detected", 0)
NOTHING = NoAnswer("timeout")

#: What a row's name stands for: what went before, the news, and when it is told.
NEWS: dict[str, tuple[Callable[[Life], Life], News]] = {
    "claimed": (_as_it_is, claimed()),
    "given back": (_as_it_is, GivenBack(1, "stopping")),
    "answer: a task id": (_as_it_is, Answered(1, Accepted(TASK))),
    "answer: another's task id": (_as_it_is, Answered(1, Accepted("another's"), task_taken=True)),
    "answer: a task id, named before": (_named, Answered(1, Accepted(TASK))),
    "answer: refused": (_as_it_is, Answered(1, REFUSED)),
    "answer: refused, yet named": (_named, Answered(1, REFUSED)),
    "answer: rejected": (_as_it_is, Answered(1, Rejected("Invalid size"))),
    "answer: lost": (_as_it_is, Answered(1, Unproven("timeout"))),
    "lease expired": (_as_it_is, LeaseExpired(1)),
    "lease, not yet expired": (_as_it_is, LeaseExpired(1)),
    "callback with an id": (_as_it_is, CalledBack(1, CANDIDATE)),
    "callback without": (_as_it_is, CalledBack(1, None)),
    "check: going": (_as_it_is, checked(GOING)),
    "check: going, last look": (_as_it_is, _at_the_deadline(GOING)),
    "check: going, last look, poked": (_poked_at_the_deadline, _at_the_deadline(GOING)),
    "check: going, written off": (_written_off, _at_the_deadline(GOING)),
    "check: success, written off": (_written_off, _at_the_deadline(SUCCESS)),
    "check: success": (_as_it_is, checked(SUCCESS)),
    "check: failed": (_as_it_is, checked(FAILURE)),
    "check: 404": (_as_it_is, checked(NotFound())),
    "check: 404, lost": (_missed, checked(NotFound(), others_answer=True)),
    "check: 404, lost, poked": (_missed_and_poked, checked(NotFound(), others_answer=True)),
    "check: 404, all are lost": (_missed, checked(NotFound())),
    "check: 404, last look": (_as_it_is, _at_the_deadline(NotFound())),
    "check: no answer": (_as_it_is, checked(NOTHING)),
    "check: no answer, last look": (_as_it_is, _at_the_deadline(NOTHING)),
    "candidate: going": (_named, _of_the_candidate(GOING)),
    "candidate: success": (_named, _of_the_candidate(SUCCESS)),
    "candidate: failed": (_named, _of_the_candidate(FAILURE)),
    "candidate: not ours": (_named, _of_the_candidate(SUCCESS, matches=False)),
    "candidate: another's": (_named, _of_the_candidate(SUCCESS, task_taken=True)),
    "candidate: 404": (_named, _of_the_candidate(NotFound())),
    "candidate: 404, young": (_named, _of_the_candidate(NotFound(), began_at=YOUNG - seconds(1))),
    "candidate: 404, refused": (_named_then_refused, _of_the_candidate(NotFound())),
    "candidate: no answer": (_named, _of_the_candidate(NOTHING)),
    "unheard-of id: success": (_as_it_is, checked(SUCCESS, task_id="unheard-of")),
    "operator's candidate: success": (_by_an_operator, _of_the_candidate(SUCCESS)),
    "check: going, last look, asked": (_asked, _at_the_deadline(GOING)),
    "cancel asked": (_as_it_is, CancelAsked()),
    "check asked": (_as_it_is, CheckAsked()),
    "check asked, named": (_named, CheckAsked()),
    "check asked twice": (_asked_and_looked_at, CheckAsked()),
    "check asked, books closed": (_written_off, CheckAsked()),
    "candidate": (_as_it_is, CandidateNamed(CANDIDATE)),
    "candidate, a fourth": (_named_thrice, CandidateNamed(CANDIDATE)),
    "candidate, named before": (_named, CandidateNamed(CANDIDATE)),
    "candidate, another's": (_as_it_is, CandidateNamed(CANDIDATE, task_taken=True)),
    "candidate, of the first send": (_as_it_is, CandidateNamed(CANDIDATE, 1)),
    "candidate, of no send": (_as_it_is, CandidateNamed(CANDIDATE, 9)),
    "candidate, books closed": (_written_off, CandidateNamed(CANDIDATE)),
    "wait over": (_as_it_is, WaitOver(1)),
    "wait over, yet named": (_named, WaitOver(1)),
    "hard deadline, unseen": (_as_it_is, HardDeadlinePassed(1)),
    "hard deadline": (_looked_at, HardDeadlinePassed(1)),
    "books due, unseen": (_as_it_is, BooksDue(1)),
    "books due": (_looked_at, BooksDue(1)),
    "books due, named": (_named_and_looked_at, BooksDue(1)),
    "queue deadline": (_as_it_is, QueueDeadlinePassed()),
    "queue deadline, yet named": (_named, QueueDeadlinePassed()),
}
WHEN = {"young": YOUNG, "not yet": YOUNG, "last look": LATE, "written off": AT_LAST, "wait": WAITED, "twice": NOW}
WHEN |= {"hard deadline": AT_LAST, "books": AT_LAST}
AT = {name: next((at for words, at in WHEN.items() if words in name), NOW) for name in NEWS}


def shown(done: Change) -> str:
    """What became of it, as the tables spell it."""
    if done.effect in (Effect.STALE, Effect.REFUSED):
        return "-" if done.effect is Effect.STALE else "refused"
    s = done.after.submission(1)
    outcome = f"{s.outcome}{'+' * len(s.candidates)}"
    return f">{done.after.job.state} {outcome}" if done.effect is Effect.APPLIED else outcome


def happens(situation: str, name: str) -> Change:
    before, news = NEWS[name]
    return change(before(LIVES[situation]()), news, AT[name])


#: A cell: `-` stale; the outcome of the first submission where noted; `>state outcome` where the job moves; `+` a candidate.
#: The last column: the error of a job that this news settles, unless it succeeds.
TABLES = (
    """
news                            | queued               | submitting           | error
claimed                         | >submitting released | -                    | -
given back                      | -                    | >queued unsent       | -
answer: a task id               | >running open        | >running open        | -
answer: another's task id       | -                    | >unconfirmed open    | -
answer: a task id, named before | >running open        | >running open        | -
answer: refused                 | -                    | >queued released     | -
answer: refused, yet named      | -                    | >unconfirmed open+   | -
answer: rejected                | -                    | >failed rejected     | upstream_rejected
answer: lost                    | -                    | >unconfirmed open    | -
lease expired                   | -                    | >unconfirmed open    | -
lease, not yet expired          | -                    | -                    | -
callback with an id             | released+            | open+                | -
callback without                | released             | open                 | -
check: going                    | -                    | -                    | -
check: going, last look         | -                    | -                    | deadline_exceeded
check: going, last look, poked  | -                    | -                    | -
check: going, written off       | -                    | -                    | deadline_exceeded
check: success, written off     | -                    | -                    | -
check: success                  | -                    | -                    | -
check: failed                   | -                    | -                    | generation_failed
check: 404                      | -                    | -                    | -
check: 404, lost                | -                    | -                    | task_lost
check: 404, lost, poked         | -                    | -                    | -
check: 404, all are lost        | -                    | -                    | -
check: 404, last look           | -                    | -                    | deadline_exceeded
check: no answer                | -                    | -                    | -
check: no answer, last look     | -                    | -                    | -
candidate: going                | >running open        | >running open        | -
candidate: success              | >succeeded succeeded | >succeeded succeeded | -
candidate: failed               | >failed failed       | >failed failed       | generation_failed
candidate: not ours             | released             | open                 | -
candidate: another's            | released             | open                 | -
candidate: 404                  | released             | open                 | -
candidate: 404, young           | released+            | open+                | -
candidate: 404, refused         | released             | >queued released     | -
candidate: no answer            | released+            | open+                | -
unheard-of id: success          | -                    | -                    | -
cancel asked                    | >canceled released   | open                 | -
operator's candidate: success   | >succeeded succeeded | >succeeded succeeded | -
check: going, last look, asked  | -                    | -                    | -
check asked                     | refused              | refused              | -
check asked, named              | released+            | open+                | -
check asked twice               | refused              | refused              | -
check asked, books closed       | refused              | refused              | -
candidate                       | released+            | open+                | -
candidate, a fourth             | refused              | refused              | -
candidate, named before         | -                    | -                    | -
candidate, another's            | refused              | refused              | -
candidate, of the first send    | released+            | open+                | -
candidate, of no send           | refused              | refused              | -
candidate, books closed         | refused              | open+                | -
wait over                       | -                    | -                    | submission_unconfirmed
wait over, yet named            | -                    | -                    | -
hard deadline, unseen           | -                    | -                    | -
hard deadline                   | -                    | -                    | deadline_exceeded
books due, unseen               | -                    | -                    | -
books due                       | -                    | -                    | -
books due, named                | released             | -                    | -
queue deadline                  | >failed released     | -                    | upstream_unavailable
queue deadline, yet named       | -                    | -                    | -
    """,
    """
news                            | unconfirmed          | running              | error
claimed                         | -                    | -                    | -
given back                      | >queued unsent       | -                    | -
answer: a task id               | >running open        | -                    | -
answer: another's task id       | -                    | -                    | -
answer: a task id, named before | >running open        | -                    | -
answer: refused                 | >queued released     | -                    | -
answer: refused, yet named      | open+                | -                    | -
answer: rejected                | >failed rejected     | -                    | upstream_rejected
answer: lost                    | -                    | -                    | -
lease expired                   | -                    | -                    | -
lease, not yet expired          | -                    | -                    | -
callback with an id             | open+                | open                 | -
callback without                | open                 | open                 | -
check: going                    | -                    | open                 | -
check: going, last look         | -                    | >failed open         | deadline_exceeded
check: going, last look, poked  | -                    | open                 | -
check: going, written off       | -                    | >failed open         | deadline_exceeded
check: success, written off     | -                    | >succeeded succeeded | -
check: success                  | -                    | >succeeded succeeded | -
check: failed                   | -                    | >failed failed       | generation_failed
check: 404                      | -                    | open                 | -
check: 404, lost                | -                    | >failed open         | task_lost
check: 404, lost, poked         | -                    | open                 | -
check: 404, all are lost        | -                    | open                 | -
check: 404, last look           | -                    | >failed open         | deadline_exceeded
check: no answer                | -                    | open                 | -
check: no answer, last look     | -                    | open                 | -
candidate: going                | >running open        | -                    | -
candidate: success              | >succeeded succeeded | -                    | -
candidate: failed               | >failed failed       | -                    | generation_failed
candidate: not ours             | open                 | -                    | -
candidate: another's            | open                 | -                    | -
candidate: 404                  | open                 | -                    | -
candidate: 404, young           | open+                | -                    | -
candidate: 404, refused         | >queued released     | -                    | -
candidate: no answer            | open+                | -                    | -
unheard-of id: success          | -                    | -                    | -
cancel asked                    | open                 | open                 | -
operator's candidate: success   | >succeeded succeeded | -                    | -
check: going, last look, asked  | -                    | open                 | -
check asked                     | refused              | open                 | -
check asked, named              | open+                | open                 | -
check asked twice               | refused              | -                    | -
check asked, books closed       | refused              | open                 | -
candidate                       | open+                | refused              | -
candidate, a fourth             | refused              | refused              | -
candidate, named before         | -                    | refused              | -
candidate, another's            | refused              | refused              | -
candidate, of the first send    | open+                | refused              | -
candidate, of no send           | refused              | refused              | -
candidate, books closed         | open+                | refused              | -
wait over                       | >failed open         | -                    | submission_unconfirmed
wait over, yet named            | -                    | -                    | -
hard deadline, unseen           | -                    | -                    | -
hard deadline                   | -                    | >failed open         | deadline_exceeded
books due, unseen               | -                    | -                    | -
books due                       | -                    | -                    | -
books due, named                | -                    | -                    | -
queue deadline                  | -                    | -                    | upstream_unavailable
queue deadline, yet named       | -                    | -                    | -
    """,
    """
news                            | succeeded | failed      | canceled    | error
claimed                         | -         | -           | -           | -
given back                      | -         | unsent      | -           | -
answer: a task id               | -         | open        | -           | -
answer: another's task id       | -         | -           | -           | -
answer: a task id, named before | -         | open        | -           | -
answer: refused                 | -         | released    | -           | -
answer: refused, yet named      | -         | open+       | -           | -
answer: rejected                | -         | rejected    | -           | upstream_rejected
answer: lost                    | -         | -           | -           | -
lease expired                   | -         | -           | -           | -
lease, not yet expired          | -         | -           | -           | -
callback with an id             | succeeded | open+       | open        | -
callback without                | succeeded | open        | open        | -
check: going                    | -         | -           | open        | -
check: going, last look         | -         | -           | open        | deadline_exceeded
check: going, last look, poked  | -         | -           | open        | -
check: going, written off       | -         | -           | -           | deadline_exceeded
check: success, written off     | -         | -           | succeeded   | -
check: success                  | -         | -           | succeeded   | -
check: failed                   | -         | -           | failed      | generation_failed
check: 404                      | -         | -           | open        | -
check: 404, lost                | -         | -           | open        | task_lost
check: 404, lost, poked         | -         | -           | open        | -
check: 404, all are lost        | -         | -           | open        | -
check: 404, last look           | -         | -           | open        | deadline_exceeded
check: no answer                | -         | -           | open        | -
check: no answer, last look     | -         | -           | open        | -
candidate: going                | -         | open        | -           | -
candidate: success              | -         | succeeded   | -           | -
candidate: failed               | -         | failed      | -           | generation_failed
candidate: not ours             | -         | open        | -           | -
candidate: another's            | -         | open        | -           | -
candidate: 404                  | -         | open        | -           | -
candidate: 404, young           | -         | open+       | -           | -
candidate: 404, refused         | -         | released    | -           | -
candidate: no answer            | -         | open+       | -           | -
unheard-of id: success          | -         | -           | -           | -
cancel asked                    | refused   | refused     | -           | -
operator's candidate: success   | -         | succeeded   | -           | -
check: going, last look, asked  | -         | -           | open        | -
check asked                     | refused   | refused     | open        | -
check asked, named              | refused   | open+       | open        | -
check asked twice               | refused   | refused     | -           | -
check asked, books closed       | refused   | refused     | refused     | -
candidate                       | refused   | open+       | refused     | -
candidate, a fourth             | refused   | refused     | refused     | -
candidate, named before         | refused   | -           | refused     | -
candidate, another's            | refused   | refused     | refused     | -
candidate, of the first send    | refused   | open+       | refused     | -
candidate, of no send           | refused   | refused     | refused     | -
candidate, books closed         | refused   | refused     | refused     | -
wait over                       | -         | -           | -           | submission_unconfirmed
wait over, yet named            | -         | -           | -           | -
hard deadline, unseen           | -         | -           | -           | -
hard deadline                   | -         | -           | -           | deadline_exceeded
books due, unseen               | -         | written_off | -           | -
books due                       | -         | written_off | written_off | -
books due, named                | -         | written_off | written_off | -
queue deadline                  | -         | -           | -           | upstream_unavailable
queue deadline, yet named       | -         | -           | -           | -
    """,
    """
news                            | submitting, stopping | unconfirmed, stopping | running, stopping   | error
claimed                         | -                    | -                     | -                   | -
given back                      | >canceled unsent     | >canceled unsent      | -                   | -
answer: a task id               | >running open        | >running open         | -                   | -
answer: another's task id       | >unconfirmed open    | -                     | -                   | -
answer: a task id, named before | >running open        | >running open         | -                   | -
answer: refused                 | >canceled released   | >canceled released    | -                   | -
answer: refused, yet named      | >unconfirmed open+   | open+                 | -                   | -
answer: rejected                | >canceled rejected   | >canceled rejected    | -                   | upstream_rejected
answer: lost                    | >unconfirmed open    | -                     | -                   | -
lease expired                   | >unconfirmed open    | -                     | -                   | -
lease, not yet expired          | -                    | -                     | -                   | -
callback with an id             | open+                | open+                 | open                | -
callback without                | open                 | open                  | open                | -
check: going                    | -                    | -                     | open                | -
check: going, last look         | -                    | -                     | >canceled open      | deadline_exceeded
check: going, last look, poked  | -                    | -                     | open                | -
check: going, written off       | -                    | -                     | >canceled open      | deadline_exceeded
check: success, written off     | -                    | -                     | >canceled succeeded | -
check: success                  | -                    | -                     | >canceled succeeded | -
check: failed                   | -                    | -                     | >canceled failed    | generation_failed
check: 404                      | -                    | -                     | open                | -
check: 404, lost                | -                    | -                     | >canceled open      | task_lost
check: 404, lost, poked         | -                    | -                     | open                | -
check: 404, all are lost        | -                    | -                     | open                | -
check: 404, last look           | -                    | -                     | >canceled open      | deadline_exceeded
check: no answer                | -                    | -                     | open                | -
check: no answer, last look     | -                    | -                     | open                | -
candidate: going                | >running open        | >running open         | -                   | -
candidate: success              | >canceled succeeded  | >canceled succeeded   | -                   | -
candidate: failed               | >canceled failed     | >canceled failed      | -                   | generation_failed
candidate: not ours             | open                 | open                  | -                   | -
candidate: another's            | open                 | open                  | -                   | -
candidate: 404                  | open                 | open                  | -                   | -
candidate: 404, young           | open+                | open+                 | -                   | -
candidate: 404, refused         | >canceled released   | >canceled released    | -                   | -
candidate: no answer            | open+                | open+                 | -                   | -
unheard-of id: success          | -                    | -                     | -                   | -
cancel asked                    | -                    | -                     | -                   | -
operator's candidate: success   | >canceled succeeded  | >canceled succeeded   | -                   | -
check: going, last look, asked  | -                    | -                     | open                | -
check asked                     | refused              | refused               | open                | -
check asked, named              | open+                | open+                 | open                | -
check asked twice               | refused              | refused               | -                   | -
check asked, books closed       | refused              | refused               | open                | -
candidate                       | open+                | open+                 | refused             | -
candidate, a fourth             | refused              | refused               | refused             | -
candidate, named before         | -                    | -                     | refused             | -
candidate, another's            | refused              | refused               | refused             | -
candidate, of the first send    | open+                | open+                 | refused             | -
candidate, of no send           | refused              | refused               | refused             | -
candidate, books closed         | open+                | open+                 | refused             | -
wait over                       | -                    | >canceled open        | -                   | submission_unconfirmed
wait over, yet named            | -                    | -                     | -                   | -
hard deadline, unseen           | -                    | -                     | -                   | -
hard deadline                   | -                    | -                     | >canceled open      | deadline_exceeded
books due, unseen               | -                    | -                     | -                   | -
books due                       | -                    | -                     | -                   | -
books due, named                | -                    | -                     | -                   | -
queue deadline                  | -                    | -                     | -                   | upstream_unavailable
queue deadline, yet named       | -                    | -                     | -                   | -
    """,
    """
news                            | running, #2 unanswered | running, #2 lost     | error
claimed                         | -                      | -                    | -
given back                      | -                      | -                    | -
answer: a task id               | -                      | -                    | -
answer: another's task id       | -                      | -                    | -
answer: a task id, named before | -                      | -                    | -
answer: refused                 | -                      | -                    | -
answer: refused, yet named      | -                      | -                    | -
answer: rejected                | -                      | -                    | upstream_rejected
answer: lost                    | -                      | -                    | -
lease expired                   | -                      | -                    | -
lease, not yet expired          | -                      | -                    | -
callback with an id             | open                   | open                 | -
callback without                | open                   | open                 | -
check: going                    | open                   | open                 | -
check: going, last look         | >failed open           | >failed open         | deadline_exceeded
check: going, last look, poked  | open                   | open                 | -
check: going, written off       | >failed open           | >failed open         | deadline_exceeded
check: success, written off     | >succeeded succeeded   | >succeeded succeeded | -
check: success                  | >succeeded succeeded   | >succeeded succeeded | -
check: failed                   | >submitting failed     | >unconfirmed failed  | generation_failed
check: 404                      | open                   | open                 | -
check: 404, lost                | open                   | open                 | task_lost
check: 404, lost, poked         | open                   | open                 | -
check: 404, all are lost        | open                   | open                 | -
check: 404, last look           | >failed open           | >failed open         | deadline_exceeded
check: no answer                | open                   | open                 | -
check: no answer, last look     | open                   | open                 | -
candidate: going                | -                      | -                    | -
candidate: success              | -                      | -                    | -
candidate: failed               | -                      | -                    | generation_failed
candidate: not ours             | -                      | -                    | -
candidate: another's            | -                      | -                    | -
candidate: 404                  | -                      | -                    | -
candidate: 404, young           | -                      | -                    | -
candidate: 404, refused         | -                      | -                    | -
candidate: no answer            | -                      | -                    | -
unheard-of id: success          | -                      | -                    | -
cancel asked                    | open                   | open                 | -
operator's candidate: success   | -                      | -                    | -
check: going, last look, asked  | open                   | open                 | -
check asked                     | open                   | open                 | -
check asked, named              | open                   | open                 | -
check asked twice               | -                      | -                    | -
check asked, books closed       | open                   | open                 | -
candidate                       | open                   | open                 | -
candidate, a fourth             | open                   | open                 | -
candidate, named before         | open                   | open                 | -
candidate, another's            | refused                | refused              | -
candidate, of the first send    | refused                | refused              | -
candidate, of no send           | refused                | refused              | -
candidate, books closed         | open                   | open                 | -
wait over                       | -                      | -                    | submission_unconfirmed
wait over, yet named            | -                      | -                    | -
hard deadline, unseen           | -                      | -                    | -
hard deadline                   | >failed open           | >failed open         | deadline_exceeded
books due, unseen               | -                      | -                    | -
books due                       | -                      | -                    | -
books due, named                | -                      | -                    | -
queue deadline                  | -                      | -                    | upstream_unavailable
queue deadline, yet named       | -                      | -                    | -
    """,
)


def _cells() -> dict[tuple[str, str], tuple[str, str]]:
    cells: dict[tuple[str, str], tuple[str, str]] = {}
    for table in TABLES:
        header, *rows = ([cell.strip() for cell in line.split("|")] for line in table.strip().splitlines())
        for name, *expected, error in rows:
            for situation, cell in zip(header[1:-1], expected, strict=True):
                assert (situation, name) not in cells, "twice in the tables"
                cells[situation, name] = cell, error
    return cells


CELLS = _cells()


@pytest.mark.parametrize(("situation", "name"), CELLS, ids=[" + ".join(cell) for cell in CELLS])
def test_the_news_changes_what_the_table_says(situation: str, name: str) -> None:
    cell, error = CELLS[situation, name]

    done = happens(situation, name)

    assert shown(done) == cell
    if done.effect is Effect.APPLIED and done.after.job.is_settled and done.after.job.state is not JobState.SUCCEEDED:
        assert str(done.after.job.error.code if done.after.job.error else "-") == error
    else:
        assert done.after.job.error == done.before.job.error


@pytest.mark.parametrize(("situation", "name"), CELLS, ids=[" + ".join(cell) for cell in CELLS])
def test_what_is_stale_changes_nothing_and_what_is_settled_stays(situation: str, name: str) -> None:
    done = happens(situation, name)
    before, after = done.before.job, done.after.job

    if done.effect in (Effect.STALE, Effect.REFUSED):
        assert done.after is done.before
        assert done.events == ()
    if before.is_settled:
        assert replace(after, updated_at=before.updated_at) == before
    if after.is_settled:
        assert after.finished_at is not None
    if done.effect is Effect.APPLIED:
        assert after.updated_at == AT[name]
        assert done.events, "a move is told on the timeline"


def test_every_state_meets_every_news() -> None:
    assert set(CELLS) == {(situation, name) for situation in LIVES for name in NEWS}
    assert {LIVES[state]().job.state for state in JobState if state in LIVES} == set(JobState)
    assert all(LIVES[state]().job.state is state for state in JobState)


def test_every_kind_of_news_answer_and_reading_is_in_the_table() -> None:
    news = [item for _, item in NEWS.values()]

    assert {type(item) for item in news} == set(get_args(News))
    assert {type(item.answer) for item in news if isinstance(item, Answered)} == set(get_args(SubmitAnswer))
    assert {type(item.reading) for item in news if isinstance(item, Checked)} == set(get_args(Reading))


def test_the_edges_are_the_arrows_that_the_table_takes() -> None:
    taken = set()
    for situation, name in CELLS:
        done = happens(situation, name)
        before, after = done.before.job.state, done.after.job.state
        if before is not after:
            direct = after in EDGES[before]  # else adopted and read to its end by one check: through running
            taken |= {(before, after)} if direct else {(before, JobState.RUNNING), (JobState.RUNNING, after)}

    assert taken == {(before, after) for before, afters in EDGES.items() for after in afters}
