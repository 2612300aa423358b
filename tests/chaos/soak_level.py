"""Whether a measure stays level: the slope of the last two thirds of a run, and the highs of their parts. Pure.

The first third is not judged: a process that loads, connects and fills its caches grows, and flattens; so does a history that
no retention has shortened yet. A leak does not flatten, so it is in the other two thirds as it is in the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import combinations
from statistics import fmean, median

LEAST_MINUTES = 60.0  #: of a run by which anything can be told
WARM_UP = 1 / 3  #: of a run; of an hour, the twenty minutes in which history fills (see `Measure.fills`)
POINTS = 40  #: to which what is judged is condensed; of an hour's run, one a minute
SEEN = 0.9  #: of the samples have to know the measure
SURE = 1.96  #: standard deviations on either side: 95 of 100 intervals hold the slope


class Verdict(Enum):
    LEVEL = "level"
    GROWS = "**grows**"
    UNKNOWN = "cannot be told"  #: the run was too short, or too few samples know the measure


@dataclass(frozen=True)
class Measure:
    """A column of the samples, and how it may differ and still be level. All in the column's own unit."""

    name: str
    more: float  #: by which the high of the last part may exceed the high of the first
    share: float = 0.0  #: or by this share of the first high, where that is more
    an_hour: float | None = None  #: the slope has to be below, surely; None: goes up and down too much to have one
    of_minute: Callable[[Sequence[float]], float] = median  #: what stands for a minute; `max` where a moment is bad enough
    of_part: Callable[[Sequence[float]], float] = max  #: what stands for a part of the run
    fills: bool = False  #: history: rises until the pruner comes, each ten minutes; so halves are compared, not quarters

    @property
    def parts(self) -> int:
        return 2 if self.fills else 4


@dataclass(frozen=True)
class Slope:
    an_hour: float
    low: float
    high: float


@dataclass(frozen=True)
class Trend:
    measure: Measure
    first: float  #: what stands for the first part: its high, as a rule
    last: float  #: the same of the last part
    slope: Slope
    later: Slope  #: of the second half of what is judged
    highest: float  #: of all samples, the first third's too
    verdict: Verdict


#: 2 MiB an hour would double a process of 150 MiB in three days. Over the judged forty minutes of an hour it is 1.3 MiB: what
#: is left of a warm-up by then is less, and one arena of CPython (1 MiB) is a single step, which `_verdict` lets pass.
MEMORY_AN_HOUR = 2.0


def _of(process: str) -> list[Measure]:
    """Of descriptors the lows are compared: a pool opens and closes some, and what has leaked stays open, so it lifts these."""
    return [
        Measure(f"{process} resident mib", 3, an_hour=MEMORY_AN_HOUR),
        Measure(f"{process} descriptors", 1, of_minute=min, of_part=min),
        Measure(f"{process} threads", 1, an_hour=2),
        Measure(f"{process} cores", 0.05, share=0.25, an_hour=0.1),
    ]


MEASURES = (
    *_of("api"),
    *_of("worker"),
    Measure("connections", 2, an_hour=3),
    Measure("oldest queued s", 5, of_minute=max, an_hour=10),
    Measure("oldest unconfirmed s", 10, of_minute=max),  # anything up to UNCONFIRMED_WAIT, minute by minute
    Measure("oldest running s", 10, of_minute=max, an_hour=10),
    Measure("checks late s", 5, of_minute=max, an_hour=10),
    Measure("deliveries late s", 5, of_minute=max, an_hour=10),
    Measure("pictures waiting s", 5, of_minute=max, an_hour=10),
    Measure("orders waiting", 10, of_minute=max, an_hour=20),  # of the load itself: due, and nobody free to send them
    Measure("accept p50 ms", 10, an_hour=10),
    Measure("accept p99 ms", 50, share=0.5, an_hour=100),
    Measure("open submissions", 20, share=0.25, of_minute=max, fills=True),
    Measure("deliveries pending", 20, share=0.3, of_minute=max, fills=True),  # the third try is half an hour after the second
    Measure("dead tuples", 2_000, share=0.5, of_part=median, fills=True),
    Measure("database mib", 1, share=0.1, of_minute=max, fills=True),
)
_ROWS, _DEAD, _SIZE = "rows of ", "dead tuples of ", "mib of "
KEPT_FOR_GOOD = "audit"  #: nothing deletes from this table, so it has to grow with what an admin key does, as the load's does


