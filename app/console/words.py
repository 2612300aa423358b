"""Figures and instants in words, for templates. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from app.instants import written

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def span(seconds: float | None) -> str:
    """`1.4 s`, `38 s`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h`; a dash where nothing is known."""
    if seconds is None:
        return "–"
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds >= 0.95 else f"{seconds * 1000:.0f} ms"
    whole = round(seconds)
    largest = next(i for i, (_, length) in enumerate(_UNITS) if whole >= length)
    name, length = _UNITS[largest]
    words = [f"{whole // length} {name}"]
    if largest + 1 < len(_UNITS):
        smaller, unit = _UNITS[largest + 1]
        if part := whole % length // unit:
            words.append(f"{part} {smaller}")
    return " ".join(words)


def ago(at: datetime | None, now: datetime) -> str:
    """How long ago, or until when."""
    if at is None:
        return "–"
    seconds = (now - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"


def instant(at: datetime | None) -> str:
    """Date and time of day (UTC), to the second."""
    return "–" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def machine_time(at: datetime) -> str:
    """For the `datetime` attribute of `<time>`."""
    return written(at)


def number(value: float | None) -> str:
    """With thin groups of three; a dash where nothing is known."""
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def count(view: Any) -> str:
    """A count that may have stopped at a limit: `10 000+`."""
    return number(view.count) + ("+" if view.more else "")


def share(value: float | None) -> str:
    """0.123 as `12 %`; small shares keep a digit."""
    if value is None:
        return "–"
    percent = value * 100
    return f"{percent:.1f}\u202f%" if 0 < percent < 10 else f"{percent:.0f}\u202f%"


def plain(word: str) -> str:
    """`error_code` as `error code`."""
    return word.replace("_", " ").replace(".", " ")


FILTERS: dict[str, Callable[..., str]] = {
    f.__name__: f for f in (span, ago, instant, machine_time, number, count, share, plain)
}
