"""What needs doing now and then."""

from __future__ import annotations

from dataclasses import replace

from app.lifecycle.callback_health import HEALTH_WINDOW, judge
from app.settlement.settle import Settlement
from app.storage.history import HistoryStore
from app.storage.queue import QueueStore
from app.storage.usage import UsageStore

DROPPED, ENTRIES, UNBOOKED = 100, 1000, 200  #: rows of each kind that one pass of housekeeping takes


class Housekeeping:
    """Jobs too long in the queue, the books of the tenants, how callbacks are doing."""

    def __init__(self, queue: QueueStore, history: HistoryStore, usage: UsageStore, settlement: Settlement) -> None:
        self._queue, self._history, self._usage, self._settlement = queue, history, usage, settlement
        self._base = settlement.policy

    async def sweep(self) -> float | None:
        dropped = await self._queue.drop_overdue(self._base.queue_deadline, self._settlement.decide, DROPPED)
        self._settlement.announce(dropped)
        closed, now = await self._history.recently_read(HEALTH_WINDOW)
        health = judge(closed, now, self._base)
        self._settlement.policy = replace(self._settlement.policy, callback_grace=health.grace)
        summed, booked = await self._usage.sum_up(ENTRIES), await self._usage.book_the_unbooked(UNBOOKED)
        return 0.0 if len(dropped) >= DROPPED or summed >= ENTRIES or booked >= UNBOOKED else None
