"""What schemathesis cannot read in the document: which addresses may be delivered to, and what a run must leave alone."""

from __future__ import annotations

import itertools
import os
from typing import Any

import schemathesis
from hypothesis import strategies as st

RECEIVER = os.environ["RECEIVER_URL"]  #: on loopback; the gateway is told to allow it
KEY_ID = os.environ["KEY_ID"]  #: of the run's own key

schemathesis.openapi.format("uri", st.integers(0, 9999).map(lambda number: f"{RECEIVER}/hooks/{number}"))
orders = itertools.count()


@schemathesis.hook
def before_call(_context: Any, case: schemathesis.Case, _kwargs: dict[str, Any]) -> None:
    """A key that is used twice is refused, and every example uses the same."""
    headers = case.headers or {}
    if case.meta and case.meta.generation.mode.is_positive and "Idempotency-Key" in headers:
        headers["Idempotency-Key"] = f"order-{next(orders)}"
    if case.path_parameters and case.path_parameters.get("key_id") == KEY_ID:
        case.path_parameters["key_id"] = "00000000"  # revoked, it would open nothing any more
