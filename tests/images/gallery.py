"""Settled jobs whose pictures are still to be archived, and looks at what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.images.archive import ImageArchive
from app.images.fetch import DEADLINE
from app.images.store import ImageStore
from app.lifecycle.answers import Accepted, Succeeded
from app.lifecycle.news import Answered, Claimed
from app.lifecycle.ownership import hash_token
from app.loops import Wake
from app.metrics import Metrics
from app.outbound.allow import AllowList
from app.outbound.client import OutboundClient
from app.outbound.guard import Guard
from app.storage import tables as t
from app.storage.database import Database
from app.storage.images import PictureRows
from tests.storage.factory import Factory, HandClock


@dataclass
class Gallery:
    """A database with jobs, under a clock that only the test moves."""

    database: Database
    clock: HandClock
    made: int = 0

    def archive(
        self,
        store: ImageStore,
        *,
        deadline: timedelta = DEADLINE,
        allow: str = "127.0.0.1",
        metrics: Metrics | None = None,
        pictures: PictureRows | None = None,
    ) -> ImageArchive:
        """Its pauses run by the clock of the gallery too."""
        client = OutboundClient(Guard(AllowList.parse(allow), url_max=4096))
        return ImageArchive(
            pictures or PictureRows(self.database),
            store,
            client,
            Wake(),
            deadline=deadline,
            monotonic=lambda: self.clock().timestamp(),
            metrics=metrics,
        )

    async def job(self, *urls: str, **fields: Any) -> UUID:
        """A job that succeeded with pictures at these addresses."""
        self.made += 1
        factory, task = Factory(self.database), f"gallery-{self.made}"
        (life,) = await factory.queued(1, **fields)
        check = factory.check(task, Succeeded(urls, 5))
        await factory.tell(life.job.job_id, Claimed(hash_token(task)), Answered(1, Accepted(task)), check)
        return life.job.job_id

    async def row(self, job_id: UUID, index: int = 0) -> dict[str, Any]:
        query = select(t.images).where(t.images.c.job_id == job_id, t.images.c.index == index)
        async with self.database.reading() as connection:
            return dict((await connection.execute(query)).mappings().one())


async def swept(archive: ImageArchive) -> None:
    """One pass, to its end."""
    await archive.sweep()
    await archive.idle()
