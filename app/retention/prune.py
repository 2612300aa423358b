"""Prune: settled jobs older than the retention go, in small batches, and pictures that nobody refers to any more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import structlog

from app.errors import GatewayError
from app.storage.retention import Place, RetentionStore

log = structlog.get_logger(__name__)

BATCH = 100  #: jobs in one transaction

Release = Callable[[UUID], Awaitable[None]]  #: lets go of a job's pictures; raises GatewayError where it cannot now


class Pruner:
    """`sweep` is one batch; the next goes on behind it, so that what must stay holds up nothing.

    Args:
        release: None where no pictures are kept; jobs that have some in the store from before stay then.
    """

    def __init__(self, store: RetentionStore, older_than: timedelta, release: Release | None) -> None:
        self._store, self._older_than, self._release = store, older_than, release
        self._reached: Place | None = None

    async def sweep(self) -> float | None:
        """Returns 0 while there is more to go."""
        more = await self._let_pictures_go() if self._release is not None else False
        archiving = self._release is not None
        pruned = await self._store.prune(self._older_than, archiving=archiving, after=self._reached, limit=BATCH)
        self._reached = pruned.reached
        if pruned.jobs:
            log.info("pruned", jobs=pruned.jobs, older_than_days=self._older_than.days)
        return 0.0 if more or pruned.reached is not None else None

    async def _let_pictures_go(self) -> bool:
        """Whether there are more. A picture store that is down keeps these jobs, and no others."""
        assert self._release is not None
        pictured = await self._store.pictured(self._older_than, BATCH)
        try:
            for job_id in pictured:
                await self._release(job_id)
        except GatewayError as error:
            log.warning("pictures of old jobs could not be let go of", reason=str(error))
            return False
        return len(pictured) == BATCH
