"""Who looks at the console."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from app.access.callers import Caller, Scope
from app.console.page import SignInNeeded
from app.console.session import COOKIE, Sessions


async def visitor(request: Request) -> Caller:
    """FastAPI dependency: whoever signed in, if their key may still read.

    Raises:
        SignInNeeded: nobody did, or their key opens nothing any more.
        Problem: 403, the key lacks the scope.
    """
    sessions: Sessions = request.state.gateway.sessions
    cookie = request.cookies.get(COOKIE)
    caller = await sessions.caller(cookie) if cookie else None
    if caller is None:
        raise SignInNeeded
    request.state.visitor = caller
    caller.require(Scope.JOBS_READ)
    return caller


Visitor = Annotated[Caller, Depends(visitor)]
