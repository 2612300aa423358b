"""A replica that was asleep past its lease, on one PostgreSQL with another one that was not; the clock is moved by hand."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from app.dispatch.dispatch import Dispatcher
from app.emulator import EmulatorOptions, World
from app.errors import StorageUnavailableError
from app.intake import Intake
from app.jobs.job_request import JobRequest
from app.lifecycle.gate import GatePolicy
from app.lifecycle.job import Life
from app.lifecycle.ownership import new_token
from app.lifecycle.policy import Policy
from app.lifecycle.states import JobState, Outcome
from app.reconcile.reconcile import Reconciler
from app.settlement.settle import Settlement
from app.settlement.wakes import Wakes
from app.storage.database import Database
from app.storage.due import DueStore
from app.storage.gate_row import GateStore
from app.storage.history import HistoryStore
from app.storage.intake import IntakeStore
from app.storage.lives import LifeStore
from app.storage.queue import Claim, QueueStore
from app.upstream.client import Timeouts, UpstreamClient
from tests.databases import OpenDatabase
from tests.machine.simulated_gateway import API_KEY, CALLER, PUBLIC, SimulatedClock
from tests.machine.straight_transport import StraightTransport
from tests.storage.factory import queue_of

LEASE = Policy().lease


class Replica:
    """The duties of one process; they run when the test says so."""

    def __init__(self, database: Database, world: World, clock: SimulatedClock) -> None:
        async def nothing(_: Any) -> None:
            return None

        self.transport = StraightTransport(world, nothing, nothing)
        self.lives, self.history, self.queue = LifeStore(database), HistoryStore(database), queue_of(database)
        gate_store = GateStore(database)
        self.settlement = Settlement(self.lives, gate_store, Policy(), GatePolicy(submit_rate=1000, status_rate=1000), Wakes())
        self.intake = Intake(IntakeStore(database), self.settlement.wakes)
        client = UpstreamClient("http://emulator.invalid", API_KEY, transport=self.transport)
        self.dispatcher = Dispatcher(
            self.queue, self.settlement, client,
            public_base_url=PUBLIC, submit_timeout=Timeouts().submit, monotonic=clock.unix,
        )  # fmt: skip
        self.reconciler = Reconciler(DueStore(database), gate_store, self.settlement, client, patience=0)

    async def accept(self) -> UUID:
        return (await self.intake.accept([JobRequest(prompt="A ferry")], CALLER, None)).lives[0].job.job_id

    async def send(self) -> None:
        """One pass of the dispatch; what it sends is answered at its end, or held."""
        await self.dispatcher.sweep()
        await self.transport.quiet(lambda: set(self.dispatcher._sending))

    async def look(self) -> None:
        """One pass of the poller, likewise."""
        await self.reconciler.sweep()
        await self.transport.quiet(lambda: set(self.reconciler._looking))

    async def wake_up(self) -> None:
        """The answers that were held arrive."""
        self.transport.release()
        await self.dispatcher.idle()
        await self.reconciler.idle()

    async def life(self, job_id: UUID) -> Life:
        found = await self.lives.find(job_id)
        assert found is not None
        return found

    async def events(self, job_id: UUID) -> list[str]:
        return [event.type for event in await self.history.events(job_id)]


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def world(clock: SimulatedClock) -> World:
    return World(EmulatorOptions(keys={API_KEY: 1000}, run_seconds=(1.0, 1.0), seed=1), clock.unix)


@pytest.fixture
def sleeper(postgres_url: str, open_database: OpenDatabase, world: World, clock: SimulatedClock) -> Replica:
    return Replica(open_database(postgres_url, clock=clock), world, clock)


@pytest.fixture
def other(postgres_url: str, open_database: OpenDatabase, world: World, clock: SimulatedClock) -> Replica:
    return Replica(open_database(postgres_url, clock=clock), world, clock)


async def settled(replica: Replica, job_id: UUID, clock: SimulatedClock) -> Life:
    clock.advance(Policy().callback_grace)
    await replica.look()
    return await replica.life(job_id)


async def test_an_answer_that_comes_after_the_lease_is_still_an_answer(
    sleeper: Replica, other: Replica, world: World, clock: SimulatedClock
) -> None:
    job_id = await sleeper.accept()
    sleeper.transport.fates = ["held"]
    await sleeper.send()
    assert sleeper.transport.holds
    clock.advance(LEASE / 2)
    await other.look()
    assert (await other.life(job_id)).job.state is JobState.SUBMITTING  # the lease runs: nobody interferes
    clock.advance(LEASE / 2)
    await other.look()
    assert (await other.life(job_id)).job.state is JobState.UNCONFIRMED
    await other.send()  # and nobody sends it again
    await sleeper.wake_up()
    life = await other.life(job_id)
    assert life.job.state is JobState.RUNNING
    life = await settled(other, job_id, clock)
    [task] = world.account()["tasks"]  # type: ignore[misc]
    assert (life.job.state, life.credits.consumed, life.submission(1).task_id) == (JobState.SUCCEEDED, 5, task["task_id"])
    assert [s.number for s in life.submissions] == [1]
    assert await other.events(job_id) == ["accepted", "submitting", "answer_lost", "running", "checked", "succeeded"]


async def test_an_answer_that_comes_after_the_job_was_given_up_only_fills_the_books(
    sleeper: Replica, other: Replica, world: World, clock: SimulatedClock
) -> None:
    job_id = await sleeper.accept()
    sleeper.transport.fates = ["held"]
    await sleeper.send()
    for wait in (LEASE, Policy().unconfirmed_wait):
        clock.advance(wait)
        await other.look()
    given_up = await other.life(job_id)
    assert (given_up.job.state, given_up.credits.unresolved) == (JobState.FAILED, 5)
    await sleeper.wake_up()
    life = await settled(other, job_id, clock)
    assert (life.job.state, life.job.error, life.job.finished_at) == (
        JobState.FAILED, given_up.job.error, given_up.job.finished_at,
    )  # fmt: skip
    assert (life.credits.consumed, life.credits.unresolved) == (5, 0)
    assert len(world.account()["tasks"]) == 1  # type: ignore[arg-type]


async def test_a_sender_that_wakes_too_near_the_end_of_its_lease_gives_back_and_does_not_send(
    sleeper: Replica, other: Replica, world: World, clock: SimulatedClock
) -> None:
    job_id = await sleeper.accept()
    await sleeper.dispatcher.sweep()  # claimed; its sender has not run yet
    clock.advance(LEASE / 2)
    await sleeper.dispatcher.idle()
    assert world.account()["tasks"] == []
    life = await other.life(job_id)
    assert (life.job.state, life.submission(1).outcome) == (JobState.QUEUED, Outcome.UNSENT)
    await other.send()
    life = await settled(other, job_id, clock)
    assert (life.job.state, life.job.submission, life.credits.consumed) == (JobState.SUCCEEDED, 2, 5)
    assert len(world.account()["tasks"]) == 1  # type: ignore[arg-type]


async def test_a_sender_that_wakes_after_its_lease_was_ended_gives_back_and_the_job_is_sent_by_another(
    sleeper: Replica, other: Replica, world: World, clock: SimulatedClock
) -> None:
    job_id = await sleeper.accept()
    claimed_at = clock.unix()
    claim = await sleeper.queue.claim_due(1, GatePolicy(), sleeper.settlement.decide, new_token)
    [(change, token)] = claim.taken
    clock.advance(LEASE)
    await other.look()
    assert (await other.life(job_id)).job.state is JobState.UNCONFIRMED
    await other.send()
    assert world.account()["tasks"] == []  # perhaps it was sent: nobody knows but the sleeper
    await sleeper.dispatcher._send(change.after, token, claimed_at)
    assert world.account()["tasks"] == []
    await other.send()
    life = await settled(other, job_id, clock)
    assert (life.job.state, life.submission(1).outcome) == (JobState.SUCCEEDED, Outcome.UNSENT)
    assert len(world.account()["tasks"]) == 1  # type: ignore[arg-type]


async def test_a_check_that_slept_past_its_lease_reads_what_another_has_settled_and_changes_nothing(
    sleeper: Replica, other: Replica, world: World, clock: SimulatedClock
) -> None:
    job_id = await sleeper.accept()
    await sleeper.send()
    clock.advance(Policy().callback_grace)
    sleeper.transport.fates = ["held"]
    await sleeper.look()
    assert sleeper.transport.holds
    await other.look()
    assert (await other.life(job_id)).job.state is JobState.RUNNING  # one check at a time
    clock.advance(Policy().check_lease)
    await other.look()
    life = await other.life(job_id)
    events = await other.events(job_id)
    assert life.job.state is JobState.SUCCEEDED
    await sleeper.wake_up()
    assert await other.life(job_id) == life
    assert await other.events(job_id) == events


async def test_two_replicas_that_sweep_at_once_share_the_queue_and_send_each_job_once(
    sleeper: Replica, other: Replica, world: World
) -> None:
    import asyncio

    jobs = [await sleeper.accept() for _ in range(40)]
    await asyncio.gather(*(replica.send() for replica in (sleeper, other) for _ in range(10)))
    assert [(await other.life(job_id)).job.state for job_id in jobs] == [JobState.RUNNING] * 40
    assert len(world.account()["tasks"]) == 40  # type: ignore[arg-type]


class _CutOff(QueueStore):
    """A queue whose connection breaks right after its first commit: the claim stands, and its claimer is told otherwise."""

    cut = False

    async def claim_due(self, *arguments: Any) -> Claim:
        claim = await super().claim_due(*arguments)
        if claim.taken and not self.cut:
            object.__setattr__(self, "cut", True)
            raise StorageUnavailableError
        return claim


async def test_a_claim_that_was_cut_off_amid_its_commit_is_given_back_and_sent(sleeper: Replica, world: World) -> None:
    job_id = await sleeper.accept()
    sleeper.dispatcher._queue = _CutOff(sleeper.queue.database)
    with pytest.raises(StorageUnavailableError):
        await sleeper.dispatcher.sweep()
    assert (await sleeper.life(job_id)).job.state is JobState.SUBMITTING
    await sleeper.send()
    life = await sleeper.life(job_id)
    assert [s.outcome for s in life.submissions] == [Outcome.UNSENT, Outcome.OPEN]
    assert (life.job.state, life.attempts) == (JobState.RUNNING, 1)
    assert len(world.account()["tasks"]) == 1  # type: ignore[arg-type]


async def test_a_stop_gives_back_a_claim_that_was_cut_off_amid_its_commit(sleeper: Replica, world: World) -> None:
    job_id = await sleeper.accept()
    sleeper.dispatcher._queue = _CutOff(sleeper.queue.database)
    with pytest.raises(StorageUnavailableError):
        await sleeper.dispatcher.sweep()
    await sleeper.dispatcher.stop(1)
    life = await sleeper.life(job_id)
    assert (life.job.state, [s.outcome for s in life.submissions]) == (JobState.QUEUED, [Outcome.UNSENT])
    assert world.account()["tasks"] == []
