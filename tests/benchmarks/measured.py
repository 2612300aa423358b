"""A figure beside its baseline, and the page that they are written on."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """One comparison of one run."""

    what: str
    gateway: float
    baseline: str  #: which
    against: float
    unit: str
    goal: float | None = None  #: of the ratio
    at_most: bool = False  #: the ratio is to stay below the goal, not above
    bound: float | None = None  #: what the gateway's own figure is to stay below, whatever the baseline

    @property
    def ratio(self) -> float:
        return self.gateway / self.against if self.against else float("nan")

    @property
    def met(self) -> bool | None:
        if self.goal is None and self.bound is None:
            return None
        against = self.goal is None or (self.ratio <= self.goal if self.at_most else self.ratio >= self.goal)
        return against and (self.bound is None or self.gateway <= self.bound)

    def row(self) -> str:
        figures = f"{_number(self.gateway)} | {self.baseline}: {_number(self.against)} | {self.unit}"
        bound = "" if self.bound is None else f"≤ {self.bound:g} {self.unit}"
        goals = ", ".join(goal for goal in (_goal(self), bound) if goal)
        return f"| {self.what} | {figures} | {self.ratio:.2f} | {goals} | {_VERDICT[self.met]} |"


@dataclass(frozen=True)
class Figure:
    """What has no baseline: a size, a share, a time of one run."""

    what: str
    gateway: float
    unit: str
    goal: float | None = None  #: of the figure itself
    at_most: bool = False  #: the figure is to stay below the goal, not above

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.gateway <= self.goal if self.at_most else self.gateway >= self.goal

    def row(self) -> str:
        return f"| {self.what} | {_number(self.gateway)} | | {self.unit} | | {_goal(self)} | {_VERDICT[self.met]} |"


@dataclass(frozen=True)
class Plan:
    """How a database went about one look, as EXPLAIN tells; kept beside the figures, in a file for each database."""

    what: str
    text: str
    of: str  #: the database, and how much was in it


Result = Line | Figure | Plan

HEAD = "| what | gateway | baseline | unit | ratio | goal | |\n|---|---:|---:|---|---:|---|---|"


def table(results: Sequence[Result]) -> str:
    """Plans are told elsewhere."""
    return "\n".join([HEAD, *(result.row() for result in results if not isinstance(result, Plan))])


def machine() -> str:
    """The day, and the machine that the run was on."""
    model = next((line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next((int(line.split()[1]) // 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    what = f"{os.cpu_count()} cores ({model}), {memory} GiB, Python {platform.python_version()}, {platform.system()}"
    return f"{datetime.now(UTC).date()}, {what}"


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []


def _goal(result: Line | Figure) -> str:
    return "" if result.goal is None else f"{'≤' if result.at_most else '≥'} {result.goal:g}"


def _number(value: float) -> str:
    """Three digits that count; more of them are noise."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


_VERDICT = {None: "", True: "met", False: "**missed**"}

Say = Callable[[str], None]
