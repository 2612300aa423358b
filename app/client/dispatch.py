"""The gate, as operators see it."""

from __future__ import annotations

from datetime import datetime

from app.client.told import Told


class Door(Told):
    open: bool
    reason: str | None = None  #: why it is shut; docs/errors.md, "Of the gate"
    since: datetime | None = None
    until: datetime | None = None  #: when a single probe may go
    detail: str | None = None


class DispatchStatus(Told):
    submits: Door
    checks: Door
    paused_by: str | None = None
    failures: int = 0  #: failed submits in a row
    open_submissions: int = 0
    max_in_flight: int | None = None
