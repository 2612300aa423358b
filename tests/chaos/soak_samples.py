"""What a running deployment uses, looked at from outside every few seconds, and written down as it comes."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.stage import Stage
from tests.crash.processes import ADMIN_KEY

_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
TABLES = ("jobs", "submissions", "events", "callbacks", "deliveries", "delivery_attempts", "images", "usage_entries", "gate")
_TABLES = f"""
    SELECT relname, n_dead_tup, pg_total_relation_size(relid), n_live_tup FROM pg_stat_user_tables
    WHERE relname IN ({", ".join(repr(name) for name in TABLES)})"""
_CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name LIKE 'qwen-image-gateway%' AND datname = current_database()"""
_ROUND = {"cores": 3, "ms": 1, "mib": 1, "s": 2}


@dataclass
class ProcessUse:
    """A process, by its number; the processor's share is of the time since the last look."""

    name: str
    pid: int
    _before: tuple[float, float] | None = None

    def look(self) -> dict[str, float]:
        folder, now = Path(f"/proc/{self.pid}"), time.monotonic()
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        used = (int(fields[11]) + int(fields[12])) / _TICKS
        was, at = self._before or (used, now - 1)
        self._before = (used, now)
        return {
            f"{self.name} resident mib": int(fields[21]) * _PAGE / 2**20,
            f"{self.name} descriptors": len(list((folder / "fd").iterdir())),
            f"{self.name} threads": int(fields[17]),
            f"{self.name} cores": (used - was) / (now - at),
        }


@dataclass
class MachineUse:
    """All that runs on this machine, whoever started it."""

    _before: tuple[int, float] | None = None

    def look(self) -> float:
        """Cores in use since the last look."""
        user, nice, system = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:4])
        used, now = user + nice + system, time.monotonic()
        was, at = self._before or (used, now - 1)
        self._before = (used, now)
        return (used - was) / _TICKS / (now - at)


class Sampler:
    """One row a look.

    Args:
        latencies: hands over, once, the milliseconds of each `POST /jobs` since it was last asked.
        counts: what the load has counted until now.
    """

    def __init__(
        self,
        stage: Stage,
        processes: Sequence[ProcessUse],
        latencies: Callable[[], list[float]],
        counts: Callable[[], Mapping[str, int]],
    ) -> None:
        self._stage, self._processes, self._latencies, self._counts = stage, processes, latencies, counts
        self._machine, self._began = MachineUse(), time.monotonic()
        self._look_at_processes()  # the processor's share is of the time since
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        self._http = httpx.Client(base_url=stage.apis[0].url or "", headers=headers, trust_env=False, timeout=30)

    def look(self) -> dict[str, float]:
        sample: dict[str, float] = {"minutes": (time.monotonic() - self._began) / 60}
        sample |= self._look_at_processes() | self._database() | self._ages() | _quantiles(self._latencies())
        sample |= {name: float(count) for name, count in self._counts().items()}
        return {name: round(value, _ROUND.get(name.split()[-1], 3)) for name, value in sample.items()}

    def _look_at_processes(self) -> dict[str, float]:
        found = {"machine cores": self._machine.look()}
        for process in self._processes:
            found |= process.look()
        return found

    def _database(self) -> dict[str, float]:
        tables = {name: (dead, size, live) for name, dead, size, live in self._stage.rows(_TABLES)}
        return {
            "connections": self._stage.rows(_CONNECTIONS)[0][0],
            "dead tuples": sum(dead for dead, _, _ in tables.values()),
            **{f"dead tuples of {name}": tables[name][0] for name in TABLES},
            **{f"{name} mib": tables[name][1] / 2**20 for name in TABLES},
            "database mib": sum(size for _, size, _ in tables.values()) / 2**20,
            "jobs kept": tables["jobs"][2],
        }

    def _ages(self) -> dict[str, float]:
        stats: dict[str, Any] = self._http.get("/stats").raise_for_status().json()
        age = {state: stats["jobs"][state]["oldest_seconds"] or 0.0 for state in ("queued", "unconfirmed", "running")}
        return {
            "oldest queued s": age["queued"],
            "oldest unconfirmed s": age["unconfirmed"],
            "oldest running s": age["running"],
            "checks late s": stats["checks_late_seconds"] or 0.0,
            "deliveries late s": stats["deliveries"]["late_seconds"] or 0.0,
            "pictures waiting s": (stats["images"] or {}).get("oldest_seconds") or 0.0,
            "open submissions": stats["credits"]["open_submissions"]["count"],
            "deliveries pending": stats["deliveries"]["pending"]["count"],
        }


class Diary:
    """The samples, in a CSV file that grows line by line: of a run that is cut, what was seen is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.samples: list[dict[str, float]] = []
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, sample: dict[str, float]) -> None:
        with self._path.open("a" if self.samples else "w", newline="") as file:
            writer = csv.DictWriter(file, list(sample))
            if not self.samples:
                writer.writeheader()
            writer.writerow(sample)
        self.samples.append(sample)


def read_diary(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _quantiles(latencies: Iterable[float]) -> dict[str, float]:
    found = sorted(latencies) or [0.0]
    return {"accept p50 ms": found[len(found) // 2], "accept p99 ms": found[min(len(found) - 1, len(found) * 99 // 100)]}
