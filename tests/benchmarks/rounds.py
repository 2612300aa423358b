"""Rounds: what is compared is measured several times, in an order that rotates; told are medians, and how far they range.

A ratio is of two figures of one round, and the verdict that of the median ratio: a machine that grows slower in the course of
the run does so for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TypeVar

from tests.benchmarks.measured import Figure, Line

ROUNDS = 3

T = TypeVar("T")


def how_many(asked: int | None, *, full: bool) -> int:
    """As many as were asked for; else three, but one for sizes that only show whether it works."""
    return asked if asked is not None else ROUNDS if full else 1


def rotated(order: Sequence[T], number: int) -> list[T]:
    """The order of round `number`, counted from 0: each begins with another one."""
    start = number % len(order)
    return [*order[start:], *order[:start]]


def compared(
    what: str,
    ours: Sequence[float],
    baseline: str,
    theirs: Sequence[float],
    unit: str,
    goal: float | None = None,
    *,
    at_most: bool = False,
) -> list[Line | Figure]:
    """The medians in one line, and below it the verdict with the range.

    Args:
        ours: a figure of each round, as `theirs`; where a baseline was left out of later rounds, the earlier are compared.
    """
    ours, rounds = ours[: len(theirs)], len(theirs)
    if rounds == 1:
        return [Line(what, ours[0], baseline, theirs[0], unit, goal, at_most=at_most)]
    ratios = [our / their if their else float("nan") for our, their in zip(ours, theirs, strict=True)]
    ranges = f"gateway {_range(ours)}, {baseline} {_range(theirs)}, ratio {min(ratios):.2f}–{max(ratios):.2f}"
    return [
        Line(what, median(ours), baseline, median(theirs), unit),
        Figure(f"…, lowest and highest of {rounds} rounds: {ranges}; median ratio", median(ratios), "×", goal, at_most),
    ]


def _range(figures: Sequence[float]) -> str:
    return "–".join(f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}" for figure in (min(figures), max(figures)))
