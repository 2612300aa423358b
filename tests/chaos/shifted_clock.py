"""A wall clock that is off, for one process: the standard library's, replaced before anything else is imported.

By how much it is off stands in a file, which is looked at for every instant: whoever writes there makes the clock jump.
"""

from __future__ import annotations

import datetime
import mmap
import struct
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

_SECONDS = struct.Struct("d")


def set_offset(file: Path, seconds: float) -> None:
    """From now on, the clocks of the processes that look at this file are off by so much, amid their work."""
    mode = "r+b" if file.exists() else "w+b"
    with file.open(mode, buffering=0) as written:
        written.write(_SECONDS.pack(seconds))


def shift_clock(file: Path) -> None:
    """From now on, whoever is imported sees the wall clock off by what the file says. The monotonic clock goes on as it is."""
    real, real_time, offset = datetime.datetime, time.time, _offset_in(file)

    class Kind(type):
        """Instants that others made are instants too."""

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, real)

    class Shifted(real, metaclass=Kind):  # type: ignore[valid-type, misc]
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return real.now(tz) + timedelta(seconds=offset())

    time.time = lambda: real_time() + offset()
    Shifted.__module__, Shifted.__name__, Shifted.__qualname__ = "datetime", "datetime", "datetime"
    datetime.datetime = Shifted  # type: ignore[misc]


def _offset_in(file: Path) -> Callable[[], float]:
    """The file is mapped into memory, so that looking at it costs next to nothing."""
    with file.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), _SECONDS.size, access=mmap.ACCESS_READ)
    return lambda: float(_SECONDS.unpack_from(mapped)[0])
