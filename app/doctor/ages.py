"""How long something takes, in words."""

from __future__ import annotations

from datetime import timedelta

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60))


def spoken(length: timedelta) -> str:
    """As `40 s`, `12 min`, `3 h` or `2 d`: the largest unit of which there are two, rounded down."""
    seconds = max(0.0, length.total_seconds())  # the clock may have been set back
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= 2 * size), ("s", 1))
    return f"{seconds / size:.1f} s" if size == 1 and seconds < 10 else f"{int(seconds // size)} {unit}"
