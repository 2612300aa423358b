"""Whether a measure stays level: its last quarter against its first, once it had the time to settle. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

FILLING = 20.0  #: minutes until what retention empties is as full as it gets
STARTING = 5.0  #: minutes until a process has opened and loaded what it needs; of a short run, its first third
LEAST = 8  #: samples by which anything can be told


@dataclass(frozen=True)
class Measure:
    """A column of the samples, and how much more of it at the end is still level: the larger of both allowances."""

    name: str
    share: float  #: of the first quarter
    amount: float  #: in its own unit
    settles: float = STARTING  #: minutes


@dataclass(frozen=True)
class Trend:
    measure: Measure
    first: float  #: mean of the first quarter
    last: float  #: mean of the last quarter
    slope: float  #: by least squares, an hour
    highest: float

    @property
    def allowed(self) -> float:
        return max(self.first * self.measure.share, self.measure.amount)

    @property
    def is_level(self) -> bool:
        """What grows less is level, and so is what shrinks."""
        return self.last - self.first <= self.allowed


def _of(process: str) -> list[Measure]:
    return [
        Measure(f"{process} resident mib", 0.10, 8),
        Measure(f"{process} descriptors", 0.10, 6),
        Measure(f"{process} threads", 0.10, 2),
        Measure(f"{process} cores", 0.30, 0.05),
    ]


MEASURES = (
    *_of("api"),
    *_of("worker"),
    Measure("connections", 0.10, 4),
    Measure("dead tuples", 0.50, 5_000, FILLING),
    Measure("dead tuples of gate", 0.50, 500),
    Measure("database mib", 0.15, 8, FILLING),
    Measure("jobs kept", 0.25, 500, FILLING),
    Measure("oldest queued s", 1.0, 5),
    Measure("oldest unconfirmed s", 1.0, 60),
    Measure("oldest running s", 1.0, 60),
    Measure("checks late s", 1.0, 5),
    Measure("deliveries late s", 1.0, 10),
    Measure("pictures waiting s", 1.0, 60),
    Measure("open submissions", 0.50, 60),
    Measure("deliveries pending", 0.50, 100, FILLING),
    Measure("accept p50 ms", 0.50, 10),
    Measure("accept p99 ms", 1.0, 50),
)


def trend_of(measure: Measure, samples: Sequence[dict[str, float]]) -> Trend | None:
    """None where too little came after it had settled."""
    settles = min(STARTING, samples[-1]["minutes"] / 3) if measure.settles == STARTING else measure.settles
    settled = [sample for sample in samples if sample["minutes"] >= settles]
    if len(settled) < LEAST:
        return None
    values = [sample[measure.name] for sample in settled]
    quarter = len(values) // 4
    hours = [sample["minutes"] / 60 for sample in settled]
    return Trend(measure, fmean(values[:quarter]), fmean(values[-quarter:]), _slope(hours, values), max(values))


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    middle, level = fmean(xs), fmean(ys)
    spread = sum((x - middle) ** 2 for x in xs)
    return sum((x - middle) * (y - level) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0
