"""How fast jobs went in the last hour, day and week: from the slices, medians and the slow end. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from app.lifecycle.states import JobState
from app.storage.pace import Slice, Went

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Window(StrEnum):
    """A stretch of time that ends now."""

    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"


#: How long a slice of the window is, and how many there are.
SLICES = {
    Window.HOUR: (timedelta(minutes=5), 12),
    Window.DAY: (timedelta(hours=1), 24),
    Window.WEEK: (timedelta(hours=6), 28),
}


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Seconds; None where nothing is known."""

    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class Pace:
    """How jobs went in some time. Jobs that were never sent count, but say nothing of how long it takes."""

    settled: int
    estimated: bool
    failed_share: float | None  #: 0 to 1
    queue: Quantiles  #: from accept to the last send
    upstream: Quantiles  #: from there to the end
    total: Quantiles


def edges_of(window: Window, now: datetime) -> list[datetime]:
    """Where the window's slices begin and end, on round times (UTC); the last one ends now."""
    length, count = SLICES[window]
    last = _EPOCH + (now - _EPOCH) // length * length
    return [*(last - length * n for n in reversed(range(count))), max(now, last + timedelta(microseconds=1))]


def pace_of(slices: Sequence[Slice]) -> Pace:
    """The pace over all of these slices; in each, every job that was looked at stands for as many as there were in it."""
    weighed = [(went, s.settled / len(s.sample)) for s in slices for went in s.sample]
    whole = sum(weight for _, weight in weighed)
    failed = sum(weight for went, weight in weighed if went.state is JobState.FAILED)
    sent = [(went, weight) for went, weight in weighed if went.submitted_at is not None]
    return Pace(
        settled=sum(s.settled for s in slices),
        estimated=any(s.estimated for s in slices),
        failed_share=failed / whole if whole else None,
        queue=_quantiles(sent, lambda went: (went.submitted_at or went.created_at) - went.created_at),
        upstream=_quantiles(sent, lambda went: went.finished_at - (went.submitted_at or went.created_at)),
        total=_quantiles(sent, lambda went: went.finished_at - went.created_at),
    )


def _quantiles(sent: Sequence[tuple[Went, float]], took: Callable[[Went], timedelta]) -> Quantiles:
    return quantiles([(took(went).total_seconds(), weight) for went, weight in sent])


def quantiles(values: Sequence[tuple[float, float]]) -> Quantiles:
    """Of values with weights."""
    ordered = sorted(values)
    return Quantiles(_quantile(ordered, 0.5), _quantile(ordered, 0.95))


def _quantile(ordered: Sequence[tuple[float, float]], share: float) -> float | None:
    wanted, passed = share * sum(weight for _, weight in ordered), 0.0
    for value, weight in ordered:
        passed += weight
        if passed >= wanted:
            return round(value, 3)
    return ordered[-1][0] if ordered else None
