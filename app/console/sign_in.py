"""`/console/sign-in`: with an API key."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.access.callers import Access, Scope
from app.console.form import read_form
from app.console.page import PageRoute, go_to, is_secure, page
from app.console.session import COOKIE, LASTS, Sessions

router = APIRouter(prefix="/console", include_in_schema=False, route_class=PageRoute)


@router.get("/sign-in")
async def show_sign_in(request: Request, next: str = "/console") -> Response:  # noqa: A002 - the customary name in addresses
    return page(request, "sign_in.html", None, next=next, wrong=None)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    form = await read_form(request)
    api_key, after = form.get("api_key", "").strip(), form.get("next", "/console")
    access: Access = request.state.gateway.access
    caller = await access.caller(api_key) if api_key else None
    if caller is None:
        wrong = "This key opens nothing: it is unknown, revoked or expired."
        return page(request, "sign_in.html", None, 401, next=after, wrong=wrong)
    if not caller.is_admin and Scope.JOBS_READ not in caller.scopes:
        wrong = "This key may not read jobs: it lacks the scope jobs:read."
        return page(request, "sign_in.html", None, 403, next=after, wrong=wrong)
    sessions: Sessions = request.state.gateway.sessions
    response = go_to(request, after)
    response.set_cookie(
        COOKIE, sessions.cookie_of(api_key), max_age=int(LASTS.total_seconds()),
        path="/console", httponly=True, samesite="strict", secure=is_secure(request),
    )  # fmt: skip
    return response


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    response = go_to(request, "/console/sign-in")
    response.delete_cookie(COOKIE, path="/console", httponly=True, samesite="strict", secure=is_secure(request))
    return response
