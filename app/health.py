"""`/healthz` and `/readyz`: is the process alive, and can it do its work?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

import structlog
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.answers import json_answer
from app.errors import StorageUnavailableError
from app.images.archive import ImageArchive
from app.stats.recent import Recent
from app.storage import schema
from app.storage.database import Database
from app.storage.gate_row import GateStore

log = structlog.get_logger(__name__)

router = APIRouter(tags=["operators"])

_DATABASE_SECONDS = 3.0
_KEPT = timedelta(seconds=1)  #: anybody may ask, as often as they like


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


class Check(BaseModel):
    """One thing that the gateway needs."""

    ok: bool
    detail: str | None = Field(
        None, exclude_if=lambda detail: detail is None, description="What is wrong; absent where nothing is known to be."
    )


class Readiness(BaseModel):
    """Whether it can do its work. A replica that is `degraded` accepts jobs; one that is `not ready` cannot."""

    status: Literal["ready", "degraded", "not ready"]
    checks: dict[str, Check] = Field(
        description="`database`, `migrations`, `gate` and `callbacks`; `pictures` where they are kept."
    )


class Health:
    """What of the gateway works, read from the database at most once a second.

    Args:
        has_address: whether the upstream can call back.
        archive: as it found the picture store, which is not asked for this; None where no pictures are kept.
    """

    def __init__(self, database: Database, gate: GateStore, *, has_address: bool, archive: ImageArchive | None) -> None:
        self._database, self._gate, self._has_address, self._archive = database, gate, has_address, archive
        self._stored: Recent[None, Mapping[str, Check]] = Recent(lambda _: self._read_stored(), _KEPT)

    async def readiness(self) -> Readiness:
        """Never raises for a database that is out of reach: that is what it tells."""
        checks = {**await self._stored.of(None), "callbacks": self._callbacks(), **self._pictures()}
        ready = all(checks[name].ok for name in ("database", "migrations"))
        degraded = not all(check.ok for check in checks.values())
        return Readiness(status="not ready" if not ready else "degraded" if degraded else "ready", checks=checks)

    async def stop(self) -> None:
        """Ends a look that is under way."""
        await self._stored.stop()

    def _callbacks(self) -> Check:
        return _checked(None if self._has_address else "GATEWAY_PUBLIC_BASE_URL is not set: results are found by checks alone")

    def _pictures(self) -> dict[str, Check]:
        if self._archive is None:
            return {}
        return {"pictures": _checked("the picture store is down: pictures wait" if self._archive.store_is_down else None)}

    async def _read_stored(self) -> dict[str, Check]:
        """The reason stays in the log: it may hold the database's address, and everybody may ask."""
        try:
            async with asyncio.timeout(_DATABASE_SECONDS):
                return await self._stored_checks()
        except (StorageUnavailableError, TimeoutError) as error:
            log.error("not ready: the database is out of reach", reason=str(error) or "no answer in time")
            away = _checked("the database is out of reach")
            return {"database": away, "migrations": Check(ok=False), "gate": Check(ok=False)}

    async def _stored_checks(self) -> dict[str, Check]:
        at = await schema.current(self._database)
        if not schema.fits(at):
            wrong = f"the schema is at {at}, this version needs {schema.newest()}: gateway db upgrade"
            return {"database": Check(ok=True), "migrations": _checked(wrong), "gate": Check(ok=False)}
        shut = (await self._gate.read()).why_submits_are_shut
        gate = _checked(f"submits are shut: {shut}" if shut else None)
        return {"database": Check(ok=True), "migrations": Check(ok=True), "gate": gate}


def _checked(wrong: str | None) -> Check:
    return Check(ok=wrong is None, detail=wrong)


@router.head("/healthz", include_in_schema=False)  # monitors ask so
@router.get("/healthz", summary="Show whether the process is alive", response_description="It is.")
async def healthz() -> Alive:
    """Touches nothing: a probe that asked the database would restart every replica when the database is away."""
    return Alive()


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    summary="Show whether it can do its work",
    response_model=Readiness,
    responses={
        200: {"description": "Jobs can be accepted."},
        503: {"model": Readiness, "description": "The database or its schema is not ready."},
    },
)
async def readyz(request: Request) -> Response:
    """200 when jobs can be accepted. A shut gate, a missing public address or a picture store that is down only degrades: jobs
    are accepted, and they or their pictures wait."""
    health: Health = request.state.gateway.health
    readiness = await health.readiness()
    return json_answer(readiness, 503 if readiness.status == "not ready" else 200)
