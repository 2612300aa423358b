"""A route whose every error is the upstream's envelope, where the rest of the API answers with RFC 9457."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from app.drop_in.envelope import error_answer
from app.drop_in.generate_request import BadRequestError
from app.errors import StorageUnavailableError
from app.problems import RETRY_AFTER_STORAGE, Problem

log = structlog.get_logger(__name__)

#: The document's words, where it has some.
_DETAILS = {401: "API key is missing or invalid.", 404: "task does not exist."}


class EnvelopedRoute(APIRoute):
    """Turns errors into envelopes before the app makes problems of them."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_in_envelope(request: Request) -> Response:
            try:
                return await answer(request)
            except (BadRequestError, Problem, StorageUnavailableError) as error:
                return _answer_to(error)
            except Exception:
                log.exception("request failed", method=request.method, route=self.path)
                return error_answer(500, None)

        return answer_in_envelope

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().handle(scope, receive, send)
        except HTTPException as error:  # a method that the route does not take
            await error_answer(error.status_code, None, error.headers)(scope, receive, send)


def _answer_to(error: BadRequestError | Problem | StorageUnavailableError) -> Response:
    if isinstance(error, BadRequestError):
        return error_answer(400, str(error))
    if isinstance(error, Problem):
        return _answer_to_problem(error)
    log.error("database unavailable", reason=str(error))
    # Not 500, which the document has for what was not accepted: here that is not known.
    return error_answer(503, "try again.", {"Retry-After": str(RETRY_AFTER_STORAGE)})


def _answer_to_problem(problem: Problem) -> Response:
    if problem.errors:
        # The document knows one answer to what does not fit, and it is 400.
        return error_answer(400, " ".join(f"'{e.field}': {e.message}." for e in problem.errors), problem.headers)
    return error_answer(problem.status, _DETAILS.get(problem.status, problem.detail), problem.headers)
