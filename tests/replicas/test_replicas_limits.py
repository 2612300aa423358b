"""The limits to the upstream hold over all replicas: as the emulator measures them, and as the database's clock says."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from app.emulator import EmulatorOptions
from tests.replicas.deployment import Deployment, check_the_books, deployed

RATE = 30
BURST = RATE // 4


def most_in_a_second(times: Sequence[float]) -> int:
    """The most instants in any window of one second."""
    ordered = sorted(times)
    return max(bisect_right(ordered, start + 1.0) - n for n, start in enumerate(ordered))


def journeys(here: Deployment) -> list[float]:
    """How long each submit took from its permit to the emulator, in seconds; both clocks are this machine's."""
    rows = here.query("SELECT s.task_id, s.sent_at FROM submissions s WHERE s.task_id IS NOT NULL")
    permitted: dict[str, datetime] = dict(rows)  # type: ignore[arg-type]
    return [task["accepted_at"] - permitted[task["task_id"]].timestamp() for task in here.world.account()["tasks"]]


async def test_the_submit_rate_holds_over_all_workers(postgres_url: str, tmp_path: Path) -> None:
    options = EmulatorOptions(run_seconds=(0.05, 0.1), callback_retries=60)
    async with deployed(postgres_url, tmp_path, options, upstream_submit_rate=str(RATE)) as here:
        await here.start(apis=1, workers=3)
        accepted = await here.accept(f"mill {n}" for n in range(120))
        accepted += await here.accept_until("one more mill", lambda: here.have_claimed(3))
        await here.until_settled()
        await check_the_books(here, accepted)
        permits = [sent_at.timestamp() for (sent_at,) in here.query("SELECT sent_at FROM submissions")]
        assert most_in_a_second(permits) <= RATE + BURST
        # What took longer on its way arrives together with what came later; so much, and no more, the network may add.
        took = journeys(here)
        spread = max(took) - min(took)
        arrivals = here.world.account()["submit_times"]
        assert len(arrivals) == len(accepted)
        assert most_in_a_second(arrivals) <= RATE + BURST + RATE * spread


async def test_the_check_rate_holds_over_all_workers(postgres_url: str, tmp_path: Path) -> None:
    options = EmulatorOptions(run_seconds=(5.0, 5.5), faults=("callback-lost",))
    settings = {"callback_grace": "200ms", "upstream_status_rate": "20", "poll_max": "200ms"}
    async with deployed(postgres_url, tmp_path, options, **settings) as here:
        await here.start(apis=1, workers=2)
        accepted = await here.accept(f"quay {n}" for n in range(40))
        await here.until_settled()
        await check_the_books(here, accepted)
        checks = here.world.account()["status_times"]
        # Each task wants five checks a second, so the limit is pressed; workers with a limit of their own each would make
        # twice as many. One second is for the way: what a busy machine holds back arrives together with what comes later.
        assert len(checks) <= 20 * (max(checks) - min(checks) + 1) + 5


async def test_open_submissions_never_exceed_their_limit(postgres_url: str, tmp_path: Path) -> None:
    options = EmulatorOptions(run_seconds=(0.1, 0.3), callback_retries=60)
    async with deployed(postgres_url, tmp_path, options, upstream_max_in_flight="7") as here:
        await here.start(apis=1, workers=2)
        accepted = await here.accept(f"pier {n}" for n in range(40))
        accepted += await here.accept_until("one more pier", lambda: here.world.account()["max_open"] >= 7)
        await here.until_settled()
        await check_the_books(here, accepted)
        assert here.world.account()["max_open"] == 7
