"""The headers of our answers, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any


def _header(description: str, example: str | int, *, always: bool = False, **schema: Any) -> dict[str, Any]:
    kind = "integer" if isinstance(example, int) else "string"
    return {
        "description": description, "required": always, "schema": {"type": kind, **schema}, "example": example,
    }  # fmt: skip


#: `required`: on every answer that lists the header; the others say in their description when they are there.
HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": _header(
        "The request's id, yours where you sent a sane one; it leads to our log.",
        "0192f0c1e2a37c5e8d1f3b5a7c9e1f20",
        always=True,
    ),
    "Location": _header("Where to find what was made.", "/jobs/0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f20", always=True),
    "ETag": _header(
        "Names this very representation; send it back in `If-None-Match`.", '"5d41402abc4b2a76b9719d911017c592"', always=True
    ),
    "Link": _header('Where the next page is (RFC 8288), `rel="next"`; absent on the last one.', '</jobs?cursor=…>; rel="next"'),
    "Retry-After": _header("Seconds until asking again is worth it; absent once a job is settled.", 2, minimum=0),
    "Idempotent-Replayed": _header(
        "`true` where an earlier request had made this; else absent.", "true", enum=["true"]
    ),
    "Preference-Applied": _header(
        "The wait that was granted (RFC 7240), where one was asked for.", "wait=30", pattern="^wait=[0-9]+$"
    ),
    "RateLimit": _header(
        "Requests left, and the seconds until there are as many as can be; where the tenant's requests are limited.",
        '"requests";r=9;t=1',
    ),
    "RateLimit-Policy": _header("Requests in a window of seconds; where they are limited.", '"requests";q=10;w=2'),
    "Content-Range": _header("How many bytes there are.", "bytes */123456", always=True),
    "WWW-Authenticate": _header("How to authenticate.", "Bearer", always=True),
}  # fmt: skip

_OF_STATUS = {
    401: ("WWW-Authenticate",),
    416: ("Content-Range",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}


def headers(*names: str) -> dict[str, dict[str, str]]:
    """For `headers` of a response: these, described once for all."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def headers_of_problem(status: int) -> dict[str, dict[str, str]]:
    """What a problem of this status may bring; those that are required always are there."""
    return headers(*_OF_STATUS.get(status, ()))
