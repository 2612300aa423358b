"""Why jobs failed: each must have a reason that the upstream's account knows, or the record of what went wrong when.

What a job says of itself is no reason: "the answer was lost" counts only where the upstream says that it did not tell it, or
somebody was struck while it was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from tests.chaos.hurry import LEASE, SEAMS
from tests.chaos.ledger import Ledger
from tests.chaos.stage import JOB_DEADLINE, QUEUE_DEADLINE, SUBMIT_ATTEMPTS
from tests.chaos.trouble import FELLING, Kind, Trouble
from tests.chaos.upstream import LIE

SUCCEEDING = 0.5  #: of the jobs that nothing should keep from succeeding, at least so many do, whatever strikes the gateway

#: Faults of a submit with which a job may fail; `answer-hang` only where it is held back for longer than we wait.
FAILING = {
    "answer-lost", "drop-before-accept", "submit-500", "submit-500-accepted", "submit-502-html", "submit-502-accepted",
    "submit-503", "submit-429", "submit-402", "submit-403", "submit-401", "code-mismatch", "task-id-in-error", "status-404",
    "never-ends", "content-failure", "failure-billed", "forgotten",
}  # fmt: skip
_SAYS_NOTHING = {"drop-before-accept", "submit-502-html", "submit-503"}  #: refused, in words that prove nothing
_NOT_OVER = {"PENDING", "IN_PROGRESS", "status-404"}
_ERRORS = {"status-404", "status-500", "status-429", "status-html"}
_SLOW = 2.0  #: seconds that a process may need to write down what it knows


@dataclass(frozen=True)
class Case:
    """A job with all that speaks for what became of it."""

    job: Row[Any]
    submissions: list[Row[Any]]
    events: list[Row[Any]]
    tasks: Mapping[int, dict[str, Any]]  #: by the number of the submission
    refused: Mapping[int, set[str]]  #: the faults by which a submission was refused, by its number
    trouble: Trouble

    @property
    def faults(self) -> set[str]:
        """All that struck a submit of it; a hang, only one for which nobody waits."""
        struck = {name for task in self.tasks.values() for name in task["faults"] if name != "answer-hang"}
        hung = {"answer-hang" for task in self.tasks.values() if _was_not_told(task) and task["submit_answer"] == "hung"}
        return struck | hung | {name for faults in self.refused.values() for name in faults}

    @property
    def is_well(self) -> bool:
        """Nothing that the upstream did to it, or that anybody asked for, keeps it from succeeding."""
        readings = {word for task in self.tasks.values() for word in task["status_answers"]}
        return not (self.job.cancel_requested or (FAILING | {"answer-hang"}) & self.faults or _ERRORS & readings)

    def was_struck(self, since: datetime, until: float, *kinds: Kind) -> bool:
        """Whether something went wrong then; a clock counts only where it dates the rows."""
        counted = set(kinds) - (set() if self.trouble.offsets else {Kind.CLOCK})
        return self.trouble.was(counted, self.trouble.real(since), until, after=_SLOW)

    @property
    def finished(self) -> float:
        return self.trouble.real(self.job.finished_at)

    @property
    def failing(self) -> Row[Any]:
        """The submission that the job failed by."""
        number = next((e.data.get("submission") for e in self.events if e.type == "failed"), None)
        return self.submissions[(number or self.job.submission) - 1]


def cases(ledger: Ledger, account: dict[str, Any], trouble: Trouble) -> dict[UUID, Case]:
    """One of each job."""
    tasks: dict[tuple[UUID, int], dict[str, Any]] = {}
    refused: dict[tuple[UUID, int], set[str]] = {}
    for task in account["tasks"]:
        if (s := ledger.submission_of(task)) is not None:
            tasks[s.job_id, s.number] = task
    for refusal in account["refusals"]:
        if (s := ledger.submission_of(refusal)) is not None:
            refused[s.job_id, s.number] = set(refusal["faults"])
    return {
        job_id: Case(
            row,
            ledger.submissions.get(job_id, []),
            ledger.events.get(job_id, []),
            {number: task for (owner, number), task in tasks.items() if owner == job_id},
            {number: faults for (owner, number), faults in refused.items() if owner == job_id},
            trouble,
        )
        for job_id, row in ledger.jobs.items()
    }


def unexplained_failures(ledger: Ledger, account: dict[str, Any], trouble: Trouble) -> Iterator[str]:
    """Every job that failed had to; and of those that nothing kept from it, most succeeded."""
    found = cases(ledger, account, trouble)
    for job_id, case in found.items():
        if case.job.state == "failed" and (why_not := _why_not(case)):
            timeline = " · ".join(f"{e.type} {e.data}" for e in case.events)
            yield f"job {job_id} failed as {case.job.error_code}, and {why_not}; {timeline}; {case.tasks}; {case.refused}"
        yield from (f"job {job_id} was released without a refusal: {s}" for s in case.submissions if _was_let_go(case, s))
    well = [case.job.state == "succeeded" for case in found.values() if case.is_well]
    if sum(well) < SUCCEEDING * len(well):
        yield f"of {len(well)} jobs that nothing kept from it, only {sum(well)} succeeded"


def _why_not(case: Case) -> str | None:
    if why_not := _EXPLAINED[case.job.error_code](case):
        return why_not
    idle = case.is_well and not case.was_struck(case.job.created_at, case.finished, *Kind)
    return "nothing was wrong then" if idle else None


def _generation_failed(case: Case) -> str | None:
    statuses = {task["status"] for task in case.tasks.values()}
    return None if "FAILED" in statuses else f"no task of it did: {statuses}"


def _deadline_exceeded(case: Case) -> str | None:
    """A check after the deadline was told that the task is not over, or that there is none."""
    s = case.failing
    task = case.tasks.get(s.number)
    if task is None:
        return "there was no task to wait for"
    if case.was_struck(s.sent_at, case.finished, Kind.CLOCK):
        return None
    not_over = _NOT_OVER | ({"SUCCESS"} if "response-null" in task["faults"] else set())
    last = max((at for word, at in task["status_answers"].items() if word in not_over), default=0.0)
    on_time = last < case.trouble.real(s.sent_at) + JOB_DEADLINE
    return f"no check after its deadline was told that the task is not over: {task['status_answers']}" if on_time else None


def _submission_unconfirmed(case: Case) -> str | None:
    """Its answer was not told, or somebody was struck meanwhile; and no callback that names its task was taken."""
    s = case.failing
    task = case.tasks.get(s.number)
    lost = _SAYS_NOTHING & case.refused.get(s.number, set()) or (task is not None and _was_not_told(task))
    sent = case.trouble.real(s.sent_at)
    if not lost and not case.was_struck(s.sent_at, sent + LEASE.total_seconds(), *FELLING, Kind.UPSTREAM, Kind.CLOCK):
        return "its answer was told"
    heard = [c for c in (task or {"callbacks": []})["callbacks"] if _was_heard(c, case.finished)]
    return f"a callback told of it: {heard}" if heard and task and "status-404" not in task["status_answers"] else None


def _upstream_unavailable(case: Case) -> str | None:
    accepted = [task for task in case.tasks.values() if LIE not in task["faults"]]
    if accepted:
        return f"was accepted: {accepted}"
    released = sum(e.type == "released" for e in case.events)
    waited = (case.job.finished_at - case.job.created_at).total_seconds()
    spent = released >= SUBMIT_ATTEMPTS or waited >= QUEUE_DEADLINE
    return None if spent else f"was refused only {released} times in {waited} s"


def _task_lost(case: Case) -> str | None:
    return None if "forgotten" in case.faults else f"its task was never forgotten: {case.faults}"


def _upstream_rejected(case: Case) -> str | None:
    return f"nothing was wrong with it: {case.job.error_message}"


_EXPLAINED: Mapping[str, Callable[[Case], str | None]] = {
    "generation_failed": _generation_failed,
    "deadline_exceeded": _deadline_exceeded,
    "submission_unconfirmed": _submission_unconfirmed,
    "upstream_unavailable": _upstream_unavailable,
    "task_lost": _task_lost,
    "upstream_rejected": _upstream_rejected,
}


def _was_not_told(task: dict[str, Any]) -> bool:
    """What a submit's answer said of it, or failed to say in time."""
    if task["submit_answer"] == "hung":
        hung: float = task["faults"]["answer-hang"]
        return hung >= SEAMS.timeouts.submit.total_seconds()
    return task["submit_answer"] in ("lost", "error")


def _was_heard(callback: dict[str, Any], by: float) -> bool:
    named = callback["kind"] in ("true", "double")
    return named and callback["http_status"] == 204 and callback["ended_at"] < by


def _was_let_go(case: Case, s: Row[Any]) -> bool:
    """The books say that it was not accepted, and nobody refused it."""
    if s.outcome != "released" or s.number in case.refused:
        return False
    if (task := case.tasks.get(s.number)) is not None:
        return LIE not in task["faults"]
    told = [e.data["reason"] for e in case.events if e.type == "released" and e.data["submission"] == s.number]
    if told == ["not_connected"]:  # a machine that is busy; that nothing was sent, is what the account says
        return False
    return not case.was_struck(s.sent_at, case.trouble.real(s.sent_at) + LEASE.total_seconds(), Kind.UPSTREAM)
