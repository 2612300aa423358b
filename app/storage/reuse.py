"""Results that are there already: succeeded jobs whose pictures are stored, found by what they were asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.job import Life, PictureState
from app.lifecycle.states import JobState
from app.storage import tables as t
from app.storage.images import alone_with
from app.storage.literals import literal_of
from app.storage.lives import lives_of

_SUCCEEDED = t.jobs.c.state == literal_of(JobState.SUCCEEDED)
_ITS_PICTURES = select(t.images.c.job_id).where(t.images.c.job_id == t.jobs.c.job_id)
_IS_STORED = (t.images.c.state == literal_of(PictureState.STORED)) & t.images.c.error.is_(None)

Wanted = tuple[str, bytes]  #: a tenant, and the hash of a request


async def reusable(connection: AsyncConnection, wanted: Iterable[Wanted]) -> dict[Wanted, Life]:
    """For each that is there: the newest job of the tenant that succeeded with this request, all its pictures stored."""
    found: dict[Wanted, Life] = {}
    j = t.jobs.c
    for tenant, request_hash in set(wanted):
        query = (
            select(t.jobs)
            .where(j.tenant == tenant, j.request_hash == request_hash, _SUCCEEDED, j.request_hash.is_not(None))
            .where(_ITS_PICTURES.exists(), ~_ITS_PICTURES.where(~_IS_STORED).exists())
            .order_by(j.created_at.desc())
            .limit(1)
        )
        for life in await lives_of(connection, (await connection.execute(query)).all()):
            found[tenant, request_hash] = life
    return found


async def hold(connection: AsyncConnection, found: Mapping[Wanted, Life]) -> dict[Wanted, Life]:
    """Those whose pictures are still there; the archive lets go of none of them while this transaction lasts.

    To be called once in a transaction: the hashes of two calls would be in no common order with those of others.
    """
    if not found:
        return {}
    for sha256 in sorted({picture.sha256 for life in found.values() for picture in life.pictures if picture.sha256}):
        await alone_with(connection, sha256)
    sources = select(t.jobs.c.job_id).where(t.jobs.c.job_id.in_([life.job.job_id for life in found.values()]))
    whole = sources.where(_ITS_PICTURES.exists(), ~_ITS_PICTURES.where(~_IS_STORED).exists())
    kept = set((await connection.execute(whole)).scalars())
    return {wanted: life for wanted, life in found.items() if life.job.job_id in kept}


def taken_over(life: Life, source: Life) -> Life:
    """This new life, settled by the result of `source`, pictures and all."""
    job = life.job.with_result_of(source.job.job_id, source.job.images, life.job.created_at)
    return Life(job, (), source.pictures)
