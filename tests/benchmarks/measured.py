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
        goal = "" if self.goal is None else f"{'≤' if self.at_most else '≥'} {self.goal:g}"
        word = {None: "", True: "met", False: "**missed**"}[self.met]
        figures = f"{self.gateway:,.6g} | {self.baseline}: {self.against:,.6g} | {self.unit}"
        return f"| {self.what} | {figures} | {self.ratio:.2f} | {goal} | {word} |"


HEAD = "| what | gateway | baseline | unit | ratio | goal | |\n|---|---:|---:|---|---:|---|---|"


def table(lines: Sequence[Line]) -> str:
    return "\n".join([HEAD, *(line.row() for line in lines)])


def machine() -> str:
    """The machine that the run was on."""
    model = next((line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next((int(line.split()[1]) // 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    today = datetime.now(UTC).date()
    return f"{today}, {os.cpu_count()} cores ({model}), {memory} GiB, Python {platform.python_version()}, {platform.system()}"


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []


Say = Callable[[str], None]
