"""Everything goes wrong at once, and at the end every promise holds: nothing lost, nothing paid twice, all of it told.

A short form of it runs with all tests; `make chaos JOBS=3000` is the same with more jobs and rounds, `SEED=…` repeats one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import psycopg
import pytest

from tests.chaos import judge
from tests.chaos.callers import Callers
from tests.chaos.conftest import rounds_of, wanted_jobs
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
from tests.chaos.verdict import come_to_rest, everything_that_is_wrong, missed, told
from tests.crash.processes import PATIENCE
from tests.databases import PostgresServer, migrate, sqlite_url, throwaway_server

HOUR = 3600.0
CALM = 10  #: jobs that are accepted when nothing is wrong any more


pytestmark = pytest.mark.timeout(900 * rounds_of(wanted_jobs()))


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
        processes = [stage.add("one", port), stage.add("other", free_port()), stage.add("worker", None)]
        stage.set_clock(processes[2], 3 * HOUR)  # until it jumps; the database's clock rules all that is compared
        stage.start()
        callers = Callers(stage, seed)
        # To be frozen amid a submit; the worker, which gets little to send beside two others, only in a long run.
        turns = [*Random(seed).sample(processes[:2], 2), processes[2]]

        def lanes(number: int) -> list[list[Fault]]:
            frozen, *others = [*turns[number % 3 :], *turns[: number % 3]]
            return [
                [*(Killed(stage, process, callers) for process in others), StoreGone(stage)],  # without a store none starts
                [
                    Frozen(stage, frozen),
                    PostgresStopped(server, callers, "fast"),
                    PostgresStopped(server, callers, "immediate"),
                    BackendsEnded(stage),
                ],
                [UpstreamAway(stage, callers, "502")],
                [ClockJumps(stage, process, callers, by) for process in processes for by in (HOUR, -HOUR)],
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

            def lanes(_number: int) -> list[list[Fault]]:
                return [
                    [Killed(stage, alone, callers), Killed(stage, alone, callers), StoreGone(stage)],
                    [Frozen(stage, alone), DiskFull(volume, alone, callers)],
                    [UpstreamAway(stage, callers, "refuse")],
                    [ClockJumps(stage, alone, callers, HOUR), ClockJumps(stage, alone, callers, -HOUR)],
                    _moods(stage),
                ]

            _weather(stage, callers, lanes, jobs, rounds, seed)
            _judge(stage, callers, seed)


def _moods(stage: Stage) -> list[Fault]:
    """One receiver is moody, the other one is always well."""
    return [ReceiverMoody(stage, stage.receivers[0], mood) for mood in (Mood.FAILING, Mood.HANGING, Mood.GONE)]


def _weather(
    stage: Stage, callers: Callers, lanes: Callable[[int], list[list[Fault]]], jobs: int, rounds: int, seed: int
) -> None:
    """The storm, with callers in it; and a calm, in which they are served as ever.

    Args:
        lanes: of the round with this number; over three rounds, each of several processes is frozen and killed.
    """
    dice = Random(seed)
    with callers.running():
        for number in range(rounds):
            rage(lanes(number), callers, stage.trouble, dice)
            callers.until_orders(jobs * (number + 1) // rounds)
        callers.until(_all_have_struck(stage, callers), PATIENCE)  # else it is among the complaints
        stage.trouble.calm_since = time.time() + judge.RECOVERY
        callers.until(lambda: time.time() > stage.trouble.calm_since, PATIENCE)
        callers.until_accepted(CALM)
    assert not callers.failures, (seed, callers.failures)


def _all_have_struck(stage: Stage, callers: Callers) -> Callable[[], bool]:
    """Whether every fault has, asked now and then."""
    orders = 0

    def look() -> bool:
        nonlocal orders
        if len(callers.orders) < orders + CALM:
            return False
        orders = len(callers.orders)
        return not missed(stage.upstream.account())

    return look


def _judge(stage: Stage, callers: Callers, seed: int) -> None:
    """The rest, and the judgement."""
    wrong = come_to_rest(stage, callers)
    print(told(stage, callers, seed))
    wrong += everything_that_is_wrong(stage, callers)
    assert not wrong, f"seed {seed}; {len(wrong)} complaints:\n" + "\n".join(wrong[:40])
