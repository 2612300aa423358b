"""The states that a job went through, read from its timeline. Pure.

A timeline tells what happened, not every state: that an answer was lost, for one, means `unconfirmed` only where the job was
being sent. The rules are those of `lifecycle.transitions`; a test walks both side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.jobs.event_view import EventView
from app.lifecycle.states import SETTLED, JobState

_ENDS = {state.value: state for state in SETTLED}
_SENT = (JobState.SUBMITTING, JobState.UNCONFIRMED)


@dataclass(frozen=True, slots=True)
class Step:
    """A state that the job came to, and when."""

    state: JobState
    at: datetime


def job_path(events: Sequence[EventView]) -> list[Step]:
    """From the first state to where the last event left it; each step differs from the one before."""
    walk = _Walk()
    for event in events:
        walk.go(event)
    return walk.steps


@dataclass
class _Walk:
    steps: list[Step] = field(default_factory=list)
    current: int = 0  #: the number of the newest submission
    open: set[int] = field(default_factory=set)
    tasked: set[int] = field(default_factory=set)  #: whose task is known
    lost: set[int] = field(default_factory=set)  #: whose answer was lost

    @property
    def at(self) -> JobState | None:
        return self.steps[-1].state if self.steps else None

    def go(self, event: EventView) -> None:
        number, ended = event.data.get("submission", 0), _ENDS.get(event.type)
        if ended is not None:
            self._end(event, ended)
        elif event.type in ("accepted", "queued"):
            self._to(JobState.QUEUED, event)
        elif event.type == "submitting":
            self.current = number
            self.open.add(number)
            self._to(JobState.SUBMITTING, event)
        elif event.type in ("running", "adopted", "confirmed_late"):
            self._task_known(event, number)
        elif event.type == "answer_lost":
            self._answer_lost(event, number)
        elif event.type in ("released", "rejected", "given_back"):
            self._not_accepted(event, number)
        elif event.type in ("checked", "written_off", "late_result"):
            self._closed(event, number)

    def _end(self, event: EventView, ended: JobState) -> None:
        if "reused_from" in event.data:  # settled as it was accepted: it never stood in the queue
            self.steps.clear()
        self._to(ended, event)

    def _task_known(self, event: EventView, number: int) -> None:
        self.open.add(number)
        self.tasked.add(number)
        if self.at not in SETTLED:
            self._to(JobState.RUNNING, event)

    def _answer_lost(self, event: EventView, number: int) -> None:
        self.lost.add(number)
        if self.at is JobState.SUBMITTING:
            self._to(JobState.UNCONFIRMED, event)

    def _not_accepted(self, event: EventView, number: int) -> None:
        self.open.discard(number)
        if self.at in _SENT and self.open:  # an earlier one may still bring its pictures
            self._to(JobState.UNCONFIRMED, event)

    def _closed(self, event: EventView, number: int) -> None:
        """The end of a task ends the job, unless a submission whose task nobody knows may still bring its pictures."""
        if event.type == "checked" and event.data.get("read") not in ("SUCCESS", "FAILED"):
            return
        if event.type == "checked" and "credits" not in event.data:
            return  # it ended, and its pictures are not shown yet
        self.open.discard(number)
        failed = event.type == "checked" and event.data["read"] == "FAILED"
        if failed and self.at is JobState.RUNNING and self.open and not self.open & self.tasked:
            waiting = self.current in self.open and self.current not in self.lost
            self._to(JobState.SUBMITTING if waiting else JobState.UNCONFIRMED, event)

    def _to(self, state: JobState, event: EventView) -> None:
        if state is not self.at:
            self.steps.append(Step(state, event.at))
