"""Where the time comes from: a callable that says what time it is, so that tests may say another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]  #: returns an aware instant in UTC


def system_clock() -> datetime:
    """The process's clock."""
    return datetime.now(UTC)
