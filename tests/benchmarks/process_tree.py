"""The processor time of a process and of all that came of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _TIMES = 1, slice(11, 15)  #: after the name: the parent; utime, stime, and both of the children that were waited for


def cpu_seconds(roots: Iterable[int]) -> float:
    """Of these processes and their descendants since they began; of ended ones too, whose time goes to who waits for them."""
    found = _processes()
    children: dict[int, list[int]] = {}
    for pid, fields in found.items():
        children.setdefault(int(fields[_PARENT]), []).append(pid)
    total, ahead = 0, list(roots)
    while ahead:
        pid = ahead.pop()
        total += sum(int(field) for field in found[pid][_TIMES])
        ahead += children.get(pid, [])
    return total / _TICKS


def parent_of(pid: int) -> int:
    return int(_processes()[pid][_PARENT])


def _processes() -> dict[int, list[str]]:
    found = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                found[int(place.name)] = (place / "stat").read_text().rpartition(")")[2].split()
    return found
