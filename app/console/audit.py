"""`/console/audit`: what operators did, when, and by which key."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.audit.router import AuditPage, AuditQuery, list_acts
from app.clock import system_clock
from app.console.acts import shown_act
from app.console.address import address
from app.console.asking import asked
from app.console.page import PageRoute, page
from app.console.query import query_of
from app.console.refusal import reason
from app.console.visitor import Visitor
from app.problems import Problem

router = APIRouter(prefix="/console", include_in_schema=False, route_class=PageRoute)

HERE = "/console/audit"


@router.get("/audit")
async def show_the_audit(request: Request, caller: Visitor, key: str = "", job: str = "", cursor: str = "") -> Response:
    found, wrong = AuditPage(acts=[], next_cursor=None, has_more=False), ""
    try:
        query = query_of(AuditQuery, key=key, job=job, cursor=cursor)
        found = await asked(list_acts(request, caller, query), AuditPage)
    except Problem as problem:
        if problem.status != 422:
            raise
        wrong = reason(problem)
    chosen = {"key": key, "job": job}
    return page(
        request, "audit.html", caller, 422 if wrong else 200,
        now=system_clock(), acts=[shown_act(act) for act in found.acts], wrong=wrong, chosen=chosen, first=not cursor,
        onward=address(HERE, {**chosen, "cursor": str(found.next_cursor)}) if found.has_more else "",
        newest=address(HERE, chosen),
    )  # fmt: skip
