"""A wall clock that is off, for one process: the standard library's, replaced before anything else is imported."""

from __future__ import annotations

import datetime
import time
from datetime import timedelta
from typing import Any


def shift_clock(offset: timedelta) -> None:
    """From now on, whoever is imported sees the wall clock off by `offset`. The monotonic clock goes on as it is."""
    real, real_time, seconds = datetime.datetime, time.time, offset.total_seconds()

    class Kind(type):
        """Instants that others made are instants too."""

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, real)

    class Shifted(real, metaclass=Kind):  # type: ignore[valid-type, misc]
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return real.now(tz) + offset

    time.time = lambda: real_time() + seconds
    Shifted.__module__, Shifted.__name__, Shifted.__qualname__ = "datetime", "datetime", "datetime"
    datetime.datetime = Shifted  # type: ignore[misc]
