"""docs/scale.md counts with docs/benchmarks/costs.json: when the costs are measured anew, this says what to write."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DAY, KIB, DAYS_KEPT = 86_400, 1024, 90
BUSY = 0.6  #: of a core that a process uses at the peak, at most

PAGE = " ".join((ROOT / "docs/scale.md").read_text().split())
MEASURED = {
    figure["what"]: float(figure["gateway"])
    for figure in json.loads((ROOT / "docs/benchmarks/costs.json").read_text())["results"]
}
API, WORKER, DATABASE, PICTURE = (
    MEASURED[what] / 1000  # seconds
    for what in (
        "a job, accepted and its callback taken in: the API's processor",
        "a job, sent, checked and settled: the worker's processor",
        "a job: PostgreSQL's processor",
        "a picture, fetched, looked through, kept: the worker's processor",
    )
)
JOB = API + WORKER + DATABASE
LOG, DISK, PICTURE_SIZE = (
    MEASURED[what] * KIB  # bytes
    for what in ("a job: write-ahead log", "a job: disk, with indexes", "a picture: its size")
)
SENDS, CHECKS = (100 / MEASURED[f"claims of {what}, one process alone"] for what in ("queued jobs", "checks"))  #: of a hundred
GATE = 100 / (SENDS + CHECKS)  #: jobs a second


def two(value: float) -> str:
    """Two digits that count."""
    places = 1 - math.floor(math.log10(abs(float(f"{value:.1e}"))))
    return f"{round(value, places):,.{max(places, 0)}f}"


def size(of_bytes: float) -> str:
    unit = next(u for u in (1e12, 1e9, 1e6) if of_bytes >= u)
    return f"{two(of_bytes / unit)} {({1e12: 'TB', 1e9: 'GB', 1e6: 'MB'})[unit]}"


def what_a_job_costs() -> Iterator[str]:
    for part, seconds in (
        ("API: accept it, take in its callback", API),
        ("worker: send, check and settle it", WORKER),
        ("PostgreSQL", DATABASE),
        ("all together", JOB),
    ):
        yield f"| {part} | {two(seconds * 1000)} ms | {two(1 / seconds)} jobs/s |"
    yield f"| write-ahead log | {two(LOG / KIB)} KiB | 80 MB/s carry {two(80e6 / LOG)} jobs/s |"
    yield f"| disk, with all indexes | {two(DISK / KIB)} KiB | 100 GB keep {two(100e9 / DISK / 1e6)} million jobs |"
    each = f"a picture of {size(PICTURE_SIZE)}: fetched, decoded, made small, kept"
    yield f"| {each} | {two(PICTURE * 1000)} ms | {two(1 / PICTURE)} pictures/s |"
    yield f"A picture costs {two(PICTURE / JOB)} times what its job does, and {two(PICTURE / WORKER)} times the worker's part"


def one_machine() -> Iterator[str]:
    yield f"**{two(1 / JOB)} jobs a second**"
    yield f"{two(DAY / JOB / 1e6)} million a day if they come evenly, {two(DAY / JOB / 5e6)} million with peaks"
    yield f"one core does {two(1 / PICTURE)} a second, {two(DAY / PICTURE / 1000)},000 a day"


def the_gate() -> Iterator[str]:
    yield f"some {two(GATE)} jobs/s in all"
    yield f"{two(SENDS * 1000)} ms for 100 sends, {two(CHECKS * 1000)} ms for 100 checks"
    yield f"at some {two(GATE)} jobs a second on such cores"
    yield f"no account is known that takes {two(GATE)} submits a second"


def the_database() -> Iterator[str]:
    yield f"at {two(8 / DATABASE)} jobs a second eight cores like these are busy for good"


def the_numbers() -> Iterator[str]:
    for millions in (1, 10, 100):
        jobs = millions * 1e6
        average, peak = jobs / DAY, 5 * jobs / DAY
        rates = f"{two(average)}/s, {two(peak)}/s"
        tail = (
            f"{size(jobs * LOG)} | {size(jobs * DISK * DAYS_KEPT)} | "
            f"{size(jobs * PICTURE_SIZE)}, {two(average * PICTURE)} cores |"
        )
        api, worker, database = (peak * part for part in (API, WORKER, DATABASE))
        split = f"API {two(api)}, workers {two(worker)}, PostgreSQL {two(database)} cores"
        cores = {
            1: f"{two(peak * JOB)} cores: one small machine, SQLite if you like",
            10: f"{split}: {math.ceil(api / BUSY)} API processes, {math.ceil(worker / BUSY)} workers",
            100: f"{split}, over {math.ceil(peak / GATE)} gates",
        }[millions]
        yield f"| **{millions} million** | {rates} | {cores} | {tail}"
    yield f"at 14 days it keeps {size(1e7 * DISK * 14)}"


@pytest.mark.parametrize("part", [what_a_job_costs, one_machine, the_gate, the_database, the_numbers], ids=lambda p: p.__name__)
def test_the_page_counts_with_what_was_measured(part: Callable[[], Iterator[str]]) -> None:
    missing = [line for line in part() if line not in PAGE]
    assert not missing, "docs/scale.md should say:\n" + "\n".join(missing)
