"""`/console/operations`: many jobs retried or canceled at once; asked first, watched, and stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

from fastapi import APIRouter, Request, Response

from app.access.callers import Caller
from app.clock import system_clock
from app.console.asking import asked, request_with
from app.console.form import read_fields
from app.console.job_search import PATH as JOBS
from app.console.job_search import JobSearch
from app.console.page import PageRoute, go_to, page
from app.console.query import query_of
from app.console.refusal import say_refusal
from app.console.visitor import Visitor
from app.job_query.filters import JobQuery
from app.job_query.query import read_query
from app.lifecycle.operation import FINDS_WORK, OperationKind
from app.operations.router import OperationQuery, create_operation, list_operations, show_operation, stop_operation
from app.operations.scope import stored
from app.operations.views import OperationCount, OperationDetailView, OperationPage, OperationView
from app.problems import FieldProblem, Problem, invalid

router = APIRouter(prefix="/console", include_in_schema=False, route_class=PageRoute)

PATH = "/console/operations"


@router.get("/operations")
async def show_operations(request: Request, caller: Visitor, cursor: str = "") -> Response:
    found = await asked(list_operations(request, caller, query_of(OperationQuery, cursor=cursor)), OperationPage)
    shown = [(operation, _search(operation)) for operation in found.operations]
    return page(request, "operations.html", caller, now=system_clock(), operations=shown, found=found, first=not cursor)


@router.get("/operations/ask")
async def ask_for_all(request: Request, caller: Visitor, kind: OperationKind) -> Response:
    """The question before an operation on all jobs that a search finds."""
    search = JobSearch.of(pair for pair in request.query_params.multi_items() if pair[0] != "kind")
    return await _ask(request, caller, kind, {"query": search.query}, search.href, search)


@router.post("/operations/ask")
async def ask_for_chosen(request: Request, caller: Visitor) -> Response:
    """The question before an operation on the jobs that were checked on a page."""
    fields = await read_fields(request)
    form, jobs = dict(fields), [value for name, value in fields if name == "job"]
    back = form.get("back", "") if form.get("back", "").startswith(JOBS) else JOBS
    if not jobs:
        return go_to(request, back, "Check at least one job first.")
    return await _ask(request, caller, _kind(form), {"job": jobs}, back, None)


@router.post("/operations")
async def make_operation(request: Request, caller: Visitor) -> Response:
    """Made once, however often the button is pressed: the question bears a key."""
    fields = await read_fields(request)
    form, jobs = dict(fields), [value for name, value in fields if name == "job"]
    body = _body(_kind(form), jobs, form.get("query", ""))
    body |= {"accept_double_billing": True} if "accept_double_billing" in form else {}
    made = await asked(create_operation(request_with(request, body=body), caller, form.get("key")), OperationView)
    return go_to(request, f"{PATH}/{made.id}")


@router.get("/operations/{operation_id}")
async def show_one(request: Request, caller: Visitor, operation_id: str) -> Response:
    operation = await asked(show_operation(request, caller, operation_id), OperationDetailView)
    return page(
        request, "operation.html", caller,
        now=system_clock(), operation=operation, search=_search(operation),
    )  # fmt: skip


@router.post("/operations/{operation_id}/stop")
async def stop(request: Request, caller: Visitor, operation_id: str) -> Response:
    try:
        stopped = await asked(stop_operation(request, caller, operation_id), OperationView)
    except Problem as problem:
        return say_refusal(request, f"{PATH}/{operation_id}", problem)
    return go_to(request, f"{PATH}/{stopped.id}", "Stopped: no further job is touched.")


async def _ask(
    request: Request, caller: Caller, kind: OperationKind, fields: Mapping[str, Any], back: str, search: JobSearch | None
) -> Response:
    """Counts the jobs, and asks. What stands against it is told where the person came from."""
    try:
        body = _body(kind, fields.get("job", []), fields.get("query", ""))
        counting = request_with(request, body={**body, "dry_run": True})
        matched = (await asked(create_operation(counting, caller, None), OperationCount)).matched
    except Problem as problem:
        if problem.status != 422:
            raise
        return go_to(request, back, " ".join(f"{error.message[:1].upper()}{error.message[1:]}." for error in problem.errors))
    states = sorted(FINDS_WORK[kind] & search.states if search and search.states else FINDS_WORK[kind])
    return page(
        request, "ask_operation.html", caller,
        kind=kind, matched=matched, fields=fields, back=back, search=search, states=states, key=str(uuid4()),
    )  # fmt: skip


def _body(kind: OperationKind, jobs: list[str], query: str) -> dict[str, Any]:
    """The body of `POST /operations`. Raises Problem: 422, the query does not fit."""
    if jobs:
        return {"kind": kind.value, "jobs": jobs}
    return {"kind": kind.value, "filter": stored(read_query(JobQuery, parse_qsl(query, keep_blank_values=True)))}


def _kind(form: Mapping[str, str]) -> OperationKind:
    try:
        return OperationKind(form.get("kind", ""))
    except ValueError:
        raise invalid([FieldProblem(field="kind", message=f"write {' or '.join(OperationKind)}")]) from None


def _search(operation: OperationView) -> JobSearch | None:
    """The search that it was made from; None where jobs were listed."""
    return JobSearch.of(parse_qsl(operation.query, keep_blank_values=True)) if operation.query is not None else None
