"""GCRA, the generic cell rate algorithm: so many a second on average, so many at once. Pure.

All that is kept is the theoretical arrival time (TAT): when the next one would come if all came at the rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

_SKEW = 60.0  #: seconds that clocks of replicas may differ


@dataclass(frozen=True, slots=True)
class Rate:
    per_second: float
    burst: float  #: at once; at least 1

    @property
    def interval(self) -> float:
        """Seconds between two at the rate."""
        return 1.0 / self.per_second

    @property
    def window(self) -> float:
        """Seconds in which a whole burst comes back."""
        return self.burst * self.interval

    def ahead(self, tat: datetime | None, now: datetime) -> float:
        """By how many seconds more was taken than the rate brought back: how far the arrival time lies ahead."""
        ahead = max(0.0, (tat - now).total_seconds()) if tat is not None else 0.0
        return 0.0 if ahead > self.window + _SKEW else ahead  # far more than may ever be taken: the clock was set back since

    def free(self, ahead: float) -> int:
        """How many may go at once."""
        return max(0, math.floor((self.window - ahead) / self.interval + 1e-6))
