"""How fast jobs went in the last hour, day and week: from stretches of time, medians and the slow end. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby

from app.instants import EPOCH
from app.lifecycle.states import JobState
from app.storage.pace import Stretch, Went


class Window(StrEnum):
    """A stretch of time that ends now."""

    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"


PARTS = 4  #: stretches that a slice is read in, so that what is looked at lies all over it

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
    """Where the stretches begin and end in which a window is read. Its slices begin on round times (UTC); the last ends now."""
    length, count = SLICES[window]
    first = _round(now, length) - length * (count - 1)
    part = length / PARTS
    done = (now - first) // part
    return [*(first + part * n for n in range(done + 1)), max(now, first + part * done + timedelta(microseconds=1))]


def slices_of(window: Window, stretches: Sequence[Stretch]) -> list[tuple[datetime, list[Stretch]]]:
    """The window's slices, the oldest first: when each begins, and what it was read in."""
    length, _ = SLICES[window]
    return [(begin, list(parts)) for begin, parts in groupby(stretches, lambda s: _round(s.begins_at, length))]


def pace_of(stretches: Sequence[Stretch]) -> Pace:
    """The pace over all of these; in each, every job that was looked at stands for as many as there were in it."""
    weighed = [(went, sum(s.settled.values()) / len(s.sample)) for s in stretches for went in s.sample]
    sent = [(went, weight) for went, weight in weighed if went.submitted_at is not None]
    settled, failed = settled_of(stretches), settled_of(stretches, JobState.FAILED)
    return Pace(
        settled=settled,
        estimated=any(s.estimated for s in stretches),
        failed_share=failed / settled if settled else None,
        queue=_quantiles(sent, lambda went: (went.submitted_at or went.created_at) - went.created_at),
        upstream=_quantiles(sent, lambda went: went.finished_at - (went.submitted_at or went.created_at)),
        total=_quantiles(sent, lambda went: went.finished_at - went.created_at),
    )


def settled_of(stretches: Sequence[Stretch], *states: JobState) -> int:
    """How many jobs were settled; into these states, if any are named."""
    return sum(count for s in stretches for state, count in s.settled.items() if not states or state in states)


def _round(at: datetime, length: timedelta) -> datetime:
    return EPOCH + (at - EPOCH) // length * length


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
