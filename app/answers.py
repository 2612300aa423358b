"""Answers in JSON, and what they have in common."""

from __future__ import annotations

import hashlib
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel

from app.job_view import JobView, retry_after_seconds
from app.problems import ProblemBody

#: For `responses=` of a route: an error as RFC 9457 has it.
PROBLEM: dict[str, Any] = {"model": ProblemBody, "content": {"application/problem+json": {}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a route: these errors."""
    return dict.fromkeys(statuses, PROBLEM)


def json_answer(view: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Never stored by anybody between us and the caller, unless `headers` say otherwise."""
    return Response(view.model_dump_json(), status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


def job_answer(view: JobView, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A job, with `Retry-After` while asking again is worth it."""
    seconds = retry_after_seconds(view)
    retry = {"Retry-After": str(seconds)} if seconds is not None else {}
    return json_answer(view, status, {**retry, **(headers or {})})


def conditional_job_answer(request: Request, view: JobView, headers: dict[str, str]) -> Response:
    """A job with a strong `ETag`; 304 where the caller has this very representation already. Source: RFC 9110."""
    answer = job_answer(view, 200, {"Cache-Control": "private, no-cache", **headers})
    answer.headers["ETag"] = etag = f'"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
    if not _has(request.headers.get("if-none-match", ""), etag):
        return answer
    kept = {name: value for name, value in answer.headers.items() if name not in ("content-length", "content-type")}
    return Response(status_code=304, headers=kept)


def _has(if_none_match: str, etag: str) -> bool:
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in known or known == ["*"]


def base_url(request: Request) -> str:
    """Where the caller reaches the gateway, without a slash at the end."""
    return str(request.base_url).rstrip("/")
