"""What a running deployment uses, looked at from outside every few seconds, and written down as it comes."""

from __future__ import annotations

import csv
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.stage import Stage
from tests.crash.processes import ADMIN_KEY

_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
_TABLES = "SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables ORDER BY relname"
_SIZE = "SELECT pg_database_size(current_database())"
_CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name LIKE 'qwen-image-gateway%' AND datname = current_database()"""
_ROUND = {"cores": 3, "ms": 1, "mib": 2, "s": 2}  #: digits, by the unit that ends a column's name
TRIES, PAUSE = 20, 0.25  #: of one look at `/stats`, and seconds between two of them
#: What is known only from `/stats`.
_TOLD = (
    "oldest queued s", "oldest unconfirmed s", "oldest running s", "checks late s", "deliveries late s", "pictures waiting s",
    "open submissions", "deliveries pending",
)  # fmt: skip


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
        self._stats = StatsPage(httpx.Client(base_url=stage.apis[0].url or "", headers=headers, trust_env=False, timeout=30))

    def look(self) -> dict[str, float]:
        sample: dict[str, float] = {"minutes": (time.monotonic() - self._began) / 60}
        sample |= self._look_at_processes() | self._database() | self._stats.look() | _quantiles(self._latencies())
        sample |= {name: float(count) for name, count in self._counts().items()}
        return {name: round(value, _digits(name)) for name, value in sample.items()}

    def _look_at_processes(self) -> dict[str, float]:
        found = {"machine cores": self._machine.look()}
        for process in self._processes:
            found |= process.look()
        return found

    def _database(self) -> dict[str, float]:
        tables = self._stage.rows(_TABLES)
        return {
            "connections": self._stage.rows(_CONNECTIONS)[0][0],
            "database mib": self._stage.rows(_SIZE)[0][0] / 2**20,
            "dead tuples": sum(dead for _, _, dead, _ in tables),
            **{f"rows of {name}": live for name, live, _, _ in tables},
            **{f"dead tuples of {name}": dead for name, _, dead, _ in tables},
            **{f"mib of {name}": size / 2**20 for name, _, _, size in tables},
        }


class StatsPage:
    """`GET /stats`, asked again where it is turned away or cut off: connections to PostgreSQL are ended on purpose.

    Where no try was answered, its figures are not known (NaN) for once. Every other answer, of 4xx say, ends the run.
    """

    def __init__(self, http: httpx.Client, tries: int = TRIES, pause: float = PAUSE) -> None:
        self._http, self._tries, self._pause = http, tries, pause
        self._missed = 0

    def look(self) -> dict[str, float]:
        """The figures; and `stats missed`, the tries since the beginning that were not answered."""
        for _ in range(self._tries):
            if (stats := self._ask()) is not None:
                return {**_figures(stats), "stats missed": self._missed}
            self._missed += 1
            threading.Event().wait(self._pause)
        return {**dict.fromkeys(_TOLD, math.nan), "stats missed": self._missed}

    def _ask(self) -> dict[str, Any] | None:
        try:
            answer = self._http.get("/stats")
        except httpx.TransportError:
            return None
        if answer.is_server_error:
            return None
        found: dict[str, Any] = answer.raise_for_status().json()
        return found


def _figures(stats: dict[str, Any]) -> dict[str, float]:
    age = {state: stats["jobs"][state]["oldest_seconds"] or 0.0 for state in ("queued", "unconfirmed", "running")}
    values = (
        age["queued"],
        age["unconfirmed"],
        age["running"],
        stats["checks_late_seconds"] or 0.0,
        stats["deliveries"]["late_seconds"] or 0.0,
        (stats["images"] or {}).get("oldest_seconds") or 0.0,
        stats["credits"]["open_submissions"]["count"],
        stats["deliveries"]["pending"]["count"],
    )
    return dict(zip(_TOLD, values, strict=True))


def _digits(name: str) -> int:
    return 2 if name.startswith("mib of ") else _ROUND.get(name.rsplit(maxsplit=1)[-1], 3)


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
    """The samples that a `Diary` wrote."""
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _quantiles(latencies: Iterable[float]) -> dict[str, float]:
    found = sorted(latencies) or [math.nan]
    return {"accept p50 ms": found[len(found) // 2], "accept p99 ms": found[min(len(found) - 1, len(found) * 99 // 100)]}
