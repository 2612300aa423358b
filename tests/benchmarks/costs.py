"""Costs: what one job takes, from accept to settled, and one picture; docs/scale.md counts with these.

The gateway as an API process and a worker on PostgreSQL, its limits out of the way, the upstream in a process of its own. The
processor is told by process, the write-ahead log and the disk by job, with all indexes. A picture's cost is what the same jobs
take more where pictures are kept, in a folder. The last figures are the jobs that one process claims in a second while nothing
else is done: every claim holds the gate's row for its whole transaction, so all replicas together claim hardly more than that.

Run it alone with: python -m tests.benchmarks.costs [JOBS] [PICTURES]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import psycopg
from PIL import Image, ImageFilter

from tests.benchmarks.durable import durable_postgres
from tests.benchmarks.life import RUN_SECONDS, WARM, gateway_and_worker, live
from tests.benchmarks.measured import Figure, Result, Say, machine, table
from tests.benchmarks.process_tree import cpu_seconds, parent_of
from tests.benchmarks.steps import steps_a_second
from tests.benchmarks.upstream import running_upstream
from tests.databases import Postgres

CLAIMED = 10_000  #: jobs
SMALL = 50.0  #: bytes a job; of smaller tables nothing is told
SIDE = 1024  #: pixels, as wide and as high as the upstream's square pictures
PATIENCE = 120.0  #: seconds for the pictures that are still to be stored

_SIZES = """
SELECT relname, pg_total_relation_size(oid) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'"""


@dataclass(frozen=True)
class Cost:
    """Of one job, in seconds and bytes."""

    api: float
    worker: float
    database: float
    log: float
    disk: dict[str, float]  #: by table


def run(say: Say, jobs: int = 5_000, pictures: int = 300) -> list[Result]:
    with tempfile.TemporaryDirectory() as name, durable_postgres() as postgres:
        folder = Path(name)
        plain = _cost(postgres, folder, jobs)
        say(f"{jobs} jobs: {plain}")
        picture = folder / "picture.png"
        size = picture.write_bytes(_picture())
        without, kept = _cost(postgres, folder, pictures), _cost(postgres, folder, pictures, picture)
        say(f"{pictures} jobs without pictures: {without}; with: {kept}")
        with postgres.fresh() as url:
            parts = asyncio.run(steps_a_second(url, CLAIMED))
    claims, looks = (sum(part[step] for part in parts) / len(parts) for step in ("claim", "claim checks"))
    disk = sorted(plain.disk.items(), key=lambda sized: -sized[1])
    return [
        Figure("a job, accepted and its callback taken in: the API's processor", plain.api * 1000, "ms"),
        Figure("a job, sent, checked and settled: the worker's processor", plain.worker * 1000, "ms"),
        Figure("a job: PostgreSQL's processor", plain.database * 1000, "ms"),
        Figure("a job: write-ahead log", plain.log / 1024, "KiB"),
        Figure("a job: disk, with indexes", sum(plain.disk.values()) / 1024, "KiB"),
        *(Figure(f"a job: disk, `{name}`", share / 1024, "KiB") for name, share in disk if share >= SMALL),
        Figure("a picture: its size", size / 1024, "KiB"),
        Figure("a picture, fetched, looked through, kept: the worker's processor", (kept.worker - without.worker) * 1000, "ms"),
        Figure("claims of queued jobs, one process alone", claims, "jobs/s"),
        Figure("claims of checks, one process alone", looks, "checks/s"),
    ]


def _cost(postgres: Postgres, folder: Path, jobs: int, picture: Path | None = None) -> Cost:
    with ExitStack() as stack:
        database = stack.enter_context(postgres.fresh())
        upstream = stack.enter_context(running_upstream(folder, run_seconds=RUN_SECONDS, picture=picture))
        kept = {"IMAGE_STORE_URL": (folder / "pictures").as_uri(), "IMAGE_ALLOW": "127.0.0.1"} if picture else {}
        system = stack.enter_context(gateway_and_worker(database, upstream.url, folder, **kept))
        books = stack.enter_context(psycopg.connect(database, autocommit=True))
        processes = [*system.pids, parent_of(books.info.backend_pid)]
        live(system, upstream, books, WARM, WARM)
        if picture:
            _stored(books, WARM)
        books.execute("CHECKPOINT")  # a page's first change after one is logged as a whole: so in life, at every checkpoint
        used, written, sizes = _used(processes), _written(books), _sizes(books)
        live(system, upstream, books, jobs, WARM + jobs)
        if picture:
            _stored(books, WARM + jobs)
        api, worker, server = (now - before for now, before in zip(_used(processes), used, strict=True))
        disk = {name: (size - sizes[name]) / jobs for name, size in _sizes(books).items()}
        return Cost(api / jobs, worker / jobs, server / jobs, (_written(books) - written) / jobs, disk)


def _used(pids: Sequence[int]) -> list[float]:
    """Seconds of the processor, of each."""
    return [cpu_seconds([pid]) for pid in pids]


def _written(books: psycopg.Connection) -> int:
    """Bytes of the write-ahead log since the server was made."""
    [written] = books.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint").fetchone() or (0,)
    return int(written)


def _sizes(books: psycopg.Connection) -> dict[str, int]:
    return dict(books.execute(_SIZES).fetchall())


def _stored(books: psycopg.Connection, pictures: int) -> None:
    deadline = time.monotonic() + PATIENCE
    stored = "SELECT count(*) FROM images WHERE state = 'stored'"
    while (found := (books.execute(stored).fetchone() or (0,))[0]) < pictures:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{found} of {pictures} pictures are kept")
        time.sleep(0.1)


def _picture() -> bytes:
    """About as large as the upstream's: noise, a little blurred, packs as badly as a photograph."""
    noise = Image.merge("RGB", [Image.effect_noise((SIDE, SIDE), 60) for _ in range(3)]).filter(ImageFilter.GaussianBlur(2))
    written = BytesIO()
    noise.save(written, "PNG")
    return written.getvalue()


if __name__ == "__main__":
    print(machine())
    print(table(run(lambda text: print(text, file=sys.stderr), *map(int, sys.argv[1:]))))
