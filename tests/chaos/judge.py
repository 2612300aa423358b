"""The promises, one function each, held against the ledger, the upstream's account and what callers and receivers saw.

Each returns what is wrong, in sentences with ids and rows, for whoever is woken by it; nothing, where the promise holds.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app.client.delivery import UnverifiedDeliveryError, verify_delivery
from app.lifecycle.states import NOT_ACCEPTED, READ_TO_THE_END, SETTLED
from tests.chaos.callers import Answer, Order
from tests.chaos.ledger import Ledger
from tests.chaos.receiver import Arrival
from tests.chaos.trouble import Kind, Trouble
from tests.chaos.upstream import LIE, UNREADABLE

Tasks = Sequence[dict[str, Any]]
Painted = Callable[[str], str | None]
RECOVERY = 5.0  #: seconds in which a gateway finds a database that is back

#: What each request may be answered, besides a 503 that says when to come again: docs/api.md.
DOCUMENTED: dict[str, set[tuple[int, str | None]]] = {
    "accept": {(202, None), (200, None)},
    "repeat": {(200, None)},
    "show": {(200, None)},
    "list": {(200, None)},
    "events": {(200, None)},
    "cancel": {(200, None), (202, None), (409, "already_settled")},
    "retry": {(202, None), (200, None), *((409, c) for c in ("not_settled", "already_succeeded", "may_be_billed_twice"))},
}
_PROOF = {"released", "given_back"}


def unanswered(answers: Sequence[Answer]) -> Iterator[str]:
    """Every answer was one that is documented; only a dead process refuses or cuts a connection."""
    for answer in answers:
        if answer.status is None and not answer.replica.was_down(answer.began, answer.ended):
            yield f"{answer.replica.name} was alive, and cut off a request to {answer.what}: {answer.told}"
        elif answer.status is not None and not answer.is_away and (answer.status, answer.code) not in DOCUMENTED[answer.what]:
            yield f"{answer.replica.name} answered {answer.what} with {answer.status} {answer.code}: {answer.told}"


def lost_jobs(orders: Sequence[Order], ledger: Ledger) -> Iterator[str]:
    """What was accepted is there under the one id that was told, as it was ordered, and settled; and nothing else is there."""
    told: set[UUID] = set()
    by_prompt = Counter(row.prompt for row in ledger.jobs.values() if row.retry_of is None)
    for order in orders:
        ids = {UUID(one) for one in order.ids}
        told |= ids | {UUID(one) for one in order.retries}
        if len(ids) > 1:
            yield f"order {order.number} was told several ids: {ids}"
        if by_prompt[order.prompt] > 1:
            yield f"order {order.number} is there {by_prompt[order.prompt]} times: {order.prompt!r}"
        for job_id in ids:
            row = ledger.jobs.get(job_id)
            if row is None:
                yield f"job {job_id} was accepted (order {order.number}) and is not there"
            elif (row.prompt, row.idempotency_key, row.callback_url) != (order.prompt, order.key, order.receiver):
                yield f"job {job_id} is not what order {order.number} was: {row}"
        for retry in map(UUID, order.retries):
            if retry not in ledger.jobs:
                yield f"job {retry}, a retry of {ids}, was accepted and is not there"
    in_doubt = {order.prompt for order in orders if order.may_be_there}
    asked_again = {UUID(one) for order in orders if order.retry_asked for one in order.ids}
    for job_id, row in ledger.jobs.items():
        if job_id not in told and row.retry_of is None and row.prompt not in in_doubt:
            yield f"job {job_id} is there, and nobody ordered it: {row.prompt!r}"
        elif row.retry_of is not None and row.retry_of not in asked_again:
            yield f"job {job_id} is a retry of {row.retry_of}, and nobody asked for it"


def broken_cancels(orders: Sequence[Order], ledger: Ledger) -> Iterator[str]:
    """What was said to whoever canceled is what became of it; and nothing else was canceled."""
    asked: set[UUID] = set()
    for order in (order for order in orders if order.cancel_asked):
        job_id = UUID(order.ids[0])
        asked.add(job_id)
        state = ledger.jobs[job_id].state if job_id in ledger.jobs else None
        if order.cancel_answered in (200, 202) and state != "canceled":
            yield f"job {job_id} is {state}, and its cancel was answered {order.cancel_answered}"
        elif order.cancel_answered == 409 and state == "canceled":
            yield f"job {job_id} is canceled, and its cancel was answered 409"
    for job_id, row in ledger.jobs.items():
        if row.state == "canceled" and not (job_id in asked and row.cancel_requested):
            yield f"job {job_id} was canceled, and nobody asked for it"


def changed_ends(shown: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]], ledger: Ledger) -> Iterator[str]:
    """What callers were shown of a settled job is what they are shown in the end, and what the books say.

    Args:
        shown: jobs that were settled when they were shown.
        now: all jobs, as they are shown in the end.
    """
    ends = {job["id"]: _end(job) for job in now}
    for job in shown:
        if _end(job) != ends.get(job["id"]):
            yield f"job {job['id']} was shown settled as {_end(job)}, and now is {ends.get(job['id'])}"
    for job in now:
        row = ledger.jobs.get(UUID(job["id"]))
        if row is None or row.state != job["state"]:
            yield f"job {job['id']} is shown {job['state']}, and the books say {row and row.state}"


def turned_away_without_need(answers: Sequence[Answer], trouble: Trouble) -> Iterator[str]:
    """The database was said to be away only while something was wrong with it, or a little later; and not in the calm.

    A process that is frozen amid a transaction holds what others wait for, until the database ends its connection.
    """
    for answer in answers:
        if not answer.is_away:
            continue
        if not trouble.was({Kind.DATABASE, Kind.FROZEN}, answer.since, answer.until, after=RECOVERY):
            yield f"{answer.replica.name} answered {answer.what} with a 503 while nothing was wrong with the database"
        elif answer.since >= trouble.calm_since:
            yield f"{answer.replica.name} answered {answer.what} with a 503 in the calm"


def broken_callbacks(tasks: Tasks) -> Iterator[str]:
    """The upstream, which calls only the addresses that it was given, is never told anything but yes, or later."""
    for task in tasks:
        for callback in task["callbacks"]:
            if callback["http_status"] not in (204, 503, None):
                yield f"a callback of task {task['task_id']} was answered {callback['http_status']}: {callback}"


def unsettled_jobs(ledger: Ledger, tasks: Tasks) -> Iterator[str]:
    """Every job is settled; what succeeded, did so upstream. Of what failed: `explained`."""
    by_job = _tasks_by_job(ledger, tasks)
    for job_id, row in ledger.jobs.items():
        statuses = {task["status"] for task in by_job.get(job_id, [])}
        if row.state not in SETTLED:
            yield f"job {job_id} is {row.state}, due {row.due_at}; {_told(ledger, job_id)}"
        elif row.state == "succeeded" and "SUCCESS" not in statuses and row.completed_via != "reuse":
            yield f"job {job_id} succeeded, and no task of it did: {statuses}"


def second_submissions(ledger: Ledger, tasks: Tasks) -> Iterator[str]:
    """Before a job was sent again, the timeline holds the proof; so it was accepted twice only where the upstream lied."""
    for job_id, events in ledger.events.items():
        proven: set[int] = set()
        for event in events:
            number = event.data.get("submission")
            if event.type in _PROOF:
                proven.add(number)
            elif event.type == "submitting" and (missing := set(range(1, number)) - proven):
                yield f"job {job_id} was sent as submission {number} without proof of {missing}: {_told(ledger, job_id)}"
    for job_id, found in _tasks_by_job(ledger, tasks).items():
        honest = [task["task_id"] for task in found if LIE not in task["faults"]]
        if len(honest) > 1:
            yield f"job {job_id} was paid {len(honest)} times: {honest}; {_told(ledger, job_id)}"
    twice = [row for row in ledger.by_token.values() if row.outcome in NOT_ACCEPTED and row.task_id is not None]
    yield from (f"a submission is not accepted and has a task: {row}" for row in twice)


def lost_credits(ledger: Ledger, account: dict[str, Any]) -> Iterator[str]:
    """Every task's credits are on the submission that made it; what nobody was told is shown as unresolved."""
    tasks: Tasks = account["tasks"]
    paid = 0
    for task in tasks:
        s = ledger.submission_of(task)
        if s is None:
            yield f"task {task['task_id']} was made by no submission: {task['prompt']!r}"
        elif s.task_id == task["task_id"] and s.outcome in READ_TO_THE_END:
            paid += s.credits
            if s.credits != task["consumed_credits"]:
                yield f"task {task['task_id']} cost {task['consumed_credits']}, and the books of {s.job_id} say {s.credits}"
        elif (why := _why_unread(s, task, ledger)) is not None:
            yield f"task {task['task_id']} cost {task['consumed_credits']}, and {why}: {s}; {_told(ledger, s.job_id)}"
    made = {task["task_id"] for task in tasks}
    for s in ledger.by_token.values():
        if s.task_id is not None and s.task_id not in made:
            yield f"submission {s.number} of {s.job_id} has task {s.task_id}, which the upstream never made"
    booked = sum(s.credits or 0 for s in ledger.by_token.values())
    if booked != paid:
        yield f"the submissions hold {booked} credits, of which the upstream's account explains {paid}"
    consumed = sum(key["consumed"] for key in account["keys"].values())
    charged = sum(task["consumed_credits"] for task in tasks)
    if consumed != charged:
        yield f"the emulator contradicts itself: {consumed} charged to keys, {charged} to tasks"