def measures_of(sample: Mapping[str, float]) -> list[Measure]:
    """All that are judged: those above, and of each table in this sample the rows, the dead tuples and the size.

    A file never shrinks by itself and its space is used again, so a table is as large as it has ever had to be: level once
    the pruner takes as much as comes. What nobody prunes shows in its rows. Dead tuples stand high right after the pruner,
    the higher the faster it is done before autovacuum comes by; what autovacuum can never take shows between, so of them it
    is the medians that are compared.
    """
    tables = [name.removeprefix(_ROWS) for name in sample if name.startswith(_ROWS)]
    return [*MEASURES, *(measure for table in tables if table != KEPT_FOR_GOOD for measure in measures_of_table(table))]


def measures_of_table(table: str) -> list[Measure]:
    return [
        Measure(f"{_ROWS}{table}", 100, share=0.15, of_minute=max, fills=True),
        Measure(f"{_DEAD}{table}", 500, share=0.5, of_part=median, fills=True),
        Measure(f"{_SIZE}{table}", 0.5, share=0.15, of_minute=max, fills=True),
    ]


def trend_of(measure: Measure, samples: Sequence[Mapping[str, float]]) -> Trend | None:
    """None where next to nothing is known of it."""
    minutes = samples[-1]["minutes"]
    known = [(sample["minutes"] / 60, value) for sample in samples if is_known(value := sample.get(measure.name))]
    settled = [(hour, value) for hour, value in known if hour >= WARM_UP * minutes / 60]
    points = _condensed(settled, measure.of_minute)
    if len(points) < 2 * measure.parts:
        return None
    part, values = len(points) // measure.parts, [value for _, value in points]
    first, last = measure.of_part(values[:part]), measure.of_part(values[-part:])
    slope, later = slope_of(points), slope_of(points[len(points) // 2 :])
    can_tell = is_long_enough(minutes) and len(known) >= SEEN * len(samples)
    verdict = _verdict(measure, first, last, (slope, later)) if can_tell else Verdict.UNKNOWN
    return Trend(measure, first, last, slope, later, max(value for _, value in known), verdict)


def is_long_enough(minutes: float) -> bool:
    return round(minutes) >= LEAST_MINUTES


def is_known(value: float | None) -> bool:
    """Not where the column or this figure is missing."""
    return value is not None and not math.isnan(value)


def allowed(measure: Measure, first: float) -> float:
    return max(measure.more, first * measure.share)


def slope_of(points: Iterable[tuple[float, float]]) -> Slope:
    """The median slope of all pairs of points (Theil-Sen), between the bounds that Sen (1968, JASA 63) derives for it.

    A few wild points do not move it, as they would a fit by least squares. Noise that lasts longer than from one point to the
    next makes the bounds too narrow; the highs are looked at beside it.
    """
    ordered = list(points)
    slopes = sorted((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(ordered, 2))
    count, pairs = len(ordered), len(slopes)
    spread = SURE * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low, high = max(0, int((pairs - spread) / 2)), min(pairs - 1, math.ceil((pairs + spread) / 2))
    return Slope(median(slopes), slopes[low], slopes[high])


def _verdict(measure: Measure, first: float, last: float, slopes: Iterable[Slope]) -> Verdict:
    """What shrinks is level. A slope that may be too high, by its upper bound, is not: it is the run that has to show it.

    What climbs has to do so in the whole and in its later half: a leak does, a single step or the end of a warm-up does not.
    """
    rises = last - first > allowed(measure, first)
    climbs = measure.an_hour is not None and all(slope.high > measure.an_hour for slope in slopes)
    return Verdict.GROWS if rises or climbs else Verdict.LEVEL


def _condensed(
    settled: Sequence[tuple[float, float]], of_minute: Callable[[Sequence[float]], float]
) -> list[tuple[float, float]]:
    count = min(POINTS, len(settled))
    groups = [settled[n * len(settled) // count : (n + 1) * len(settled) // count] for n in range(count)]
    return [(fmean(hour for hour, _ in group), of_minute([value for _, value in group])) for group in groups]
