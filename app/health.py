"""`/healthz` and `/readyz`: is the process alive, and can it do its work?"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from app.errors import StorageUnavailableError
from app.storage import schema

router = APIRouter(tags=["operators"])

_DATABASE_SECONDS = 3.0


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


class Check(BaseModel):
    """One thing that the gateway needs."""

    ok: bool
    detail: str | None = Field(None, description="What is wrong; absent where nothing is known to be.")


class Readiness(BaseModel):
    """Whether it can do its work. A replica that is `degraded` accepts jobs; one that is `not ready` cannot."""

    status: Literal["ready", "degraded", "not ready"]
    checks: dict[str, Check] = Field(
        description="`database`, `migrations`, `gate` and `callbacks`; `pictures` where they are kept."
    )


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
async def readyz(request: Request) -> JSONResponse:
    """200 when jobs can be accepted. A shut gate, a missing public address or a picture store that is down only degrades: jobs
    are accepted, and they or their pictures wait."""
    checks = {**await _checks(request.state.gateway), **_pictures(request.state.gateway)}
    ready = all(checks[name]["ok"] for name in ("database", "migrations"))
    degraded = any(not check["ok"] for check in checks.values())
    status = "degraded" if ready and degraded else "ready" if ready else "not ready"
    return JSONResponse({"status": status, "checks": checks}, 200 if ready else 503)


def _pictures(gateway: Any) -> dict[str, dict[str, Any]]:
    """As the archiving of this process found the store; it is not asked here, where anybody may ask as often as they like."""
    if gateway.archive is None:
        return {}
    down = gateway.archive.store_is_down
    return {"pictures": {"ok": not down, **({"detail": "the picture store is down: pictures wait"} if down else {})}}


async def _checks(gateway: Any) -> dict[str, dict[str, Any]]:
    public = gateway.settings.public_base_url is not None
    callbacks = {"ok": public, **({} if public else {"detail": "GATEWAY_PUBLIC_BASE_URL is not set: results are polled for"})}
    try:
        async with asyncio.timeout(_DATABASE_SECONDS):
            at = await schema.current(gateway.database)
            if not schema.fits(at):
                detail = f"the schema is at {at}, this version needs {schema.newest()}: gateway db upgrade"
                migrations = {"ok": False, "detail": detail}
                return {"database": {"ok": True}, "migrations": migrations, "gate": {"ok": False}, "callbacks": callbacks}
            gate = await gateway.gate_store.read()
    except (StorageUnavailableError, TimeoutError) as error:
        detail = str(error) or "no answer in time"
        return {
            "database": {"ok": False, "detail": detail}, "migrations": {"ok": False}, "gate": {"ok": False},
            "callbacks": callbacks,
        }  # fmt: skip
    shut = gate.why_submits_are_shut
    return {
        "database": {"ok": True},
        "migrations": {"ok": True},
        "gate": {"ok": shut is None, **({"detail": f"submits are shut: {shut}"} if shut else {})},
        "callbacks": callbacks,
    }
