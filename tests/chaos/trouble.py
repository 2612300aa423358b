"""When something was wrong, and by how much which clock was off: what explains what came of it, and what does not."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import inf


class Kind(StrEnum):
    """What may be wrong."""

    KILLED = "killed"  #: a process is dead
    FROZEN = "frozen"  #: a process is stopped
    DATABASE = "database"  #: the database is away, full, or cuts connections
    UPSTREAM = "upstream"  #: the upstream answers nothing as it should
    CLOCK = "clock"  #: a wall clock is off
    STORE = "store"  #: the picture store is away
    RECEIVER = "receiver"  #: a receiver does not take deliveries


#: After these, nobody knows what became of what a process had in hand.
FELLING = frozenset({Kind.KILLED, Kind.FROZEN, Kind.DATABASE})


@dataclass
class Window:
    """Unix seconds by the clock of the tests, which is right."""

    kind: Kind
    fault: str
    began: float
    ended: float = inf


@dataclass
class Trouble:
    """Filled by the storm, read by the judges."""

    windows: list[Window] = field(default_factory=list)
    offsets: list[tuple[float, float]] = field(default_factory=list)  #: (since, seconds): of the clock that dates the rows
    calm_since: float = inf  #: from then on nothing is wrong any more
    began: float = -inf  #: before this there was nothing

    @contextmanager
    def during(self, kind: Kind, fault: str) -> Iterator[None]:
        self.windows.append(window := Window(kind, fault, time.time()))
        try:
            yield
        finally:
            window.ended = time.time()

    def was(self, kinds: Collection[Kind], since: float, until: float, after: float = 0.0) -> bool:
        """Whether one of these was wrong at some moment between the two, or up to `after` seconds before."""
        return any(w.kind in kinds and w.began <= until and since <= w.ended + after for w in self.windows)

    def clock_is_off_by(self, seconds: float) -> None:
        """The clock that dates the rows has jumped."""
        self.offsets.append((time.time(), seconds))

    def real(self, told: datetime) -> float:
        """When that was, in Unix seconds, which a row says by a clock that was off then.

        Where two jumps leave several answers, the first: the jumps are much longer than the storm, so that is rare.
        """
        fits = (real for since, until, off in self._spans() if since <= (real := told.timestamp() - off) <= until)
        return next(fits, told.timestamp())

    def now(self) -> datetime:
        """By the clock that dates the rows."""
        off = self.offsets[-1][1] if self.offsets else 0.0
        return datetime.now(UTC) + timedelta(seconds=off)

    def _spans(self) -> Iterator[tuple[float, float, float]]:
        since, off = self.began, 0.0
        for at, seconds in self.offsets:
            yield since, at, off
            since, off = at, seconds
        yield since, inf, off