def wrong_sums(ledger: Ledger) -> Iterator[str]:
    """What usage and budgets are read from says what the jobs say."""
    states = Counter(row.state for row in ledger.jobs.values())
    expected = {
        "accepted": len(ledger.jobs),
        "open": sum(states[state] for state in states if state not in SETTLED),
        "consumed": sum(s.credits or 0 for s in ledger.by_token.values()),
        "held": 5 * (states["queued"] + sum(s.outcome == "open" for s in ledger.by_token.values())),
        **{state: states[state] for state in ("succeeded", "failed", "canceled")},
    }
    for name, wanted in expected.items():
        if ledger.usage[name] != wanted:
            yield f"usage says {ledger.usage[name]} {name}, the jobs say {wanted}"


def lost_deliveries(ledger: Ledger, arrivals: Sequence[Arrival], secret: str, *, clock_is_right: bool) -> Iterator[str]:
    """Each settled job with a receiver has one delivery, and the receiver took it, signed, and saw the job as it ended.

    Args:
        clock_is_right: whether the clock that signs was; else only the signature itself is looked at, not its age.
    """
    taken: set[UUID] = set()
    ours = {str(delivery.delivery_id): job_id for job_id, made in ledger.deliveries.items() for delivery in made}
    for arrival in arrivals:
        try:
            now = arrival.at if clock_is_right else datetime.fromtimestamp(int(arrival.headers["webhook-timestamp"]), UTC)
            told = verify_delivery(secret, arrival.headers, arrival.body, now=now)
        except UnverifiedDeliveryError as error:
            yield f"a delivery came that is not genuine: {error}; {arrival.headers}"
            continue
        row = ledger.jobs.get(UUID(str(told.job.id)))
        if row is None or told.type != f"job.{row.state}":
            yield f"delivery {told.webhook_id} tells of {told.type} for {told.job.id}, which is {row and row.state}"
        if ours.get(told.webhook_id) != UUID(str(told.job.id)):
            yield f"delivery {told.webhook_id} tells of {told.job.id}, and is none of its deliveries"
        elif arrival.status == 204:
            taken.add(UUID(told.webhook_id))
    for job_id, row in ledger.jobs.items():
        made = ledger.deliveries.get(job_id, [])
        if len(made) != (1 if row.callback_url else 0):
            yield f"job {job_id} ({row.state}, {row.callback_url}) has {len(made)} deliveries"
        for delivery in made:
            attempts = [(a.number, a.status, a.error) for a in ledger.attempts.get(delivery.delivery_id, [])]
            if delivery.state == "delivered" and delivery.delivery_id not in taken:
                yield f"delivery {delivery.delivery_id} of {job_id} is said to be delivered, and nobody took it: {attempts}"
            elif delivery.state != "delivered":
                yield f"delivery {delivery.delivery_id} of {job_id} is {delivery.state}, due {delivery.due_at}: {attempts}"


