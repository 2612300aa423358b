"""Bodies of requests, read within bounds of size and time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from app.problems import FieldProblem, Problem, field_problem, invalid, printable

Model = TypeVar("Model", bound=BaseModel)

BODY_SECONDS = 10.0  #: how long a caller's body may take

_DISCARD_MAX = 32 * 1024 * 1024  #: bytes; as much again as the largest limit of a route
_DISCARD_SECONDS = 2.0


async def read_body(request: Request, *, limit: int) -> bytes:
    """The whole body, at most `limit` bytes, within `BODY_SECONDS`.

    Raises:
        Problem: 413 over the limit, declared or counted; 408 when it does not come in time.
    """
    body = bytearray()
    await take_body(request, body.extend, limit=limit, seconds=BODY_SECONDS)
    return bytes(body)


async def take_body(request: Request, take: Callable[[bytes], object], *, limit: int, seconds: float) -> int:
    """Hands the body to `take`, piece by piece, within these bounds, with the errors of `read_body`; how many bytes it had."""
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
        raise Problem.of("request_timeout", seconds=seconds, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise Problem.of("client_disconnected") from None
    return size


async def read_model(request: Request, model: type[Model], *, limit: int) -> Model:
    """The JSON body, checked.

    Raises:
        Problem: 415 where it is not said to be plain JSON; 413 and 408 as for `read_body`; 422 with every field that does not
            fit, or is given twice.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = media_type == "application/json" or media_type.endswith("+json")
    if not is_json or request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Problem.of("unsupported_media_type")
    body = await read_body(request, limit=limit)
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
    return Problem.of("content_too_large", limit=limit, headers={"Connection": "close"})
