"""An event of a job's timeline as its callers see it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from app.storage.history import StoredEvent


class EventView(BaseModel):
    id: int = Field(description="Grows along the timeline of a job, with gaps.")
    at: datetime
    type: str = Field(examples=["running"])
    data: dict[str, Any]


def event_view(event: StoredEvent, *, for_admin: bool) -> EventView:
    """Which key asked for something is shown to admins alone."""
    data = {name: value for name, value in event.data.items() if for_admin or name != "by"}
    return EventView(id=event.event_id, at=event.at, type=event.type, data=data)
