"""A job's timeline: read to its end for the path, shown in parts, the newest first of all."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request

from app.access.callers import Caller
from app.console.asking import asked
from app.jobs.event_view import EventView
from app.jobs.timeline import EventList, EventQuery, list_events

READ_MAX = 20_000  #: events; a page of one job must not hold up the others
SHOWN_MAX = 1000  #: events


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a timeline, oldest first, and the ways to what is left out."""

    events: Sequence[EventView]
    earlier: int  #: events in front of it
    later: int  #: events behind it
    before: int  #: behind which event the part in front of it begins
    behind: int  #: behind which event the next part begins
    is_whole: bool  #: False where even more was not read


async def whole_timeline(request: Request, caller: Caller, job_id: str) -> EventList:
    """All of it, oldest first; `has_more` where that is more than is read."""
    events: list[EventView] = []
    while True:
        query = EventQuery(after=events[-1].id if events else 0)
        found = await asked(list_events(request, caller, job_id, query), EventList)
        events += found.events
        if not found.has_more or len(events) >= READ_MAX:
            return EventList(events=events, has_more=found.has_more)


def part_of(timeline: EventList, after: int | None) -> Part:
    """The part from behind the event `after` on; without it, the newest."""
    ids = [event.id for event in timeline.events]
    start = max(0, len(ids) - SHOWN_MAX) if after is None else bisect_right(ids, after)
    end, before = min(start + SHOWN_MAX, len(ids)), max(0, start - SHOWN_MAX)
    return Part(
        timeline.events[start:end], earlier=start, later=len(ids) - end,
        before=ids[before - 1] if before else 0, behind=ids[end - 1] if end else 0, is_whole=not timeline.has_more,
    )  # fmt: skip
