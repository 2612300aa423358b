"""What of a representation a request asks for: all, one range, or nothing at all. Pure. Source: RFC 9110, 13 and 14."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from starlette.datastructures import Headers

from app.etag import is_known

_RANGE = re.compile(r"\s*bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class RequestedPart:
    """The status of the answer, and which bytes it has: from `start` to before `stop`."""

    status: Literal[200, 206, 304, 416]
    start: int = 0
    stop: int = 0


def requested_part(method: str, headers: Headers, *, etag: str, size: int) -> RequestedPart:
    """What to answer to a GET or HEAD of something that has this strong `ETag` and at least one byte.

    A range is honoured where it is a single one of bytes; several, and what cannot be read, ask for everything. `If-Range` must
    name the `ETag`: a date never fits, as no `Last-Modified` is told.
    """
    if is_known(headers.getlist("if-none-match"), etag):
        return RequestedPart(304)
    everything = RequestedPart(200, 0, size)
    asked = _RANGE.fullmatch(headers.get("range", "")) if method == "GET" else None
    if asked is None or headers.get("if-range", etag).strip() != etag:
        return everything
    first, last = asked.groups()
    if not first:
        return everything if not last else _suffix(int(last), size)
    if last and int(last) < int(first):
        return everything  # no range at all
    if int(first) >= size:
        return RequestedPart(416)
    return RequestedPart(206, int(first), min(int(last) + 1, size) if last else size)


def _suffix(length: int, size: int) -> RequestedPart:
    return RequestedPart(206, max(size - length, 0), size) if length else RequestedPart(416)
