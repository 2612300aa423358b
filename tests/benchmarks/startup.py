"""Start-up and memory: from the command to the first answer of `/healthz`, and what the process then holds.

The baseline is a FastAPI app of one route under uvicorn. The gateway starts on a new SQLite database, which it makes, and on
one that is there; on PostgreSQL, with the schema in place. The commands that only print are measured too, against a Python that
does nothing. Times are medians of some starts. The memory is what is resident: idle, and after jobs were posted for some
seconds by wrk at 32 connections, on PostgreSQL.

Run it alone with: python -m tests.benchmarks.startup [STARTS] [SECONDS]
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

from tests.benchmarks.measured import Line, Result, Say, machine, table
from tests.benchmarks.servers import KEY, Server, baseline, gateway
from tests.benchmarks.wrk import post_jobs
from tests.databases import running_postgres, sqlite_url

SETTLES = 2.0  #: seconds after which a process that started is at rest


def run(say: Say, starts: int = 7, seconds: int = 10) -> list[Result]:
    with tempfile.TemporaryDirectory() as name, running_postgres(durable=True) as postgres, postgres.fresh() as url:
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
        with gateway(url, folder) as server:
            idle = _at_rest(server)
        with gateway(url, folder, "--no-worker") as server:
            load = post_jobs(server.url, KEY, connections=32, seconds=seconds)
            loaded = server.resident_mib()
        say(f"memory: hello {hello:.0f}, idle {idle:.0f}, loaded {loaded:.0f} MiB after {load}")
    return [
        *(Line(f"start on {k}", times[k], "one route", times["hello"], "s") for k in kinds if k != "hello"),
        *_commands(starts),
        Line("memory, idle", idle, "one route, idle", hello, "MiB"),
        Line(f"memory after {load.per_second * seconds:,.0f} jobs in {seconds} s", loaded, "idle", idle, "MiB"),
    ]


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
