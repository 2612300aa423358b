"""`/dispatch`: operators look at the gate, pause it and resume it."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from app.access.callers import CurrentCaller, Scope
from app.lifecycle import gate as gates
from app.lifecycle.gate import Gate, Shut

router = APIRouter(prefix="/dispatch", tags=["operators"])


class DoorView(BaseModel):
    """One door of the gate."""

    open: bool
    reason: Shut | None = Field(description="Why it is shut.")
    since: datetime | None = None
    until: datetime | None = Field(None, description="When a single probe may go; unknown where only an operator can open it.")
    detail: str | None = None


class DispatchView(BaseModel):
    submits: DoorView
    checks: DoorView
    paused_by: str | None
    failures: int = Field(description="Failed submits in a row.")


@router.get("", summary="Is the gate open?")
async def show_dispatch(request: Request, caller: CurrentCaller) -> DispatchView:
    """Whether submits and checks may go, and if not, why and until when."""
    caller.require(Scope.ADMIN)
    return dispatch_view(await request.state.gateway.gate_store.read())


@router.post("/pause", summary="Stop sending jobs")
async def pause_dispatch(request: Request, caller: CurrentCaller) -> DispatchView:
    """Jobs are still accepted, and what was sent is still checked and settled. Repeating it changes nothing."""
    caller.require(Scope.ADMIN)
    _, after = await request.state.gateway.gate_store.change(lambda gate, now: gates.pause(gate, caller.key_id, now))
    return dispatch_view(after)


@router.post("/resume", summary="Send jobs again")
async def resume_dispatch(request: Request, caller: CurrentCaller) -> DispatchView:
    """Ends a pause, and opens what the gateway shut by itself; what is still wrong will shut it again."""
    caller.require(Scope.ADMIN)
    _, after = await request.state.gateway.gate_store.change(lambda gate, _now: gates.resume(gate))
    request.state.gateway.settlement.saw_gate(after)
    request.state.gateway.settlement.wakes.ring("dispatch")
    request.state.gateway.settlement.wakes.ring("reconcile")
    return dispatch_view(after)


def dispatch_view(gate: Gate) -> DispatchView:
    reason = Shut.PAUSED if gate.paused_at else gate.checks_shut or gate.shut
    since = gate.paused_at or gate.checks_shut_at or gate.shut_at
    automatic = reason is not None and reason is gate.shut
    return DispatchView(
        submits=DoorView(
            open=reason is None,
            reason=reason,
            since=since,
            until=gate.shut_until if automatic else None,
            detail=gate.shut_detail if automatic else None,
        ),
        checks=DoorView(
            open=gate.checks_possible, reason=gate.checks_shut, since=gate.checks_shut_at, until=gate.check_probe_at
        ),
        paused_by=gate.paused_by,
        failures=gate.failures,
    )
