"""Errors as callers see them: RFC 9457 `application/problem+json`, from one table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.errors import StorageUnavailableError
from app.problem_codes import CODES, detail_of

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_STORAGE = 2  #: seconds; what a caller is told to wait for the database

log = structlog.get_logger(__name__)

#: Pydantic's words for a text whose length does not fit, where a check of ours comes before the one of the length.
_ITEMS = re.compile(r"Value should have (at (?:least|most) \d+) items? after validation, not \d+")


class FieldProblem(BaseModel):
    """What is wrong with one field. Never holds the value itself."""

    field: str = Field(examples=["prompt"])
    message: str = Field(examples=["write at least 1 character that is not blank"])


class ProblemBody(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no such job."])
    code: str = Field(examples=["not_found"])
    request_id: str = Field(examples=["0192f0c1e2a37c5e8d1f3b5a7c9e1f20"])
    errors: list[FieldProblem] | None = None


class Problem(Exception):
    """An error with everything that its answer needs."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldProblem] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers, self.errors = dict(headers or {}), tuple(errors)

    @classmethod
    def of(
        cls, code: str, *, headers: Mapping[str, str] | None = None, errors: Sequence[FieldProblem] = (), **filled_in: object
    ) -> Problem:
        """The problem with this code, as the table of codes has it.

        Args:
            filled_in: what its detail leaves open.
        """
        return cls(CODES[code][0], code, detail_of(code, **filled_in), headers=headers, errors=errors)


def unauthorized() -> Problem:
    return Problem.of("unauthorized", headers={"WWW-Authenticate": "Bearer"})


def scope_missing(scope: str) -> Problem:
    return Problem.of("scope_missing", scope=scope)


def not_found(what: str = "job") -> Problem:
    return Problem.of("not_found", what=what)


def invalid(errors: Sequence[FieldProblem]) -> Problem:
    return Problem.of("invalid_request", errors=errors)


def storage_unavailable() -> Problem:
    return Problem.of("storage_unavailable", headers={"Retry-After": str(RETRY_AFTER_STORAGE)})


def too_many(what: str) -> Problem:
    """More of it comes in than a process takes; the connection ends with this answer."""
    headers = {"Retry-After": str(RETRY_AFTER_STORAGE), "Connection": "close"}
    return Problem.of("too_many_connections", what=what, headers=headers)


def install(app: FastAPI) -> None:
    """Makes every error of the app a problem."""

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return _answer(request, error)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        phrase = HTTPStatus(error.status_code).phrase
        code = phrase.lower().replace(" ", "_").replace("-", "_")
        detail = _NOTHING_HERE if error.status_code == 404 else CODES[code][1] if code in CODES else phrase
        headers = {**(error.headers or {}), **({"Allow": _allowed(request)} if error.status_code == 405 else {})}
        return _answer(request, Problem(error.status_code, code, detail, headers=headers))

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _answer(request, invalid([request_problem(e) for e in error.errors()]))

    async def on_storage(request: Request, error: Exception) -> Response:
        log.error("database unavailable", reason=str(error))
        return _answer(request, storage_unavailable())

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(StorageUnavailableError, on_storage)


def title_of(status: int) -> str:
    """The phrase of a status as RFC 9110 has it, whatever this Python calls it."""
    return _TITLES.get(status) or HTTPStatus(status).phrase


def internal_error(request: Request) -> Response:
    """The answer to a defect of ours: says nothing of it but the request id, which leads to the log."""
    return _answer(request, Problem.of("internal_error"))


def too_many_connections(request: Request) -> Response:
    """The answer where there are more connections than a process serves."""
    return _answer(request, too_many("connections"))


def request_problem(error: Mapping[str, Any]) -> FieldProblem:
    """One of FastAPI's errors: pydantic's, behind the part of the request that the field is in."""
    return field_problem({**error, "loc": error["loc"][1:]})


def field_problem(error: Mapping[str, Any]) -> FieldProblem:
    """One of pydantic's errors, without the value that was wrong."""
    place = ".".join(str(part) for part in error["loc"])
    message = _ITEMS.sub(_in_characters, printable(error["msg"]).removeprefix("Value error, "))
    return FieldProblem(field=printable(place)[:100], message=message[:300])


def _in_characters(length: re.Match[str]) -> str:
    return f"write {length[1]} character" + ("" if length[1].endswith(" 1") else "s")


def printable(text: str) -> str:
    """A stranger's text without control characters and lone surrogates."""
    return text.encode("utf-8", "replace").decode().translate(dict.fromkeys(range(32)))


def _allowed(request: Request) -> str:
    """The methods that this address takes. The framework knows those of one route, and an address may have several."""
    scopes = {method: {**request.scope, "method": method} for method in _METHODS}
    routes = request.app.router.routes
    return ", ".join(m for m, scope in scopes.items() if any(route.matches(scope)[0] is Match.FULL for route in routes))


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_TITLES = {413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
_NOTHING_HERE = "There is nothing here."  #: of an address without a route


def _answer(request: Request, problem: Problem) -> Response:
    body = ProblemBody(
        type="about:blank",
        title=title_of(problem.status),
        status=problem.status,
        detail=problem.detail,
        code=problem.code,
        request_id=getattr(request.state, "request_id", ""),
        errors=list(problem.errors) or None,
    )
    return JSONResponse(body.model_dump(exclude_none=True), problem.status, headers=problem.headers, media_type=MEDIA_TYPE)