def lost_pictures(ledger: Ledger, tasks: Tasks, folder: Path, painted: Painted) -> Iterator[str]:
    """Every picture of a job is its own task's, and kept, byte for byte, but for those that the upstream does not have.

    Args:
        painted: the SHA-256 of what the upstream shows at an address; None where it was not asked.
    """
    gone = {task["image_url"] for task in tasks if "image-gone" in task["faults"]}
    by_job = _tasks_by_job(ledger, tasks)
    for job_id, job in ledger.jobs.items():
        own = {task["image_url"] for task in by_job.get(job.reused_from or job_id, []) if task["status"] == "SUCCESS"}
        sources = [row.source_url for row in ledger.images.get(job_id, [])]
        if not own.issuperset(sources):
            yield f"job {job_id} has pictures that are not its task's: {sources}, {own}"
        elif job.state == "succeeded" and len(sources) != 1:
            yield f"job {job_id} succeeded, and has {len(sources)} pictures: {sources}"
    for job_id, rows in ledger.images.items():
        for row in rows:
            if row.state == "stored":
                where = next(folder.glob(f"{row.sha256[:2]}/{row.sha256[2:4]}/{row.sha256}.[jpw]*"), None)
                if where is None or hashlib.sha256(where.read_bytes()).hexdigest() != row.sha256:
                    yield f"picture {row.index} of {job_id} is said to be stored, and {where} is not it"
                elif (shown := painted(row.source_url)) not in (row.sha256, None):
                    yield f"picture {row.index} of {job_id} is {row.sha256}, and the upstream shows {shown}"
            elif row.source_url not in gone:
                yield f"picture {row.index} of {job_id} is {row.state}, due {row.due_at}: {row.error}"


