"""The processor time and the memory of processes and of all that came of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _TIMES = 1, slice(11, 15)  #: after the name: the parent; utime, stime, and both of the children that were waited for


def cpu_seconds(roots: Iterable[int]) -> float:
    """Of these processes and their descendants since they began; of ended ones too, whose time goes to who waits for them."""
    found = _processes()
    return sum(int(field) for pid in _tree(roots, found) for field in found[pid][_TIMES]) / _TICKS


def resident_mib(roots: Iterable[int]) -> float:
    """What they hold in memory now; what they share is counted for each."""
    return _memory(roots, "VmRSS")


def peak_mib(roots: Iterable[int]) -> float:
    """The most that each ever held, or has held since `forget_peaks`."""
    return _memory(roots, "VmHWM")


def forget_peaks(roots: Iterable[int]) -> None:
    """From now on, the peaks begin at what is held now."""
    for pid in _tree(roots, _processes()):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def parent_of(pid: int) -> int:
    return int(_processes()[pid][_PARENT])


def _memory(roots: Iterable[int], line: str) -> float:
    kib = 0
    for pid in _tree(roots, _processes()):
        told = dict(row.split(":", 1) for row in Path(f"/proc/{pid}/status").read_text().splitlines())
        kib += int(told.get(line, "0 kB").split()[0])
    return kib / 1024


def _tree(roots: Iterable[int], found: Mapping[int, list[str]]) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for pid, fields in found.items():
        children.setdefault(int(fields[_PARENT]), []).append(pid)
    ahead = list(roots)
    while ahead:
        yield (pid := ahead.pop())
        ahead += children.get(pid, [])


def _processes() -> dict[int, list[str]]:
    found = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                found[int(place.name)] = (place / "stat").read_text().rpartition(")")[2].split()
    return found
