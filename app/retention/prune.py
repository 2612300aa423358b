"""Prune: settled jobs older than the retention go, in small batches, and pictures that nobody refers to any more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog

from app.storage.retention import Place, RetentionStore

log = structlog.get_logger()

BATCH = 100  #: jobs in one transaction


class Pruner:
    """`sweep` is one batch; the next goes on behind it, so that what must stay holds up nothing."""

    def __init__(
        self,
        store: RetentionStore,
        older_than: timedelta,
        forget_pictures: Callable[[Sequence[str]], Awaitable[None]],
    ) -> None:
        self._store, self._older_than, self._forget_pictures = store, older_than, forget_pictures
        self._reached: Place | None = None

    async def sweep(self) -> float | None:
        """Returns 0 while there is more to go."""
        pruned = await self._store.prune(self._older_than, after=self._reached, limit=BATCH)
        self._reached = pruned.reached
        if pruned.pictures:
            await self._forget_pictures(pruned.pictures)
        if pruned.jobs:
            log.info("pruned", jobs=pruned.jobs, older_than_days=self._older_than.days)
        return 0.0 if pruned.reached is not None else None