def surprises(log: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Nothing was logged with a trace, or as a defect, and no process spoke out of turn."""
    for line in log:
        text = line.get("raw", "")
        if "exception" in line or "Traceback" in text or line.get("level") == "critical":
            told = {key: str(value)[-600:] for key, value in line.items()}
            yield f"logged: {told}"


def _why_unread(s: Row[Any], task: dict[str, Any], ledger: Ledger) -> str | None:
    """What stands against this task's credits being on no submission; None where nobody could know them."""
    events = ledger.events.get(s.job_id, [])
    if (
        any(
            e.type == "candidate_dropped" and e.data["task_id"] == task["task_id"] and "know" in e.data["reason"]
            for e in events
        )
        and "status-404" in task["status_answers"]
    ):
        return None  # a callback named it too late to be young, and the upstream lied to the one check: 404
    if s.task_id == task["task_id"]:
        unreadable = UNREADABLE & task["faults"].keys()
        return None if unreadable and s.outcome == "open" else f"its books are {s.outcome}"
    if s.task_id is not None:
        return f"its submission has another task, {s.task_id}"
    if s.outcome == "open":  # its answer was lost, and so were its callbacks; the job says so
        heard = [c for c in task["callbacks"] if c["kind"] in ("true", "double") and c["http_status"] == 204]
        return f"a callback told of it: {heard}" if heard else None
    return None if LIE in task["faults"] and s.outcome == "released" else f"its submission was {s.outcome}"


def _end(job: dict[str, Any]) -> tuple[Any, ...]:
    """What never changes again; the error of a canceled job may still come, with the end of its task."""
    error = job["error"] if job["state"] == "failed" else None
    return job["state"], job["finished_at"], job["completed_via"], error and error["code"]


def _tasks_by_job(ledger: Ledger, tasks: Tasks) -> dict[UUID, list[dict[str, Any]]]:
    found: dict[UUID, list[dict[str, Any]]] = {}
    for task in tasks:
        if (s := ledger.submission_of(task)) is not None:
            found.setdefault(s.job_id, []).append(task)
    return found


def _told(ledger: Ledger, job_id: UUID) -> str:
    """The job's timeline, in short."""
    return " · ".join(f"{e.type} {e.data.get('submission', '')}".strip() for e in ledger.events.get(job_id, []))
