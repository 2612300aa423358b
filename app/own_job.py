"""The job that a request names, if its caller may see it."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request

from app.access.callers import Caller, Scope
from app.lifecycle.job import Life
from app.problems import not_found


async def own_life(request: Request, caller: Caller, job_id: str, scope: Scope) -> Life:
    """The job with its submissions.

    Raises:
        Problem: 403 where the key lacks the scope; 404 where there is no such job, where it is another tenant's, and where the
            id is none.
    """
    caller.require(scope)
    try:
        parsed = UUID(job_id)
    except ValueError:
        raise not_found() from None
    life: Life | None = await request.state.gateway.lives.find(parsed)
    if life is None or not caller.may_see(life.job.tenant):
        raise not_found()
    return life
