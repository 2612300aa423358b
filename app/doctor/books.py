"""Do the books of the tenants say what the jobs say?"""

from __future__ import annotations

from app.doctor.finding import Finding, ok, wrong
from app.storage.balance import Difference

CHECK = "books"


def judge_books(difference: Difference | None) -> Finding:
    """
    Args:
        difference: None where they could not be compared.
    """
    if difference is None:
        return ok(CHECK, "not compared: there are jobs still to be booked, or too many to count")
    if difference == Difference(0, 0):
        return ok(CHECK, "in balance")
    found = f"out of balance, by {difference.open_jobs:+d} open jobs and {difference.held_credits:+d} held credits"
    return wrong(CHECK, found, "keep a backup and compare: docs/operations.md, GatewayBooksOutOfBalance")
