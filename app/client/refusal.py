"""What went wrong, read from what came back. One table for all calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from app.client.errors import (
    BY_CODE,
    BY_STATUS,
    ClientError,
    FieldError,
    OutOfReachError,
    RefusedError,
    ThrottledError,
    UnavailableError,
    UnexpectedAnswerError,
)
from app.client.steps import Answer, Lost
from app.retry_after import retry_after

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WORTH_ANOTHER_TRY = frozenset({429, 502, 503, 504})


def refusal(outcome: Answer | Lost) -> ClientError | None:
    """The error that this outcome is; None where it is none."""
    if isinstance(outcome, Lost):
        error = OutOfReachError(outcome.reason, sent=outcome.sent)
        error.__cause__ = outcome.cause
        return error
    if 200 <= outcome.status < 300:
        return None
    problem = _problem(outcome.body)
    if problem is None:
        return _nobody_of_ours(outcome)
    kind = BY_CODE.get(problem["code"]) or BY_STATUS.get(outcome.status, RefusedError)
    return kind(
        outcome.status,
        problem["code"],
        str(problem.get("detail") or problem.get("title") or problem["code"]),
        request_id=problem.get("request_id") or outcome.headers.get("x-request-id"),
        errors=_fields(problem.get("errors")),
        retry_after=_patience(outcome.headers),
    )


def is_worth_another_try(error: ClientError) -> bool:
    """Whether the same request is sent again: the trouble is a passing one. Whatever this client sends may be repeated."""
    return isinstance(error, OutOfReachError) or (isinstance(error, RefusedError) and error.status in _WORTH_ANOTHER_TRY)


def is_passing(error: ClientError) -> bool:
    """Whether a job that is watched may still come out well: all trouble that says nothing of the job itself."""
    return isinstance(error, (OutOfReachError, UnexpectedAnswerError, UnavailableError, ThrottledError))


def _patience(headers: Mapping[str, str]) -> float | None:
    """Seconds that the answer asks for."""
    asked = retry_after(headers, now=datetime.now(UTC))
    return asked.total_seconds() if asked is not None else None


def _problem(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("code"), str) else None


def _nobody_of_ours(answer: Answer) -> ClientError:
    """A proxy's answer. What says "not now" is taken at its word; its 404 says nothing of a job."""
    status = answer.status
    if status == 429 or status >= 500:
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"
        code = phrase.lower().replace(" ", "_")
        kind = BY_STATUS.get(status, UnavailableError)
        return kind(status, code, f"{phrase}, without a word of the gateway", retry_after=_patience(answer.headers))
    where = f" to {answer.headers.get('location', 'nowhere')[:200]!r}" if status in REDIRECTS else ""
    kind_of_body = answer.headers.get("content-type", "no content type")[:100]
    return UnexpectedAnswerError(f"not the gateway's answer: {status}{where} with {kind_of_body}", status=status)


def _fields(errors: object) -> tuple[FieldError, ...]:
    if not isinstance(errors, list):
        return ()
    return tuple(FieldError(str(e.get("field", "")), str(e.get("message", ""))) for e in errors if isinstance(e, dict))
