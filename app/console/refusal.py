"""What a route refused, said where a person can mend it."""

from __future__ import annotations

from fastapi import Request, Response

from app.console.page import go_to
from app.problems import Problem

MENDABLE = frozenset({402, 409, 422, 429})


def say_refusal(request: Request, back: str, problem: Problem) -> Response:
    """Back to where the button was, with the reason.

    Raises:
        Problem: it is none that the person can do anything about; it becomes a page of its own.
    """
    if problem.status not in MENDABLE:
        raise problem
    return go_to(request, back, reason(problem))


def reason(problem: Problem) -> str:
    """The problem in a line: what is wrong with each field, where it says so."""
    wrong = "; ".join(f"{error.field}: {error.message}" if error.field else error.message for error in problem.errors)
    return wrong or problem.detail
