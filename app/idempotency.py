"""`Idempotency-Key`: what makes a request safe to repeat. Source: the IETF draft of that name, and the public contract."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header

from app.problems import FieldProblem, Problem, invalid

_KEY = re.compile(r"[\x21-\x7e]{1,255}")

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Makes the request safe to repeat: the same key and body yield the first job, for 0 credits. 1 to 255 "
        "visible ASCII characters, bare or quoted. Another body with the same key → 422.",
        examples=["order-17"],
        json_schema_extra={"pattern": r"""^([!-~]{1,255}|"[!-~]{1,255}")$"""},
    ),
]


def read_idempotency_key(header: str | None) -> str | None:
    """The key, bare or quoted as the IETF draft writes it."""
    if header is None:
        return None
    key = header[1:-1] if len(header) > 2 and header[0] == header[-1] == '"' else header
    if not _KEY.fullmatch(key):
        raise invalid([FieldProblem(field="Idempotency-Key", message="use 1 to 255 visible ASCII characters")])
    return key


def key_reused() -> Problem:
    return Problem(422, "idempotency_key_reused", "This Idempotency-Key was used for another request.")
