"""`/dispatch`: operators look at the gate, pause it and resume it."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from app.access.callers import CurrentCaller, Scope
from app.answers import problem_responses
from app.lifecycle import gate as gates
from app.lifecycle.gate import Gate, Shut
from app.storage.audit import Act

router = APIRouter(prefix="/dispatch", tags=["operators"], responses=problem_responses(401, 403, 503))


class DoorView(BaseModel):
    """One door of the gate."""

    open: bool
    reason: Shut | None = Field(description="Why it is shut.")
    since: datetime | None = None
    until: datetime | None = Field(None, description="When a single probe may go; unknown where only an operator can open it.")
    detail: str | None = None


class DispatchView(BaseModel):
    """The gate as operators see it."""

    submits: DoorView
    checks: DoorView
    paused_by: str | None
    failures: int = Field(description="Failed submits in a row.")
    open_submissions: int = Field(description="Submissions open upstream, unconfirmed ones included; each holds a slot.")
    max_in_flight: int = Field(description="Slots.")


@router.get("", summary="Show the gate", response_description="The gate.")
async def show_dispatch(request: Request, caller: CurrentCaller) -> DispatchView:
    """Whether submits and checks may go, and if not, why and until when."""
    caller.require(Scope.ADMIN)
    gateway = request.state.gateway
    limit = gateway.settings.upstream_max_in_flight
    return dispatch_view(await gateway.gate_store.read(), await gateway.history.count_open(limit), limit)


@router.post("/pause", summary="Stop sending jobs", response_description="The gate, shut.")
async def pause_dispatch(request: Request, caller: CurrentCaller) -> DispatchView:
    """Jobs are still accepted, and what was sent is still checked and settled. Repeating it changes nothing."""
    caller.require(Scope.ADMIN)
    act = Act(caller.key_id, "dispatch.pause")
    await request.state.gateway.gate_store.change(lambda gate, now: gates.pause(gate, caller.key_id, now), act)
    return await show_dispatch(request, caller)


@router.post("/resume", summary="Send jobs again", response_description="The gate, open.")
async def resume_dispatch(request: Request, caller: CurrentCaller) -> DispatchView:
    """Ends a pause, and opens what the gateway shut by itself; what is still wrong will shut it again."""
    caller.require(Scope.ADMIN)
    settlement = request.state.gateway.settlement
    act = Act(caller.key_id, "dispatch.resume")
    _, after = await request.state.gateway.gate_store.change(lambda gate, _now: gates.resume(gate), act)
    settlement.saw_gate(after)
    settlement.wakes.ring("dispatch")
    settlement.wakes.ring("reconcile")
    return await show_dispatch(request, caller)


def dispatch_view(gate: Gate, open_submissions: int, max_in_flight: int) -> DispatchView:
    reason = gate.why_submits_are_shut
    since, until, detail = {
        None: (None, None, None),
        Shut.PAUSED: (gate.paused_at, None, None),
        gate.checks_shut: (gate.checks_shut_at, gate.check_probe_at, None),
        gate.shut: (gate.shut_at, gate.shut_until, gate.shut_detail),
    }[reason]
    return DispatchView(
        submits=DoorView(open=reason is None, reason=reason, since=since, until=until, detail=detail),
        checks=DoorView(
            open=gate.checks_possible, reason=gate.checks_shut, since=gate.checks_shut_at, until=gate.check_probe_at
        ),
        paused_by=gate.paused_by,
        failures=gate.failures,
        open_submissions=open_submissions,
        max_in_flight=max_in_flight,
    )
