"""Small stories under the simulated clock that a machine seldom draws: each is one promise, told from begin to end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.emulator.options import EmulatorOptions
from app.emulator.world import World
from app.errors import StorageUnavailableError
from app.lifecycle.gate import GatePolicy
from app.lifecycle.job import Life
from app.lifecycle.news import CancelAsked
from app.lifecycle.policy import Policy
from app.lifecycle.states import ErrorCode, JobState, Outcome
from app.reconcile.reconcile import Reconciler
from app.storage.database import Database
from app.storage.due import DueStore
from app.storage.lives import LifeStore
from app.storage.queue import QueueStore
from app.storage.receipts import CallbackOutcome
from app.upstream.client import UpstreamClient
from tests.machine.simulated_gateway import API_KEY, SimulatedClock, SimulatedGateway, fresh_database
from tests.machine.straight_transport import StraightTransport
from tests.storage.watch import statements_of


class Stage:
    """A gateway with the default policies, its rates aside, and the world before it."""

    def __init__(self, path: Path) -> None:
        self.clock = SimulatedClock()
        options = EmulatorOptions(keys={API_KEY: 10_000}, run_seconds=(3, 10), callback_delay=1, seed=1)
        self.world = World(options, self.clock.unix)
        self.transport = StraightTransport(self.world, self._nothing, self._nothing)
        self.gateway = SimulatedGateway(
            path, self.clock, self.transport, Policy(), GatePolicy(submit_rate=1000, status_rate=1000)
        )

    async def accept(self, prompt: str) -> Any:
        return (await self.gateway.accept(prompt)).lives[0].job.job_id

    async def life(self, job_id: Any) -> Life:
        life = await self.gateway.lives.find(job_id)
        assert life is not None
        return life

    async def work(self, step: timedelta, times: int = 1, *, callbacks: bool = False) -> None:
        for _ in range(times):
            self.clock.advance(step)
            for callback in self.world.take_due_callbacks() if callbacks else ():
                await self.gateway.call_back(callback.url, callback.body)
            await self.gateway.dispatcher.sweep()
            await self.gateway.dispatcher.idle()
            await self.gateway.reconciler.sweep()
            await self.gateway.reconciler.idle()
            await self.gateway.housekeeping.sweep()

    def tasks(self) -> list[dict[str, Any]]:
        return self.world.account()["tasks"]  # type: ignore[return-value]

    async def _nothing(self, _what: Any) -> None:
        return None


@pytest.fixture
def path() -> Iterator[Path]:
    with fresh_database() as fresh:
        yield fresh


@pytest.fixture
async def stage(path: Path) -> AsyncIterator[Stage]:
    stage = Stage(path)
    yield stage
    await stage.gateway.database.dispose()


async def test_one_forgotten_task_on_a_quiet_gateway_does_not_shut_it(stage: Stage) -> None:
    """Thirty 404s for one and the same task say nothing about the other tasks; nor about the next submit."""
    lost = await stage.accept("A red fox [[forgotten]] [[callback-lost]]")
    await stage.work(timedelta(seconds=30), times=240)
    assert (await stage.life(lost)).job.state is JobState.FAILED
    next_one = await stage.accept("A blue whale")
    await stage.work(timedelta(seconds=30), times=10, callbacks=True)
    assert (await stage.life(next_one)).job.state is JobState.SUCCEEDED, await stage.gateway.gate_store.read()


async def test_when_the_upstream_forgets_everything_the_jobs_still_end_and_new_ones_are_sent(stage: Stage) -> None:
    """Mass 404s may make the gateway careful; they may not make it stand still until somebody comes."""
    lost = [await stage.accept(f"Fox {n} [[forgotten=5]] [[callback-lost]]") for n in range(15)]
    await stage.work(timedelta(seconds=1), times=60)
    await stage.work(timedelta(minutes=2), times=60)
    await stage.work(timedelta(minutes=20), times=30)
    assert {(await stage.life(job_id)).job.state for job_id in lost} == {JobState.FAILED}
    next_one = await stage.accept("A blue whale")
    await stage.work(timedelta(seconds=30), times=20, callbacks=True)
    assert (await stage.life(next_one)).job.state is JobState.SUCCEEDED, await stage.gateway.gate_store.read()


async def test_a_task_that_ended_while_the_gateway_was_off_for_days_is_still_read(stage: Stage) -> None:
    """It was paid for, its id is on disk, and the upstream would tell: no deadline may pass without a single look."""
    job_id = await stage.accept("A red fox [[callback-lost]]")
    await stage.work(timedelta(seconds=1))
    assert (await stage.life(job_id)).job.state is JobState.RUNNING
    await stage.gateway.crash()
    stage.clock.advance(timedelta(days=3))
    await stage.work(timedelta(seconds=31), times=10)
    life = await stage.life(job_id)
    assert (life.submissions[0].outcome, life.credits.consumed) == (Outcome.SUCCEEDED, 5), life
    assert life.job.state is JobState.SUCCEEDED


async def test_what_is_claimed_and_not_yet_sent_at_a_stop_goes_back_to_the_queue(stage: Stage) -> None:
    jobs = [await stage.accept(f"Fox {n}") for n in range(3)]
    await stage.gateway.dispatcher.sweep()  # its senders have not begun: nothing was awaited since
    await stage.gateway.dispatcher.stop(5)
    assert stage.tasks() == []
    for job_id in jobs:
        life = await stage.life(job_id)
        assert (life.job.state, life.attempts, life.credits.reserved) == (JobState.QUEUED, 0, 5)
        assert [s.outcome for s in life.submissions] == [Outcome.UNSENT]
    await stage.gateway.crash()
    await stage.work(timedelta(seconds=2), times=20, callbacks=True)
    assert [(await stage.life(j)).job.state for j in jobs] == [JobState.SUCCEEDED] * 3
    assert len(stage.tasks()) == 3


async def test_a_week_without_a_good_key_loses_no_running_job(stage: Stage) -> None:
    """Deadlines do not run while checks are impossible."""
    job_id = await stage.accept("A red fox [[callback-lost]]")
    await stage.work(timedelta(seconds=1))
    stage.world.withdraw_key(API_KEY)
    await stage.work(timedelta(minutes=1), times=5)
    await stage.work(timedelta(hours=6), times=28)
    assert (await stage.life(job_id)).job.state is JobState.RUNNING
    stage.world.issue_key(API_KEY, 10_000)
    await stage.work(timedelta(minutes=1), times=5)
    assert (await stage.life(job_id)).job.state is JobState.SUCCEEDED


async def test_a_task_found_by_a_late_callback_is_on_the_books_of_the_failed_job(stage: Stage) -> None:
    job_id = await stage.accept("A red fox [[answer-lost]] [[callback-late=3600]]")
    await stage.work(timedelta(seconds=1))
    await stage.work(timedelta(minutes=5), times=6)
    before = await stage.life(job_id)
    assert before.job.error is not None
    assert before.job.error.code is ErrorCode.SUBMISSION_UNCONFIRMED
    assert (before.credits.consumed, before.credits.unresolved) == (0, 5)
    await stage.work(timedelta(minutes=5), times=10, callbacks=True)
    after = await stage.life(job_id)
    assert after.job == before.job
    assert (after.credits.consumed, after.credits.unresolved) == (5, 0)
    assert after.submissions[0].late_result is not None


async def test_two_lies_about_one_job_are_both_on_its_books(stage: Stage) -> None:
    """A 500 after accepting, as the document allows: it is paid twice, and both payments are shown."""
    job_id = await stage.accept("A red fox [[submit-500-accepted]] [[run=4]]")
    await stage.work(timedelta(seconds=1), times=3)
    assert len(stage.tasks()) == 2
    await stage.work(timedelta(seconds=2), times=30, callbacks=True)
    life = await stage.life(job_id)
    assert life.job.state is JobState.SUCCEEDED
    assert life.credits.consumed == 5 * len(stage.tasks())
    assert {s.task_id for s in life.submissions} == {task["task_id"] for task in stage.tasks()}


async def test_a_forger_with_a_leaked_address_changes_neither_state_nor_books(stage: Stage) -> None:
    victim, other = (
        await stage.accept("A red fox [[answer-lost]] [[run=30]]"),
        await stage.accept("A blue whale [[answer-lost]] [[run=600]]"),
    )
    await stage.work(timedelta(seconds=1), times=2)
    url = next(task["callback_url"] for task in stage.tasks() if "fox" in task["prompt"])
    foreign = next(task["task_id"] for task in stage.tasks() if "whale" in task["prompt"])
    for named in (foreign, "made-up-1"):
        body = {
            "code": 200,
            "data": {"task_id": named, "status": "SUCCESS", "consumed_credits": 500, "response": ["http://x/"]},
        }
        assert await stage.gateway.call_back(url, json.dumps(body).encode()) is CallbackOutcome.CANDIDATE
    await stage.work(timedelta(seconds=2), times=5)
    life = await stage.life(victim)
    assert (life.job.state, life.task, life.credits.consumed) == (JobState.UNCONFIRMED, None, 0)
    await stage.work(timedelta(seconds=5), times=30, callbacks=True)
    assert (await stage.life(victim)).job.state is JobState.SUCCEEDED
    assert (await stage.life(other)).task is None, "nobody told us of it yet"
    assert (await stage.life(victim)).credits.consumed == 5
    await stage.work(timedelta(seconds=30), times=25, callbacks=True)
    assert (await stage.life(other)).job.state is JobState.SUCCEEDED


async def test_readings_that_tell_nothing_new_are_written_down_together(stage: Stage) -> None:
    """The first is answered long before the second is asked for."""
    gateway = stage.gateway
    ids = []
    for _ in range(2):
        ids.append(await stage.accept("A red fox [[never-ends]] [[callback-lost]]"))
        await gateway.dispatcher.sweep()
        await gateway.dispatcher.idle()
        stage.clock.advance(timedelta(seconds=10))
    first, second = [(await stage.life(job_id)).submissions[0].due_at for job_id in ids]
    assert first is not None
    assert second is not None
    client = UpstreamClient("http://emulator.invalid", API_KEY, transport=stage.transport)
    patient = Reconciler(DueStore(gateway.database), gateway.gate_store, gateway.settlement, client, patience=0.5)
    with statements_of(gateway.database) as sent:
        stage.clock.advance(first - stage.clock())
        await patient.sweep()
        await asyncio.sleep(0.1)
        stage.clock.advance(second - first)
        await patient.sweep()
        await patient.idle()
    assert [(await stage.life(job_id)).submissions[0].checks for job_id in ids] == [1, 1]
    written = [statement for statement, _ in sent if statement.startswith("UPDATE submissions")]
    assert len(written) == 3, "two claims, and what both read"


async def test_an_answer_that_comes_after_the_job_failed_is_still_on_its_books(stage: Stage) -> None:
    job_id = await stage.accept("A red fox [[callback-lost]]")
    stage.transport.fates = ["held"]
    stage.clock.advance(timedelta(seconds=1))
    await stage.gateway.dispatcher.sweep()
    await stage.transport.quiet(stage.gateway.at_work)
    for _ in range(12):
        stage.clock.advance(timedelta(minutes=2))
        await stage.gateway.reconciler.sweep()
        await stage.gateway.reconciler.idle()
    failed = await stage.life(job_id)
    assert failed.job.error is not None
    assert failed.job.error.code is ErrorCode.SUBMISSION_UNCONFIRMED
    stage.transport.release()
    await stage.gateway.dispatcher.idle()
    await stage.work(timedelta(seconds=30), times=5)
    life = await stage.life(job_id)
    assert life.job == failed.job
    assert (life.credits.consumed, life.credits.unresolved) == (5, 0)


async def test_a_cancel_between_the_claim_and_a_refusal_ends_canceled_and_free(stage: Stage) -> None:
    job_id = await stage.accept("A red fox [[submit-503]]")
    refused = await stage.accept("A blue whale [[submit-500]]")
    stage.transport.fates = ["held", "held"]
    for _ in range(2):
        stage.clock.advance(timedelta(seconds=1))
        await stage.gateway.dispatcher.sweep()
        await stage.transport.quiet(stage.gateway.at_work)
    for job in (job_id, refused):
        await stage.gateway.settlement.record(job, CancelAsked())
    stage.transport.release()
    await stage.gateway.dispatcher.idle()
    await stage.work(timedelta(seconds=5), times=20)
    life = await stage.life(refused)
    assert (life.job.state, life.credits.unresolved, life.attempts) == (JobState.CANCELED, 0, 1)
    # A 503 proves nothing: that one waits for its callback first, and is not sent again either.
    assert (await stage.life(job_id)).job.state is JobState.UNCONFIRMED
    await stage.work(timedelta(minutes=5), times=4)
    life = await stage.life(job_id)
    assert (life.job.state, life.attempts, life.credits.unresolved) == (JobState.CANCELED, 1, 5)


async def test_a_stop_ends_although_the_database_is_away_and_an_answer_is_out(stage: Stage) -> None:
    """What cannot be written down is left to the lease; a process that never ends is killed anyway, later and by others."""
    await stage.accept("A red fox")
    stage.transport.fates = ["held"]
    stage.clock.advance(timedelta(seconds=1))
    stage.gateway.settlement._lives = Away(stage.gateway.database)
    await stage.gateway.dispatcher.sweep()
    await stage.transport.quiet(stage.gateway.at_work)
    async with asyncio.timeout(60):
        await stage.gateway.dispatcher.stop(0.05)


async def test_a_stop_waits_once_for_all_that_is_to_be_written_down_last(stage: Stage) -> None:
    """What is in doubt is given back while the lost answers are recorded: each in its turn would make the stop too long."""
    job_id = await stage.accept("A red fox")
    stage.transport.fates = ["held"]
    stage.clock.advance(timedelta(seconds=1))
    await stage.gateway.dispatcher.sweep()
    await stage.transport.quiet(stage.gateway.at_work)
    asked = asyncio.Event()
    stage.gateway.dispatcher._in_doubt.add(b"the hash of a token")
    stage.gateway.dispatcher._queue = Asked(stage.gateway.database, asked)
    stage.gateway.settlement._lives = WrittenAfter(stage.gateway.database, asked)
    await stage.gateway.dispatcher.stop(0.05)
    assert (await stage.life(job_id)).job.state is JobState.UNCONFIRMED


class Asked(QueueStore):
    """Tells when it is asked for what is in doubt."""

    def __init__(self, database: Database, asked: asyncio.Event) -> None:
        super().__init__(database)
        object.__setattr__(self, "asked", asked)

    async def claimed_with(self, tokens: Any) -> Any:
        self.asked.set()  # type: ignore[attr-defined]
        return await super().claimed_with(tokens)


class WrittenAfter(LifeStore):
    """Writes once that has happened."""

    def __init__(self, database: Database, happened: asyncio.Event) -> None:
        super().__init__(database)
        object.__setattr__(self, "happened", happened)

    async def apply(self, items: Any, decide: Any) -> Any:
        await self.happened.wait()  # type: ignore[attr-defined]
        return await super().apply(items, decide)


class Away(LifeStore):
    """A database that is out of reach."""

    async def apply(self, items: Any, decide: Any) -> Any:
        raise StorageUnavailableError("gone")
