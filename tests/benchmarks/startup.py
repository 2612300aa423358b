"""Start-up and memory: from the command to the first answer, and what the process then holds.

The baseline is a FastAPI app of one route under uvicorn, which is asked for its `/docs`; the gateway is asked for `/healthz`.
It starts on a new SQLite database, which it makes, and on one that is there; on PostgreSQL, with the schema in place. The
commands that only print are measured too, against a Python that does nothing. Times are medians of some starts.

The memory is that of one process that serves and works, on PostgreSQL: what is resident when it is idle, and the most that it
ever held while jobs were accepted, sent, called back, checked and settled as fast as it can, all else being set as it was idle.

Run it alone with: python -m tests.benchmarks.startup [STARTS] [JOBS]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median

import psycopg

from tests.benchmarks.durable import durable_postgres
from tests.benchmarks.life import RUN_SECONDS, System, live
from tests.benchmarks.measured import Line, Result, Say, machine, table
from tests.benchmarks.servers import ITSELF, Server, baseline, gateway
from tests.benchmarks.upstream import KEY as UPSTREAM_KEY
from tests.benchmarks.upstream import running_upstream
from tests.databases import sqlite_url

SETTLES = 2.0  #: seconds after which a process that started is at rest
OPEN = {
    "GATEWAY_PUBLIC_BASE_URL": ITSELF,
    "GATEWAY_UPSTREAM_MAX_IN_FLIGHT": "100000", "GATEWAY_UPSTREAM_SUBMIT_RATE": "10000",
    "GATEWAY_UPSTREAM_STATUS_RATE": "10000",
}  # fmt: skip


def run(say: Say, starts: int = 7, jobs: int = 10_000) -> list[Result]:
    with tempfile.TemporaryDirectory() as name, durable_postgres() as postgres, postgres.fresh() as url:
        folder = Path(name)
        made = sqlite_url(folder / "made.db")
        kinds: dict[str, Callable[[], AbstractContextManager[Server]]] = {
            "hello": lambda: baseline("hello", folder),
            "SQLite, a new database": lambda: gateway(sqlite_url(folder / f"{time.monotonic_ns()}.db"), folder),
            "SQLite": lambda: gateway(made, folder),
            "PostgreSQL": lambda: gateway(url, folder),
        }
        times = _starts(kinds, starts)
        say(f"starts: {times}")
        with baseline("hello", folder) as server:
            hello = _at_rest(server)
        with postgres.fresh() as empty:
            idle, peak = _memory(empty, folder, jobs)
        say(f"memory: hello {hello:.0f}, idle {idle:.0f}, peak {peak:.0f} MiB")
    return [
        *(Line(f"start on {k}", times[k], "one route", times["hello"], "s") for k in kinds if k != "hello"),
        *_commands(starts),
        Line("memory, idle", idle, "one route, idle", hello, "MiB"),
        Line(f"memory at most, during {jobs:,} whole lives", peak, "idle", idle, "MiB"),
    ]


def _memory(url: str, folder: Path, jobs: int) -> tuple[float, float]:
    """MiB of the same process: idle, and at most until all jobs were settled."""
    with running_upstream(folder, run_seconds=RUN_SECONDS) as upstream:
        settings = {**OPEN, "GATEWAY_UPSTREAM_BASE_URL": upstream.url, "GATEWAY_UPSTREAM_API_KEY": UPSTREAM_KEY}
        with (
            gateway(url, folder, **settings) as server,
            psycopg.connect(url, autocommit=True) as books,
        ):
            idle = _at_rest(server)
            live(System(server.url, server.pids, ()), upstream, books, jobs, jobs)
            return idle, server.peak_mib()


def _starts(kinds: Mapping[str, Callable[[], AbstractContextManager[Server]]], starts: int) -> dict[str, float]:
    """Seconds from the command to the first answer; they take turns. The first find nothing in the caches, and do not count."""
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(starts + 1):
        for kind, start in kinds.items():
            began = time.perf_counter()
            with start():
                times[kind].append(time.perf_counter() - began)
    return {kind: median(of_kind[1:]) for kind, of_kind in times.items()}


def _commands(starts: int) -> list[Line]:
    nothing = _runs([sys.executable, "-c", "pass"], starts)
    shown = {"gateway --help": ["--help"], "gateway serve --help": ["serve", "--help"]}
    took = {name: _runs([sys.executable, "-m", "app", *words], starts) for name, words in shown.items()}
    return [Line(f"`{name}`", seconds, "Python that does nothing", nothing, "s") for name, seconds in took.items()]


def _runs(words: Sequence[str], starts: int) -> float:
    times = []
    for _ in range(starts + 1):
        began = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return median(times[1:])


def _at_rest(server: Server) -> float:
    time.sleep(SETTLES)
    return server.resident_mib()


if __name__ == "__main__":
    print(machine())
    print(table(run(lambda text: print(text, file=sys.stderr), *map(int, sys.argv[1:]))))
