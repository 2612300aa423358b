"""`Idempotency-Key`: what makes a request safe to repeat. Source: the IETF draft of that name, and the public contract."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Header, Request

from app.problems import FieldProblem, Problem, invalid

_KEY = re.compile(r"[\x21-\x7e]{1,255}")

_Header = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Makes the request safe to repeat: the same key and body yield the first job, for 0 credits. 1 to 255 "
        "visible ASCII characters, bare or quoted. Another body with the same key → 422.",
        examples=["order-17"],
        json_schema_extra={"pattern": r"""^(?!""$)([!-~]{1,255}|"[!-~]{1,255}")$"""},
    ),
]


async def read_idempotency_key(request: Request, _header: _Header = None) -> str | None:
    """FastAPI dependency: the key, bare or quoted as the IETF draft writes it.

    Raises:
        Problem: 422, it is none, or given twice.
    """
    given = request.headers.getlist("Idempotency-Key")
    if not given:
        return None
    if len(given) > 1:
        raise _refused("give it once")
    header = given[0]
    key = header[1:-1] if len(header) > 1 and header[0] == header[-1] == '"' else header
    if not _KEY.fullmatch(key):
        raise _refused("use 1 to 255 visible ASCII characters")
    return key


IdempotencyKey = Annotated[str | None, Depends(read_idempotency_key)]


def key_reused() -> Problem:
    return Problem.of("idempotency_key_reused")


def _refused(message: str) -> Problem:
    return invalid([FieldProblem(field="Idempotency-Key", message=message)])
