"""`Prefer: wait=N`: an answer that comes when the job is settled. Source: RFC 7240."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Annotated

from fastapi import Depends, Header, Request

from app.errors import StorageUnavailableError
from app.lifecycle.job import Life

WAIT_MAX = 60  #: seconds
_WAIT = re.compile(r'(?:^|[,;\s])wait\s*=\s*"?(\d{1,20})"?(?:$|[,;\s])', re.IGNORECASE)

_Header = Annotated[
    str | None,
    Header(
        alias="Prefer",
        description="`wait=N`: answer when the job is settled, or after N seconds (at most 60).",
        examples=["wait=30"],
    ),
]


async def read_wait(request: Request, _header: _Header = None) -> int | None:
    """FastAPI dependency: the seconds that the caller prefers to wait, as far as they are granted; None where it says none."""
    wanted = _WAIT.search(", ".join(request.headers.getlist("Prefer")))
    return min(int(wanted[1]), WAIT_MAX) if wanted else None


PreferredWait = Annotated[int | None, Depends(read_wait)]


async def waited(request: Request, life: Life, seconds: int | None) -> tuple[Life, dict[str, str]]:
    """The job after the wait that the caller prefers, if any, and the headers that say so."""
    if seconds is None:
        return life, {"Vary": "Prefer"}
    if seconds and not life.job.is_settled:
        with suppress(StorageUnavailableError):  # the job is accepted: its id must not be lost in a 503
            life = await request.state.gateway.watchers.until_settled(life.job.job_id, seconds) or life
    return life, {"Vary": "Prefer", "Preference-Applied": f"wait={seconds}"}
