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
PICTURED = 5  #: jobs whose pictures are let go of before it is asked whether the picture store does that at all

LetPicturesGo = Callable[[UUID], Awaitable[None]]  #: lets go of a job's pictures; raises GatewayError where it cannot now


class Pruner:
    """`sweep` is one batch; the next goes on behind it, so that what must stay holds up nothing.

    Args:
        let_pictures_go: None where no pictures are kept; jobs that have some in the store from before stay then.
    """

    def __init__(self, store: RetentionStore, older_than: timedelta, let_pictures_go: LetPicturesGo | None) -> None:
        self._store, self._older_than, self._let_pictures_go = store, older_than, let_pictures_go
        self._reached: Place | None = None
        self._reached_pictured: Place | None = None
        self._stopping = False

    async def sweep(self) -> float | None:
        """Returns 0 while there is more to go."""
        archiving = self._let_pictures_go is not None
        more = await self._let_some_pictures_go() if archiving else False
        pruned = await self._store.prune(self._older_than, archiving=archiving, after=self._reached, limit=BATCH)
        self._reached = pruned.reached
        if pruned.jobs:
            log.info("pruned", jobs=pruned.jobs, older_than_days=self._older_than.days)
        return 0.0 if more or pruned.reached is not None else None

    def stop(self) -> None:
        """A sweep that is under way lets go of no other job's pictures."""
        self._stopping = True

    async def _let_some_pictures_go(self) -> bool:
        """Whether there are more. A picture store that is down keeps these jobs, and no others."""
        for _ in range(BATCH // PICTURED):
            found = await self._store.pictured(self._older_than, after=self._reached_pictured, limit=PICTURED)
            self._reached_pictured = found[-1] if len(found) == PICTURED else None
            gone = [await self._let_go(job_id) for _, job_id in found if not self._stopping]
            if self._stopping or self._reached_pictured is None or not any(gone):
                return False
        return True

    async def _let_go(self, job_id: UUID) -> bool:
        assert self._let_pictures_go is not None
        try:
            await self._let_pictures_go(job_id)
        except GatewayError as error:
            log.warning("pictures of an old job could not be let go of", job_id=str(job_id), reason=str(error))
            return False
        return True
