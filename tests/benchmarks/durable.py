"""The PostgreSQL that is measured: one that keeps what it says it wrote, and never another one that happens to be there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import psycopg

from tests.databases import Postgres, running_postgres

GIVEN = "GATEWAY_TEST_DATABASE_URL"


@contextmanager
def durable_postgres() -> Iterator[Postgres]:
    """A server of our own, set as for life.

    Raises RuntimeError: the environment names a server; nobody knows whether that one syncs, or who else uses it.
    """
    refuse_a_given_server()
    with running_postgres(durable=True) as postgres:
        yield postgres


def refuse_a_given_server() -> None:
    """Raises RuntimeError: as `durable_postgres`."""
    if GIVEN in os.environ:
        raise RuntimeError(
            f"unset {GIVEN}: benchmarks start a PostgreSQL of their own, with settings that keep what is written"
        )


def how_it_is_set() -> str:
    """The version, whether commits reach the disk, and what the data directory lies on, as a server just started tells."""
    with durable_postgres() as postgres, psycopg.connect(postgres.database_url("template")) as connection:

        def told(query: LiteralString) -> str:
            return str((connection.execute(query).fetchone() or ("?",))[0])

        version, fsync, synchronous = told("SHOW server_version"), told("SHOW fsync"), told("SHOW synchronous_commit")
        place = filesystem_of(Path(told("SHOW data_directory")))
    return f"PostgreSQL {version}, fsync {fsync}, synchronous_commit {synchronous}, data on {place}"


def filesystem_of(path: Path) -> str:
    """Its kind, as `/proc/mounts` names it: on `tmpfs` nothing ever reaches a disk."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    over = [(place, kind) for place, kind in mounts if path.is_relative_to(place)]
    return max(over, key=lambda mount: len(mount[0]), default=("", "?"))[1]
