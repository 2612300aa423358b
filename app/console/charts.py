"""The geometry of the overview's charts: bars and lines in a box of fixed size, drawn by the template as SVG. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.stats.views import SliceView

WIDTH, HEIGHT = 640, 150  #: of the area that is drawn on; the page scales it
GAP = 0.25  #: of a slice, between two bars


@dataclass(frozen=True, slots=True)
class Bar:
    """The jobs that were settled in a slice: how many, and how many of them failed."""

    x: float
    width: float
    y: float
    height: float
    failed_y: float
    failed_height: float
    begins_at: datetime
    settled: int
    failed_share: float | None


@dataclass(frozen=True, slots=True)
class Dot:
    """A value of a slice, on a line."""

    x: float
    y: float
    begins_at: datetime
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


def throughput(slices: Sequence[SliceView]) -> Throughput:
    top = int(_round_up(max((s.settled for s in slices), default=0) or 1))
    return Throughput([_bar(n, s, len(slices), top) for n, s in enumerate(slices)], top)


def durations(slices: Sequence[SliceView]) -> Durations:
    """From accept to the end, median and slow end."""
    top = _round_up(max((s.total.p95 or s.total.p50 or 0.0 for s in slices), default=0.0) or 1.0)
    return Durations(
        p50=_lines(slices, [s.total.p50 for s in slices], top), p95=_lines(slices, [s.total.p95 for s in slices], top), top=top
    )


def _bar(n: int, s: SliceView, count: int, top: int) -> Bar:
    step = WIDTH / count
    height = HEIGHT * s.settled / top
    failed = height * (s.failed_share or 0.0)
    return Bar(
        x=_short(n * step + step * GAP / 2),
        width=_short(step * (1 - GAP)),
        y=_short(HEIGHT - height),
        height=_short(height),
        failed_y=_short(HEIGHT - failed),
        failed_height=_short(failed),
        begins_at=s.begins_at,
        settled=s.settled,
        failed_share=s.failed_share,
    )


def _lines(slices: Sequence[SliceView], values: Sequence[float | None], top: float) -> list[list[Dot]]:
    step = WIDTH / max(1, len(slices))
    lines: list[list[Dot]] = [[]]
    for n, (s, value) in enumerate(zip(slices, values, strict=True)):
        if value is None:
            lines.append([])
        else:
            lines[-1].append(Dot(_short((n + 0.5) * step), _short(HEIGHT - HEIGHT * value / top), s.begins_at, value))
    return [line for line in lines if line]


def _round_up(value: float) -> float:
    """To 1, 2 or 5 times a power of ten, so that the scale can be read."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value * 0.9999)


def _short(value: float) -> float:
    return round(value, 1)
