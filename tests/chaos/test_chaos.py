"""Everything goes wrong at once, and at the end every promise holds: nothing lost, nothing paid twice, all of it told.

A short form of it runs with all tests; `make chaos JOBS=3000` is the same with more jobs and rounds, `SEED=…` repeats one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import psycopg
import pytest

from tests.chaos.callers import Callers
from tests.chaos.faults import (
    BackendsEnded,
    ClockJumps,
    DiskFull,
    Frozen,
    Killed,
    PostgresStopped,
    ReceiverMoody,
    StoreGone,
    UpstreamAway,
)
from tests.chaos.full_disk import Limited, Mounted, small_disk
from tests.chaos.receiver import Mood
from tests.chaos.stage import Stage, free_port, staged
from tests.chaos.storm import Fault, rage
from tests.chaos.verdict import come_to_rest, everything_that_is_wrong, told
from tests.databases import PostgresServer, migrate, sqlite_url, throwaway_server

HOUR = 3600.0


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with throwaway_server() as running:
        yield running


def test_a_storm_over_replicas_on_postgresql(server: PostgresServer, tmp_path: Path, jobs: int, rounds: int, seed: int) -> None:
    with psycopg.connect(server.url.render_as_string(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE chaos")
    url = server.url.set(database="chaos").render_as_string()
    migrate(url)
    port = free_port()
    with staged(url, tmp_path, seed, public_port=port) as stage:
        one, other, worker = stage.add("one", port), stage.add("other", free_port()), stage.add("worker", None)
        stage.start(worker=3 * HOUR)  # until it is killed; the database's clock rules all that is compared
        callers = Callers(stage, seed)
        lanes: list[list[Fault]] = [
            [
                Killed(one, callers),
                Killed(worker, callers),
                StoreGone(stage),
                UpstreamAway(stage, callers, "502"),
            ],
            [
                Frozen(other),
                PostgresStopped(server, callers, "fast"),
                PostgresStopped(server, callers, "immediate"),
                BackendsEnded(stage),
            ],
            _moods(stage),
        ]
        _weather(stage, callers, lanes, jobs, rounds, seed)
        _judge(stage, callers, seed)


def test_a_storm_over_one_process_on_sqlite(tmp_path: Path, jobs: int, rounds: int, seed: int) -> None:
    with small_disk(tmp_path / "disk") as mounted:
        port = free_port()
        url = sqlite_url(tmp_path / "disk" / "gateway.db")
        with staged(url, tmp_path, seed, public_port=port) as stage:
            alone = stage.add("alone", port)
            stage.start()
            callers = Callers(stage, seed)
            volume = Mounted(tmp_path / "disk") if mounted else Limited(alone)
            lanes: list[list[Fault]] = [
                [
                    Frozen(alone),
                    DiskFull(volume, callers),
                    StoreGone(stage),
                    UpstreamAway(stage, callers, "refuse"),
                ],
                _moods(stage),
            ]
            # Last of all: what was done by a clock that was ahead is not due for an hour once it jumped back.
            _weather(stage, callers, lanes, jobs, rounds, seed, at_last=ClockJumps(alone, callers, HOUR))
            alone.kill()
            alone.start(clock_offset=HOUR)  # what was due by the clock that was ahead is due now
            _judge(stage, callers, seed)


def _moods(stage: Stage) -> list[Fault]:
    """One receiver is moody, the other one is always well."""
    return [ReceiverMoody(stage, stage.receivers[0], mood) for mood in (Mood.FAILING, Mood.HANGING, Mood.GONE)]


def _weather(
    stage: Stage, callers: Callers, lanes: list[list[Fault]], jobs: int, rounds: int, seed: int, at_last: Fault | None = None
) -> None:
    """The storm, with callers in it."""
    dice = Random(seed)
    with callers.running():
        for number in range(rounds):
            rage(lanes, callers, dice)
            callers.until_orders(jobs * (number + 1) // rounds)
        if at_last is not None:
            rage([[at_last]], callers, dice)
    assert not callers.failures, (seed, callers.failures)


def _judge(stage: Stage, callers: Callers, seed: int) -> None:
    """The calm, and the judgement."""
    try:
        come_to_rest(stage)
    finally:
        print(told(stage, callers, seed))
    wrong = everything_that_is_wrong(stage, callers)
    assert not wrong, f"seed {seed}; {len(wrong)} complaints:\n" + "\n".join(wrong[:40])
