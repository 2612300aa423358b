"""`/console/deliveries`: what was not delivered, who does not take it; send again, recover, resume."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Request, Response

from app.access.tenants import TenantList, list_tenants
from app.clock import system_clock
from app.console import instant_field
from app.console.address import address
from app.console.asking import asked, request_with
from app.console.form import read_form
from app.console.page import PageRoute, go_to, page
from app.console.query import query_of
from app.console.refusal import reason, say_refusal
from app.console.visitor import Visitor
from app.console.words import number
from app.deliveries.operators import DeliveryQuery, ReceiverQuery, list_deliveries, list_receivers, resume_receiver
from app.deliveries.router import recover_deliveries
from app.deliveries.router import redeliver as send_again
from app.deliveries.views import DeliveryPage, DeliveryView, ReceiverList, Recovered, Resumed
from app.lifecycle.delivery import DeliveryState
from app.problems import Problem

router = APIRouter(prefix="/console", include_in_schema=False, route_class=PageRoute)

HERE = "/console/deliveries"
RECOVER_BACK = timedelta(days=1)  #: what the form offers


@router.get("/deliveries")
async def show_the_deliveries(
    request: Request,
    caller: Visitor,
    state: str = "",
    tenant: str = "",
    origin: str = "",
    cursor: str = "",
) -> Response:
    now, wrong = system_clock(), ""
    receivers = await asked(list_receivers(request, caller, ReceiverQuery()), ReceiverList)
    try:
        query = query_of(DeliveryQuery, state=state, tenant=tenant, origin=origin, cursor=cursor)
        found = await asked(list_deliveries(request, caller, query), DeliveryPage)
    except Problem as problem:
        if problem.status != 422:
            raise
        found, wrong = DeliveryPage(deliveries=[], next_cursor=None, has_more=False), reason(problem)
    chosen = {"state": state, "tenant": tenant, "origin": origin}
    return page(
        request, "deliveries.html", caller, 422 if wrong else 200,
        now=now, found=found, receivers=receivers, wrong=wrong, chosen=chosen, tabs=_tabs(chosen), first=not cursor,
        onward=address(HERE, {**chosen, "cursor": found.next_cursor or ""}), back_to_first=address(HERE, chosen),
        tenants=(await asked(list_tenants(request, caller), TenantList)).tenants,
        since=instant_field.written(now - RECOVER_BACK),
    )  # fmt: skip


@router.post("/deliveries/{delivery_id}/redeliver")
async def redeliver(request: Request, caller: Visitor, delivery_id: str) -> Response:
    back = (await read_form(request)).get("back", HERE)
    try:
        after = await asked(send_again(request, caller, delivery_id), DeliveryView)
    except Problem as problem:
        return say_refusal(request, back, problem)
    return go_to(request, back, _outcome(after))


@router.post("/deliveries/recover")
async def recover(request: Request, caller: Visitor) -> Response:
    form = await read_form(request)
    tenant, since = form.get("tenant", ""), instant_field.read(form.get("since", ""))
    try:
        asking = recover_deliveries(request_with(request, body={"since": since}), caller, tenant)
        recovered = (await asked(asking, Recovered)).recovered
    except Problem as problem:
        return say_refusal(request, HERE, problem)
    return go_to(request, address(HERE, {"tenant": tenant}), f"Due again for {tenant}: {_counted(recovered)}.")


@router.post("/deliveries/resume")
async def resume(request: Request, caller: Visitor) -> Response:
    form = await read_form(request)
    body = {name: form.get(name, "") for name in ("tenant", "origin")}
    try:
        resumed = (await asked(resume_receiver(request_with(request, body=body), caller), Resumed)).resumed
    except Problem as problem:
        if problem.status == 404:
            return go_to(request, HERE, f"Nothing is wrong with {body['origin']} any more.")
        return say_refusal(request, HERE, problem)
    return go_to(request, HERE, f"{body['origin']} is resumed; due again: {_counted(resumed)}.")


def _counted(deliveries: int) -> str:
    return "1 delivery" if deliveries == 1 else f"{number(deliveries)} deliveries"


def _outcome(delivery: DeliveryView) -> str:
    last = delivery.attempts[-1] if delivery.attempts else None
    if last is None:
        return "It was sent; what came of it is not on record."
    said = ", ".join(part for part in (f"HTTP {last.status}" if last.status else "", last.error or "") if part)
    delivered = last.status is not None and 200 <= last.status <= 299
    return f"Delivered: {said}." if delivered else f"Not delivered: {said}."


def _tabs(chosen: dict[str, str]) -> list[tuple[str, str, bool]]:
    """Name, address, and whether it is the one that is shown."""
    states = ["", *DeliveryState]
    return [(state or "all", address(HERE, {**chosen, "state": state}), state == chosen["state"]) for state in states]
