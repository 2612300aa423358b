"""One thing that happened to a job."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from app.client.told import Told


class Event(Told):
    id: int  #: grows; where to go on after a break
    type: str
    at: datetime | None = None
    data: dict[str, Any] = Field(default_factory=dict)


class EventList(Told):
    events: list[Event]
    has_more: bool = False
