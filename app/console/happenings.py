"""The events of a timeline in words. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.console.words import plain
from app.jobs.event_view import EventView
from app.lifecycle.states import CompletedVia, JobState


@dataclass(frozen=True, slots=True)
class Happening:
    """A line of the timeline, as a page shows it."""

    event_id: int
    at: datetime
    gap: float | None  #: seconds since the line before; None for the first
    begins_day: bool  #: whether the line before is of another day (UTC)
    state: str  #: the state that it names, for its colour; empty where it names none
    words: str
    job: str | None  #: another job that it tells of
    by: str | None  #: the key that asked for it, where that is told
    operation: str | None  #: the operation that it was a part of
    data: str  #: all of it, as JSON


def happenings(events: Sequence[EventView]) -> list[Happening]:
    """Oldest first, as the events come."""
    return [_happening(event, before) for event, before in zip(events, [None, *events], strict=False)]


def _happening(event: EventView, before: EventView | None) -> Happening:
    data = event.data
    return Happening(
        event_id=event.id,
        at=event.at,
        gap=(event.at - before.at).total_seconds() if before else None,
        begins_day=before is None or before.at.date() != event.at.date(),
        state=event.type if event.type in set(JobState) else "",
        words=in_words(event.type, data),
        job=data.get("retry_of") or data.get("retry") or data.get("reused_from"),
        by=data.get("by"),
        operation=data.get("operation"),
        data=json.dumps(data, ensure_ascii=False, indent=2) if data else "",
    )


def in_words(event_type: str, data: Mapping[str, Any]) -> str:
    """What happened, in a line. A type that is not known here is told by its own name."""
    say = WORDS.get(event_type)
    return say(data) if say else plain(event_type).capitalize()


def _sub(data: Mapping[str, Any]) -> str:
    """Which submission, where there is more than the first."""
    number = data.get("submission", 1)
    return f" (submission {number})" if number > 1 else ""


def _credits(data: Mapping[str, Any]) -> str:
    credits = data.get("credits")
    return "" if credits is None else f", {credits} credits"


def _pictures(data: Mapping[str, Any]) -> str:
    images = data.get("images")
    return "" if not images else ", 1 picture" if images == 1 else f", {images} pictures"


def _succeeded(data: Mapping[str, Any]) -> str:
    if data.get("reused_from"):
        return "Succeeded at once, by the result of an earlier job, for 0 credits"
    return f"Succeeded{_pictures(data)}{_via(data)}"


def _via(data: Mapping[str, Any]) -> str:
    return _BROUGHT_BY.get(data.get("via", ""), "")


_BROUGHT_BY = {
    CompletedVia.CALLBACK.value: "; a callback had caused the check",
    CompletedVia.POLL.value: "; found by a check of our own",
    CompletedVia.OPERATOR.value: "; an operator had asked for the check",
}

WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "accepted": lambda d: "Accepted, as a retry of another job" if d.get("retry_of") else "Accepted",
    "submitting": lambda d: f"Being sent upstream{_sub(d)}",
    "running": lambda d: f"The upstream took it: task {d.get('task_id')}{_sub(d)}",
    "queued": lambda d: f"Back in the queue, to be sent again{_sub(d)}",
    "given_back": lambda d: f"Given back before it was sent: {d.get('reason')}{_sub(d)}",
    "released": lambda d: f"Not accepted, at no cost: {d.get('detail')}{_sub(d)}",
    "rejected": lambda d: f"The upstream refused the request itself: {d.get('message')}{_sub(d)}",
    "answer_lost": lambda d: f"The upstream's answer was lost: {d.get('detail')}{_sub(d)}",
    "confirmed_late": lambda d: f"The answer came after the end: task {d.get('task_id')}{_sub(d)}",
    "callback": lambda d: (
        f"A callback came and named task {d['named']}{_sub(d)}" if d.get("named") else f"A callback came{_sub(d)}"
    ),
    "candidate_named": lambda d: f"An operator named task {d.get('task_id')} as a candidate{_sub(d)}",
    "candidate_dropped": lambda d: f"Candidate {d.get('task_id')} dropped: {d.get('reason')}{_sub(d)}",
    "adopted": lambda d: f"A check confirmed task {d.get('task_id')}{_sub(d)}",
    "checked": lambda d: f"A check read {d.get('read')}{_credits(d)}{_sub(d)}",
    "check_asked": lambda d: f"An operator asked for a check{_sub(d)}",
    "late_result": lambda d: f"The task ended after the job: {d.get('status')}{_credits(d)}{_pictures(d)}{_sub(d)}",
    "written_off": lambda d: f"Given up learning its price: {d.get('credits')} credits may have been spent{_sub(d)}",
    "cancel_requested": lambda d: "Cancel asked for",
    "retried": lambda d: "Asked for again, as another job",
    "redelivery_asked": lambda d: f"Delivery {d.get('delivery_id')} asked for again",
    "succeeded": _succeeded,
    "failed": lambda d: f"Failed: {plain(d.get('code') or 'unknown')}{_via(d)}",
    "canceled": lambda d: f"Canceled{_pictures(d)}{_via(d)}",
}
