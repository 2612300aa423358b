"""What charts are drawn from: how many jobs came and went in each slice of a window, and how long they took. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.lifecycle.states import JobState
from app.stats.pace import Window, pace_of, settled_of, slices_of
from app.storage.pace import Stretch


@dataclass(frozen=True, slots=True)
class Bucket:
    """A slice of time, from when it started to when the next one does; the last one is still going on."""

    started_at: datetime
    accepted: int
    succeeded: int
    failed: int
    canceled: int
    p50_seconds: float | None  #: from accept to the end, from a sample of those that were sent; None where there is none
    p95_seconds: float | None
    estimated: bool  #: there were too many to count them all


def buckets_of(window: Window, stretches: Sequence[Stretch]) -> list[Bucket]:
    """The window's buckets, the oldest first, without a gap: in one where nothing happened, everything is 0."""
    return [_bucket(started_at, parts) for started_at, parts in slices_of(window, stretches)]


def _bucket(started_at: datetime, parts: Sequence[Stretch]) -> Bucket:
    pace = pace_of(parts)
    return Bucket(
        started_at=started_at,
        accepted=sum(part.accepted for part in parts),
        succeeded=settled_of(parts, JobState.SUCCEEDED),
        failed=settled_of(parts, JobState.FAILED),
        canceled=settled_of(parts, JobState.CANCELED),
        p50_seconds=pace.total.p50,
        p95_seconds=pace.total.p95,
        estimated=pace.estimated,
    )
