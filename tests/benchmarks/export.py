"""An export of all jobs over HTTP: how fast it goes, and whether its memory is constant."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from tests.benchmarks.servers import KEY, gateway

GROWTH = 32.0  #: MiB that the process may rise by, whatever the number of jobs
_PATH = "/jobs/export?format=ndjson"


def export(url: str, folder: Path, jobs: int) -> tuple[float, float]:
    """Rows a second of a whole export, and by how many MiB the peak of the process rose above what it held before."""
    key = {"Authorization": f"Bearer {KEY}"}
    with gateway(url, folder, "--no-worker") as server, httpx.Client(trust_env=False, timeout=600, headers=key) as caller:
        caller.get(f"{server.url}/jobs").raise_for_status()  # what is loaded at the first call is no export's
        server.forget_peak()
        before, began, rows = server.resident_mib(), time.perf_counter(), 0
        with caller.stream("GET", f"{server.url}{_PATH}") as answer:
            for chunk in answer.iter_raw():
                rows += chunk.count(b"\n")
        took, grown = time.perf_counter() - began, server.peak_mib() - before
    assert rows == jobs, (rows, jobs)
    return rows / took, grown
