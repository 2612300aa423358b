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

    @property
    def ratio(self) -> float:
        return self.gateway / self.against if self.against else float("nan")

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal

    def row(self) -> str:
        figures = f"{_number(self.gateway)} | {self.baseline}: {_number(self.against)} | {self.unit}"
        return f"| {self.what} | {figures} | {self.ratio:.2f} | {_goal(self)} | {_VERDICT[self.met]} |"


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
    """How the database went about one look, as EXPLAIN tells; kept beside the figures."""

    what: str
    text: str


Result = Line | Figure | Plan

HEAD = "| what | gateway | baseline | unit | ratio | goal | |\n|---|---:|---:|---|---:|---|---|"


def table(results: Sequence[Result]) -> str:
    """Plans are told elsewhere."""
    return "\n".join([HEAD, *(result.row() for result in results if not isinstance(result, Plan))])


def machine() -> str:
    """The machine that the run was on."""
    model = next((line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next((int(line.split()[1]) // 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    today = datetime.now(UTC).date()
    return f"{today}, {os.cpu_count()} cores ({model}), {memory} GiB, Python {platform.python_version()}, {platform.system()}"


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
