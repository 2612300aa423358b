"""`GET /jobs/{id}/events`: a job's timeline."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.access.callers import CurrentCaller, Scope
from app.answers import json_answer, problems
from app.own_job import own_life
from app.storage.history import StoredEvent

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=problems(401, 403, 503))


class EventView(BaseModel):
    id: int
    at: datetime
    type: str = Field(examples=["running"])
    data: dict[str, Any]


class EventList(BaseModel):
    events: list[EventView]


@router.get("/{job_id}/events", response_model=EventList, summary="A job's timeline", responses=problems(404))
async def list_events(request: Request, caller: CurrentCaller, job_id: str) -> Response:
    """Everything that happened to the job, oldest first."""
    life = await own_life(request, caller, job_id, Scope.JOBS_READ)
    events = await request.state.gateway.history.events(life.job.job_id)
    return json_answer(EventList(events=[event_view(e) for e in events]))


def event_view(event: StoredEvent) -> EventView:
    return EventView(id=event.event_id, at=event.at, type=event.type, data=dict(event.data))
