"""What every request gets: an id, and one line in the log."""

from __future__ import annotations

import re
import time
from contextlib import AbstractContextManager
from uuid import uuid4

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import internal_error
from app.traces.spans import Span, Traces

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_UNLOGGED = {"/healthz", "/readyz", "/metrics"}


class RequestLog:
    """Gives each request an id (the caller's `X-Request-ID`, where it is a sane one) and a span, and logs a line when it ends.

    Span and line name the route, never the path: a path may hold a callback token.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status, began = 0, time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        with _span(scope) as span, structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:
                log.exception("request failed", method=scope["method"], route=_route(scope))
                if status:
                    raise  # the answer has begun: the server can only break it off
                await internal_error(Request(scope))(scope, receive, send_with_id)
            finally:
                span.answered(scope["method"], _template(scope), status)
                if _route(scope) not in _UNLOGGED:
                    took = round((time.perf_counter() - began) * 1000, 1)
                    log.info("request", method=scope["method"], route=_route(scope), status=status, ms=took)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value.decode("latin-1")):
            return str(value.decode("latin-1"))
    return uuid4().hex


def _span(scope: Scope) -> AbstractContextManager[Span]:
    gateway = scope["state"].get("gateway")
    if gateway is None or scope["path"] in _UNLOGGED:
        return Traces().request()
    traces: Traces = gateway.traces
    return traces.request([value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"])


def _route(scope: Scope) -> str:
    return _template(scope) or "unknown"


def _template(scope: Scope) -> str | None:
    route = scope.get("route")
    path: str | None = getattr(route, "path_format", None) or getattr(route, "path", None)
    return path
