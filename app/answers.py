"""Answers in JSON, and what they have in common."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel

from app.etag import is_known
from app.job_view import JobView, retry_after_seconds
from app.problem_codes import CODES, codes_of, example_of
from app.problems import MEDIA_TYPE as PROBLEM
from app.problems import title_of
from app.response_headers import HEADERS, headers_of_problem

#: For `openapi_extra=` of a route whose answer has an `ETag`.
IF_NONE_MATCH: dict[str, Any] = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The `ETag` of an earlier answer: 304 while nothing has changed.",
    "schema": {"type": "string"},
    "example": HEADERS["ETag"]["example"],
}


def problem_responses(*which: int | str, thing: str = "job") -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a route: these errors.

    Args:
        which: a status, with all codes that go with it everywhere, or a code that only some routes answer with.
        thing: what a 404 says there is not.
    """
    codes: dict[int, list[str]] = {}
    for one in which:
        status = CODES[one][0] if isinstance(one, str) else one
        codes.setdefault(status, []).extend([one] if isinstance(one, str) else codes_of(one))
    return {status: _problem(status, found, thing) for status, found in codes.items()}


def _problem(status: int, codes: list[str], thing: str) -> dict[str, Any]:
    title = title_of(status)
    filled_in = {"what": thing} if status == 404 else {}
    examples = {code: {"summary": code, "value": example_of(code, title, **filled_in)} for code in codes}
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": f"{title}: {', '.join(f'`{code}`' for code in codes)}." if codes else title,
        "headers": headers_of_problem(status),
        "content": {PROBLEM: {"schema": schema, **({"examples": examples} if examples else {})}},
    }


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """For `openapi_extra=` of a route: the body is read by us, within bounds."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


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
    if not is_known(request.headers.getlist("if-none-match"), etag):
        return answer
    kept = {name: value for name, value in answer.headers.items() if name not in ("content-length", "content-type")}
    return Response(status_code=304, headers=kept)


def next_link(request: Request, place: str | int | None, *, name: str = "cursor") -> dict[str, str]:
    """The `Link` to the next page, which begins at `place`; nothing where there is none. Source: RFC 8288."""
    return {"Link": f'<{request.url.include_query_params(**{name: place})}>; rel="next"'} if place is not None else {}


def base_url(request: Request) -> str:
    """Where the caller reaches the gateway, without a slash at the end."""
    scope, host = request.scope, request.headers.get("host", "")
    return _base_url(scope["scheme"], host.encode("latin-1"), scope["server"], scope.get("app_root_path", ""))


@lru_cache(maxsize=256)
def _base_url(scheme: str, host: bytes, server: tuple[str, int | None] | None, root_path: str) -> str:
    """Starlette puts it together, with all that it suspects of a `Host`; callers come by the same few addresses."""
    headers = [(b"host", host)] if host else []
    scope = {"type": "http", "scheme": scheme, "server": server, "headers": headers, "app_root_path": root_path}
    return str(Request(scope).base_url).rstrip("/")
