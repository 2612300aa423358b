"""`GET /metrics`: what Prometheus scrapes, of every process; also while the database is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials

from app.access.api_key import hash_key
from app.access.callers import Access, Scope, bearer
from app.answers import problem_responses
from app.errors import StorageUnavailableError
from app.metrics import exposition
from app.problems import unauthorized
from app.stats.figures import Figures, Vitals
from app.stats.gauges import gauges
from app.storage.balance import Difference

ADMIT_SECONDS, READ_SECONDS = 2.0, 3.0  #: in sum well below the 10 s that Prometheus waits
REMEMBERED = 3600.0  #: seconds in which a key that was admitted is admitted also while the database is away
REMEMBERED_MAX = 20

Reading = TypeVar("Reading")

router = APIRouter(tags=["operators"])


class Scrapers:
    """Who may scrape: holders of admin keys.

    A key that was admitted a while ago is admitted also while the database cannot be asked: just then people look.
    """

    def __init__(self, access: Access, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._access, self._monotonic = access, monotonic
        self._admitted: dict[bytes, float] = {}

    async def admit(self, api_key: str) -> None:
        """Returns if the key may scrape.

        Raises:
            Problem: 401, 403: it may not.
            StorageUnavailableError: nobody can say, and it was not here lately.
        """
        name = hash_key(api_key)
        try:
            async with asyncio.timeout(ADMIT_SECONDS):
                caller = await self._access.caller(api_key)
        except (StorageUnavailableError, TimeoutError):
            if self._monotonic() - self._admitted.get(name, float("-inf")) < REMEMBERED:
                return
            raise StorageUnavailableError("The database is not available, and this key was not seen lately.") from None
        self._admitted.pop(name, None)
        if caller is None:
            raise unauthorized()
        caller.require(Scope.ADMIN)
        self._admitted[name] = self._monotonic()
        while len(self._admitted) > REMEMBERED_MAX:
            self._admitted.pop(next(iter(self._admitted)))


@router.get(
    "/metrics",
    response_class=Response,
    summary="Show the metrics of this process",
    responses={
        200: {"description": "In Prometheus' text format, or as OpenMetrics where that is asked for.",
              "content": {"text/plain": {"schema": {"type": "string"}}}},
        **problem_responses(401, 403, 503),
    },
)  # fmt: skip
async def show_metrics(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Response:
    """For an admin key, or for everybody where `GATEWAY_METRICS_OPEN` says so.

    Counters tell what this process did since it began; gauges tell what the database holds, the same from every process.
    """
    gateway = request.state.gateway
    if not gateway.settings.metrics_open:
        if credentials is None:
            raise unauthorized()
        await gateway.scrapers.admit(credentials.credentials)
    page, media_type = exposition(
        [*gateway.metrics.families(), *gauges(*await _read(gateway.figures))], request.headers.get("accept", "")
    )
    return Response(page, headers={"Content-Type": media_type, "Cache-Control": "no-store"})


async def _read(figures: Figures) -> tuple[Vitals | None, Difference | None]:
    """Each for itself: comparing the books takes long where there are many, and says nothing of the database."""
    return await asyncio.gather(_in_time(figures.vitals()), _in_time(figures.difference()))


async def _in_time(reading: Awaitable[Reading]) -> Reading | None:
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await reading
    except (StorageUnavailableError, TimeoutError):
        return None
