"""The geometry of the overview's charts: bars and lines in a box of fixed size, drawn by the template as SVG. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.stats.views import BucketView

WIDTH, HEIGHT = 640, 150  #: of the area that is drawn on; the page scales it
GAP = 0.25  #: of a bucket, between two bars


@dataclass(frozen=True, slots=True)
class Bar:
    """The jobs that were settled in a bucket: how many, and how many of them failed."""

    x: float
    width: float
    y: float
    height: float
    failed_y: float
    failed_height: float
    bucket: BucketView
    settled: int


@dataclass(frozen=True, slots=True)
class Dot:
    """A value of a bucket, on a line."""

    x: float
    y: float
    started_at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Throughput:
    bars: list[Bar]
    top: int  #: what the upper edge stands for


@dataclass(frozen=True, slots=True)
class Durations:
    """Lines break where nothing is known."""

    p50: list[list[Dot]]
    p95: list[list[Dot]]
    top: float  #: seconds; what the upper edge stands for


def throughput(buckets: Sequence[BucketView]) -> Throughput:
    top = int(_round_up(max(map(_settled, buckets), default=0) or 1))
    return Throughput([_bar(n, bucket, len(buckets), top) for n, bucket in enumerate(buckets)], top)


def durations(buckets: Sequence[BucketView]) -> Durations:
    """From accept to the end, median and slow end."""
    top = _round_up(max((b.p95_seconds or b.p50_seconds or 0.0 for b in buckets), default=0.0) or 1.0)
    p50, p95 = [b.p50_seconds for b in buckets], [b.p95_seconds for b in buckets]
    return Durations(p50=_lines(buckets, p50, top), p95=_lines(buckets, p95, top), top=top)


def _settled(bucket: BucketView) -> int:
    return bucket.succeeded + bucket.failed + bucket.canceled


def _bar(n: int, bucket: BucketView, count: int, top: int) -> Bar:
    step = WIDTH / count
    height = HEIGHT * _settled(bucket) / top
    failed = HEIGHT * bucket.failed / top
    return Bar(
        x=_short(n * step + step * GAP / 2),
        width=_short(step * (1 - GAP)),
        y=_short(HEIGHT - height),
        height=_short(height),
        failed_y=_short(HEIGHT - failed),
        failed_height=_short(failed),
        bucket=bucket,
        settled=_settled(bucket),
    )


def _lines(buckets: Sequence[BucketView], values: Sequence[float | None], top: float) -> list[list[Dot]]:
    step = WIDTH / max(1, len(buckets))
    lines: list[list[Dot]] = [[]]
    for n, (bucket, value) in enumerate(zip(buckets, values, strict=True)):
        if value is None:
            lines.append([])
        else:
            lines[-1].append(Dot(_short((n + 0.5) * step), _short(HEIGHT - HEIGHT * value / top), bucket.started_at, value))
    return [line for line in lines if line]


def _round_up(value: float) -> float:
    """To 1, 2 or 5 times a power of ten, so that the scale can be read."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value * 0.9999)


def _short(value: float) -> float:
    return round(value, 1)
