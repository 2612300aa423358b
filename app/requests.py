"""What every request gets: an id, one line in the log, and a body that is read within bounds."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar
from uuid import uuid4

import structlog
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import FieldProblem, Problem, field_problem, internal_error, invalid, printable
from app.traces.spans import Span, Traces

log = structlog.get_logger(__name__)
Model = TypeVar("Model", bound=BaseModel)

BODY_SECONDS = 10.0  #: how long a caller's body may take

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_DISCARD_MAX = 16 * 1024 * 1024  #: bytes
_DISCARD_SECONDS = 2.0
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


async def read_body(request: Request, *, limit: int, seconds: float) -> bytes:
    """The whole body, at most `limit` bytes, within `seconds`.

    Raises:
        Problem: 413 over the limit, declared or counted; 408 when it does not come in time.
    """
    body = bytearray()
    await take_body(request, body.extend, limit=limit, seconds=seconds)
    return bytes(body)


async def take_body(request: Request, take: Callable[[bytes], object], *, limit: int, seconds: float) -> int:
    """Hands the body to `take`, piece by piece, within the bounds of `read_body` and with its errors; how many bytes it had."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        await _discard(request)
        raise _too_large(limit)
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    await _discard(request)
                    raise _too_large(limit)
                take(chunk)
    except TimeoutError:
        raise Problem(
            408, "request_timeout", f"The body did not arrive within {seconds:g} s.", headers={"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise Problem(400, "client_disconnected", "The connection ended before the body did.") from None
    return size


async def read_model(request: Request, model: type[Model], *, limit: int, seconds: float = BODY_SECONDS) -> Model:
    """The JSON body, checked.

    Raises:
        Problem: 415 where it is not said to be plain JSON; 413 and 408 as for `read_body`; 422 with every field that does not
            fit, or is given twice.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise Problem(415, "unsupported_media_type", "Send the body as application/json.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Problem(415, "unsupported_media_type", "Send the body without a content coding.")
    body = await read_body(request, limit=limit, seconds=seconds)
    try:
        value = model.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        raise invalid([field_problem(e) for e in found[:20]]) from None
    json.loads(body, object_pairs_hook=_without_doubles)
    return value


def _without_doubles(pairs: list[tuple[str, object]]) -> None:
    """Of two members with one name a parser may take either, and another one the other: better neither."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise invalid([FieldProblem(field=printable(twice)[:100], message="give it once")])


async def _discard(request: Request) -> None:
    """Lets a sender finish, within bounds: it reads our answer only then, and a connection closed before would lose it."""
    left = _DISCARD_MAX
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            async for chunk in request.stream():
                left -= len(chunk)
                if left < 0:
                    return
    except (TimeoutError, ClientDisconnect, RuntimeError):
        return


def _too_large(limit: int) -> Problem:
    return Problem(413, "content_too_large", f"The body may have at most {limit} bytes.", headers={"Connection": "close"})


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
