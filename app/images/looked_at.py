"""The picture that a request names, if whoever asks may see it: by an API key, or by a link that is signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials

from app.access.callers import CurrentCaller, Scope, bearer, current_caller
from app.lifecycle.job import Life, Picture
from app.own_job import own_life
from app.problems import not_found, unauthorized


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A picture of a job."""

    job_id: UUID
    index: int
    source_url: str  #: where the upstream keeps it
    stored: Picture | None  #: as the archive has it


async def looked_at(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    job_id: str,
    index: str,
    expires: Annotated[str, Query(description="Of a signed link, with `signature`; such a link needs no key.")] = "",
    signature: Annotated[str, Query(description="Of a signed link.")] = "",
) -> LookedAt:
    """FastAPI dependency: by a key, or without any by a signed link.

    Raises:
        Problem: 401 for a bad key, and one and the same without a key for whatever is no good link; 403 and 404 as for the job.
    """
    if credentials is None and signature:
        return _of(await _linked_life(request, job_id, index, expires, signature), index)
    return await keyed_look(request, await current_caller(request), job_id, index)


async def keyed_look(request: Request, caller: CurrentCaller, job_id: str, index: str) -> LookedAt:
    """FastAPI dependency: by a key alone."""
    return _of(await own_life(request, caller, job_id, Scope.JOBS_READ), index)


async def _linked_life(request: Request, job_id: str, index: str, expires: str, signature: str) -> Life:
    gateway = request.state.gateway
    try:
        named, place = UUID(job_id), int(index)
    except ValueError:
        raise unauthorized() from None
    if not gateway.picture_links.opens(named, place, expires, signature):
        raise unauthorized()
    life: Life | None = await gateway.lives.find(named)
    if life is None:
        raise not_found()
    return life


def _of(life: Life, index: str) -> LookedAt:
    place = int(index) if index.isascii() and index.isdecimal() and len(index) < 4 else -1
    if not 0 <= place < len(life.job.images):
        raise not_found("picture")
    stored = next((picture for picture in life.pictures if picture.index == place and picture.is_stored), None)
    return LookedAt(life.job.job_id, place, life.job.images[place], stored)


LookedAtPicture = Annotated[LookedAt, Depends(looked_at)]
KeyedLook = Annotated[LookedAt, Depends(keyed_look)]
