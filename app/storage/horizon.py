"""How far along its index a claim has come, so that it need not walk over what is over."""

from __future__ import annotations

from datetime import datetime, timedelta


class Horizon:
    """A moving lower bound on a claim's key; what lies well behind it is looked for only now and then.

    While somebody keeps an old snapshot open (a report, a dump), PostgreSQL cannot forget rows that were claimed long ago, and
    every claim from the start of the index would walk over all of them.
    """

    SLACK = timedelta(seconds=1)  #: what was written meanwhile may lie this far behind
    LOOK_BACK = timedelta(seconds=1)  #: between two looks behind it

    def __init__(self) -> None:
        self._reached: datetime | None = None
        self._looked_back_at: datetime | None = None

    def floor(self, now: datetime) -> datetime | None:
        """From which instant on to look; None when it is time to look at everything."""
        if self._looked_back_at is None or not timedelta(0) <= now - self._looked_back_at < self.LOOK_BACK:
            self._looked_back_at = now
            return None
        return self._reached - self.SLACK if self._reached is not None else None

    def reached(self, at: datetime) -> None:
        self._reached = at
