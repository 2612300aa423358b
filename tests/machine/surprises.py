"""Errors that a duty survived and logged: in these tests nobody may have met one."""

from __future__ import annotations

from typing import Any, NoReturn

import structlog

from tests.machine.straight_transport import Killed

SURPRISES: list[str] = []


def keep_surprises(_logger: Any, method: str, event: dict[str, Any]) -> NoReturn:
    """A structlog processor that notes errors and drops every line."""
    error = event.get("exc_info")
    if method in ("error", "exception") and not isinstance(error, Killed):
        SURPRISES.append(f"{event.get('event')}: {error!r} {event.get('reason', '')}")
    raise structlog.DropEvent
