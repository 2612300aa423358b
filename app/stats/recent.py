"""Readings that are remembered for a while, so that any number of those who ask cost one look."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from datetime import timedelta
from typing import Generic, TypeVar

Subject = TypeVar("Subject", bound=Hashable)
Reading = TypeVar("Reading")

SUBJECTS_MAX = 200  #: remembered at once; the one that was asked for longest ago goes first


class Recent(Generic[Subject, Reading]):
    """The latest reading of each subject, at most `keep` old. Only one look is taken at a time; the others wait for it.

    Whoever stops waiting ends no look: a reading that comes late is there for the next who asks.
    """

    def __init__(
        self,
        read: Callable[[Subject], Awaitable[Reading]],
        keep: timedelta,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._keep, self._monotonic = read, keep.total_seconds(), monotonic
        self._known: OrderedDict[Subject, tuple[float, Reading]] = OrderedDict()
        self._looks: dict[Subject, asyncio.Task[Reading]] = {}
        self._looking = asyncio.Lock()

    async def of(self, subject: Subject) -> Reading:
        """The reading; whatever a look raises is raised, and nothing older is given out instead."""
        until, *known = self._known.get(subject, (0.0,))
        if known and self._monotonic() < until:
            self._known.move_to_end(subject)
            return known[0]
        return await asyncio.shield(self._looks.get(subject) or self._begin(subject))

    async def stop(self) -> None:
        """Ends the looks that are under way."""
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    def _begin(self, subject: Subject) -> asyncio.Task[Reading]:
        look = self._looks[subject] = asyncio.create_task(self._look(subject))
        look.add_done_callback(lambda look: self._ended(subject, look))
        return look

    def _ended(self, subject: Subject, look: asyncio.Task[Reading]) -> None:
        del self._looks[subject]
        if not look.cancelled():
            look.exception()  # seen, also where nobody waits for it any more

    async def _look(self, subject: Subject) -> Reading:
        async with self._looking:
            reading = await self._read(subject)
        self._known[subject] = (self._monotonic() + self._keep, reading)
        self._known.move_to_end(subject)
        while len(self._known) > SUBJECTS_MAX:
            self._known.popitem(last=False)
        return reading
