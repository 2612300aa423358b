"""A page of the console: rendered, sent with its headers, and with errors that people can read."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote, urlencode

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined

from app import __version__
from app.access.callers import Caller
from app.console import words
from app.console.assets import asset_url
from app.console.form import refuse_other_sites
from app.errors import StorageUnavailableError
from app.problems import Problem, invalid, request_problem, storage_unavailable

log = structlog.get_logger(__name__)

SAID = "gateway_said"  #: the cookie that carries one line over a redirect
SAID_MAX = 400  #: characters

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with "no-referrer", browsers would hide where a form was sent from
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class SignInNeeded(Exception):
    """Nobody is signed in, or no longer."""


class PageRoute(APIRoute):
    """Turns errors into pages before the app makes problems of them, and lets no other site press our buttons."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_with_a_page(request: Request) -> Response:
            try:
                if request.method not in ("GET", "HEAD"):
                    refuse_other_sites(request)
                response = await answer(request)
            except SignInNeeded:
                response = _to_sign_in(request)
            except Problem as problem:
                response = error_page(request, problem)
            except RequestValidationError as error:
                response = error_page(request, invalid([request_problem(e) for e in error.errors()]))
            except StorageUnavailableError as error:
                log.error("database unavailable", reason=str(error))
                response = error_page(request, storage_unavailable())
            except Exception:
                log.exception("request failed", method=request.method, route=self.path)
                response = error_page(request, Problem.of("internal_error"))
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return answer_with_a_page


def page(request: Request, template: str, caller: Caller | None, status: int = 200, **shown: Any) -> Response:
    """The template's page. What was said on the way here is shown once."""
    said = "" if _is_live(request) else unquote(request.cookies.get(SAID, ""))  # a live part has no place for it
    html = templates.get_template(template).render(
        me=caller, here=_here(request), path=request.url.path, said=said, version=__version__, **shown
    )
    response = HTMLResponse(html, status)
    if said:
        response.delete_cookie(SAID, path="/console", httponly=True, samesite="strict")
    return response


def go_to(request: Request, address: str, said: str = "") -> Response:
    """To another page, after a button was pressed; `said` is shown there.

    Args:
        address: within the console; anything else leads to its first page.
    """
    response = RedirectResponse(_own(address), 303)
    if said:
        response.set_cookie(
            SAID, _short(said), max_age=60, path="/console", httponly=True, samesite="strict", secure=is_secure(request)
        )
    return response


def error_page(request: Request, problem: Problem) -> Response:
    title = HTTPStatus(problem.status).phrase
    caller = getattr(request.state, "visitor", None)
    response = page(
        request, "error.html", caller, problem.status, title=title, problem=problem, again=request.method == "GET",
        request_id=getattr(request.state, "request_id", ""),
    )  # fmt: skip
    response.headers.update(problem.headers)
    return response


def is_secure(request: Request) -> bool:
    """Whether the browser came by HTTPS: as the proxy tells, where it is trusted to, or as the browser itself does."""
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")


def _to_sign_in(request: Request) -> Response:
    address = f"/console/sign-in?{urlencode({'next': _here(request)})}"
    if _is_live(request):
        return Response(status_code=401, headers={"HX-Redirect": address})
    if request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site":
        # A link from elsewhere: the browser keeps a strict cookie to itself, but not when the page then comes to itself.
        return page(request, "again.html", None)
    return RedirectResponse(address if request.method == "GET" else "/console/sign-in", 303)


def _here(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _is_live(request: Request) -> bool:
    """Whether a page that is open asks for what has changed of it."""
    return "hx-request" in request.headers


def _short(said: str) -> str:
    """As a cookie takes it. Browsers drop one of more than 4 kB, and nine bytes may stand for a letter."""
    return quote(said if len(said) <= SAID_MAX else f"{said[:SAID_MAX]} …")


def _own(address: str) -> str:
    path = re.split("[?#]", address, maxsplit=1)[0]
    own = path == "/console" or path.startswith("/console/")
    return address if own and "\\" not in address and address.isprintable() else "/console"


templates = Environment(
    loader=PackageLoader("app.console"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.globals["asset_url"] = asset_url
templates.filters.update(words.FILTERS)
