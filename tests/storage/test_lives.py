"""News changes jobs: under guard, with its events, by one writer at a time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import event, update
from sqlalchemy.exc import IntegrityError

from app.lifecycle.answers import Accepted, NoAnswer, StillGoing, Succeeded
from app.lifecycle.gate import GatePolicy
from app.lifecycle.job import Life
from app.lifecycle.news import Answered, CalledBack, CancelAsked, Checked, Claimed, HardDeadlinePassed, News
from app.lifecycle.states import CompletedVia, ErrorCode, JobState, Outcome
from app.lifecycle.transitions import Change, Effect, decide
from app.storage import tables as t
from app.storage.database import Database
from app.storage.due import DueStore
from app.storage.grouped import GroupedWriter
from app.storage.history import HistoryStore
from app.storage.lives import GuardError, LifeStore, apply_locked, lock
from tests.databases import OpenDatabase
from tests.storage.factory import Factory, HandClock, moved, new_job, rejected, succeeded
from tests.storage.watch import blocked_statements


@pytest.mark.parametrize("state", JobState)
async def test_a_life_in_any_state_reads_back_as_it_was_decided(factory: Factory, state: JobState) -> None:
    life = await factory.in_state(state, metadata={"a": "b"}, idempotency_key="k")
    assert life.job.state is state
    (again,) = await factory.apply((life.job.job_id, CancelAsked()))
    assert again is not None
    assert again.before == life
    assert again.after == await factory.find(life.job.job_id)


async def test_a_settled_life_keeps_pictures_credits_and_how_it_was_learned(factory: Factory, clock: HandClock) -> None:
    life = await factory.in_state(JobState.SUCCEEDED)
    assert life.job.images == ("https://images/1.jpeg",)
    assert (life.job.completed_via, life.job.finished_at) == (CompletedVia.POLL, clock.now)
    (submission,) = life.submissions
    assert (submission.outcome, submission.credits, submission.task_id) == (Outcome.SUCCEEDED, 5, "task-1")


async def test_why_a_job_failed_is_kept(factory: Factory) -> None:
    (life,) = await factory.queued()
    life = await factory.tell(life.job.job_id, Claimed(b"hash"), rejected())
    assert life.job.error is not None
    assert (life.job.error.code, life.job.error.message) == (ErrorCode.UPSTREAM_REJECTED, "bad prompt")


async def test_news_of_an_unknown_job_changes_nothing(factory: Factory) -> None:
    life = await factory.in_state(JobState.QUEUED)
    unknown, known = await factory.apply((new_job().job_id, CancelAsked()), (life.job.job_id, CancelAsked()))
    assert unknown is None
    assert known is not None
    assert known.effect is Effect.APPLIED
    assert await LifeStore(factory.database).find(new_job().job_id) is None


async def test_news_changes_only_the_job_that_it_is_about(factory: Factory) -> None:
    moves, stays = await factory.in_state(JobState.SUBMITTING), await factory.in_state(JobState.SUBMITTING)
    await factory.apply((moves.job.job_id, Answered(1, Accepted("task-x"))))
    assert (await factory.find(moves.job.job_id)).job.state is JobState.RUNNING
    assert await factory.find(stays.job.job_id) == stays


async def test_several_pieces_of_news_for_one_job_apply_in_their_order(factory: Factory) -> None:
    (life,) = await factory.queued()
    news: list[News] = [Claimed(b"hash"), Answered(1, Accepted("task-x")), succeeded("task-x"), CancelAsked()]
    changes = await factory.apply(*((life.job.job_id, item) for item in news))
    assert [c.effect for c in changes if c] == [Effect.APPLIED, Effect.APPLIED, Effect.APPLIED, Effect.REFUSED]
    assert (await factory.find(life.job.job_id)).job.state is JobState.SUCCEEDED
    told = [e.type for e in await HistoryStore(factory.database).events(life.job.job_id)]
    assert told == ["accepted", "submitting", "running", "checked", "succeeded"]


async def test_stale_news_writes_nothing(factory: Factory, database: Database) -> None:
    life = await factory.in_state(JobState.SUCCEEDED)
    events = await HistoryStore(database).events(life.job.job_id)
    (change,) = await factory.apply((life.job.job_id, Claimed(b"hash")))
    assert change is not None
    assert change.effect is Effect.STALE
    assert await factory.find(life.job.job_id) == life
    assert await HistoryStore(database).events(life.job.job_id) == events


async def test_events_come_with_the_change_or_not_at_all(factory: Factory, database: Database) -> None:
    life = await factory.in_state(JobState.SUBMITTING)
    before = await HistoryStore(database).events(life.job.job_id)

    def fail(_connection: object) -> None:
        raise ConnectionError("the commit never arrived")

    for engine in database.engines:
        event.listen(engine, "commit", fail)
    with pytest.raises(Exception, match="never arrived"):
        await factory.apply((life.job.job_id, Answered(1, Accepted("task-x"))))
    for engine in database.engines:
        event.remove(engine, "commit", fail)
    assert await factory.find(life.job.job_id) == life
    assert await HistoryStore(database).events(life.job.job_id) == before
    await factory.apply((life.job.job_id, Answered(1, Accepted("task-x"))))
    assert [e.type for e in await HistoryStore(database).events(life.job.job_id)][len(before) :] == ["running"]


async def test_a_batch_with_one_impossible_change_leaves_nothing_behind(factory: Factory, database: Database) -> None:
    fine, mad = await factory.in_state(JobState.SUBMITTING), await factory.in_state(JobState.SUBMITTING)

    def decide_madly(life: Life, news: News, now: datetime) -> Change:
        change = factory.decide(life, news, now)
        if life.job.job_id == mad.job.job_id:  # running, and over: the law of the states forbids it
            return Change(change.before, moved(change.after, finished_at=now), change.effect, change.events)
        return change

    news = [(life.job.job_id, Answered(1, Accepted(f"task-{life.job.job_id}"))) for life in (fine, mad)]
    with pytest.raises(IntegrityError):
        await LifeStore(database).apply(news, decide_madly)
    assert await factory.find(fine.job.job_id) == fine
    assert await factory.find(mad.job.job_id) == mad


async def test_a_row_that_changed_behind_the_lock_is_not_overwritten(factory: Factory, database: Database) -> None:
    """The guard in the WHERE: cannot happen under the lock, and would be seen if it did."""
    life, other = await factory.in_state(JobState.QUEUED), await factory.in_state(JobState.QUEUED)
    ids = [other.job.job_id, life.job.job_id]
    with pytest.raises(GuardError):
        async with database.writing() as connection:
            lives = await lock(connection, ids)
            gone = update(t.jobs).where(t.jobs.c.job_id == life.job.job_id)
            await connection.execute(gone.values(state="canceled", due_at=None, finished_at=life.job.created_at))
            items = [(job_id, Claimed(job_id.bytes)) for job_id in ids]
            await apply_locked(connection, lives, items, factory.decide, life.job.created_at)
    assert await factory.find(life.job.job_id) == life
    assert await factory.find(other.job.job_id) == other


async def test_a_submission_that_was_settled_behind_the_lock_is_not_overwritten(factory: Factory, database: Database) -> None:
    life = await factory.in_state(JobState.SUBMITTING)
    with pytest.raises(GuardError):
        async with database.writing() as connection:
            lives = await lock(connection, [life.job.job_id])
            gone = update(t.submissions).where(t.submissions.c.job_id == life.job.job_id)
            await connection.execute(gone.values(outcome="unsent", lease_until=None, closed_at=life.job.created_at))
            answered = Answered(1, Accepted("task-x"))
            await apply_locked(connection, lives, [(life.job.job_id, answered)], factory.decide, life.job.created_at)
    assert await factory.find(life.job.job_id) == life


# --- task ids ------------------------------------------------------------------------------------------------------------


async def test_a_task_id_that_another_submission_holds_is_not_believed(factory: Factory) -> None:
    holder, late = await factory.in_state(JobState.RUNNING), await factory.in_state(JobState.SUBMITTING)
    held = holder.submissions[0].task_id
    assert held is not None
    life = await factory.tell(late.job.job_id, Answered(1, Accepted(held)))
    assert (life.job.state, life.submissions[0].task_id) == (JobState.UNCONFIRMED, None)
    assert await factory.find(holder.job.job_id) == holder


async def test_a_candidate_that_another_submission_holds_is_dropped(factory: Factory) -> None:
    holder, other = await factory.in_state(JobState.RUNNING), await factory.in_state(JobState.UNCONFIRMED)
    held = holder.submissions[0].task_id
    assert held is not None
    life = await factory.tell(other.job.job_id, CalledBack(1, held), factory.check(held, StillGoing("IN_PROGRESS")))
    assert (life.job.state, life.submissions[0].task_id, life.submissions[0].candidates) == (JobState.UNCONFIRMED, None, ())


async def test_the_same_answer_twice_is_not_another_submissions(factory: Factory) -> None:
    life = await factory.in_state(JobState.RUNNING)
    held = life.submissions[0].task_id
    assert held is not None
    assert (await factory.tell(life.job.job_id, Answered(1, Accepted(held)))).job.state is JobState.RUNNING


async def test_two_jobs_told_the_same_task_id_in_one_batch_do_not_share_it(factory: Factory, database: Database) -> None:
    lives = [await factory.in_state(JobState.SUBMITTING) for _ in range(2)]
    writer = GroupedWriter(lambda items: LifeStore(database).apply(items, factory.decide))
    await asyncio.gather(*(writer.put((life.job.job_id, Answered(1, Accepted("task-x")))) for life in lives))
    after = [await factory.find(life.job.job_id) for life in lives]
    assert sorted(life.job.state for life in after) == [JobState.RUNNING, JobState.UNCONFIRMED]


async def test_two_replicas_that_adopt_the_same_task_id_do_not_share_it(
    factory: Factory, database: Database, database_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    """Neither sees the other's in time; the unique index decides, and who lost reads it again."""
    replicas = [factory, Factory(open_database(database_url, clock=clock))]
    for round_ in range(5):
        lives = [await factory.in_state(JobState.UNCONFIRMED) for _ in replicas]
        task = f"task-of-round-{round_}"
        for life in lives:
            await factory.apply((life.job.job_id, CalledBack(1, task)))

        async def adopt(replica: Factory, life: Life, task: str = task) -> None:
            writer = GroupedWriter(lambda items: LifeStore(replica.database).apply(items, replica.decide))
            news = (life.job.job_id, replica.check(task, StillGoing("IN_PROGRESS")))
            try:
                await writer.put(news)
            except IntegrityError:
                await writer.put(news)

        await asyncio.gather(*(adopt(*pair) for pair in zip(replicas, lives, strict=True)))
        after = [await factory.find(life.job.job_id) for life in lives]
        assert sorted(life.job.state for life in after) == [JobState.RUNNING, JobState.UNCONFIRMED]
        assert sorted(life.submissions[0].task_id or "" for life in after) == ["", task]


async def test_a_task_id_adopted_meanwhile_is_known_when_the_write_is_tried_again(
    postgres_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    """PostgreSQL: the second looks for owners before the first commits, and the index makes it wait and fail."""
    first, second = (Factory(open_database(postgres_url, clock=clock)) for _ in range(2))
    lives = [await first.in_state(JobState.SUBMITTING) for _ in range(2)]
    winner, loser = (life.job.job_id for life in lives)
    answered = Answered(1, Accepted("task-x"))
    async with first.database.writing() as connection:
        await apply_locked(connection, await lock(connection, [winner]), [(winner, answered)], first.decide, clock.now)
        late = asyncio.create_task(second.apply((loser, answered)))
        await blocked_statements(first.database, 1)
    await late
    assert (await first.find(loser)).job.state is JobState.UNCONFIRMED
    assert (await first.find(winner)).job.state is JobState.RUNNING


# --- two writers ---------------------------------------------------------------------------------------------------------


async def test_of_many_replicas_that_settle_one_job_exactly_one_wins(
    factory: Factory, database_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    replicas = [Factory(open_database(database_url, clock=clock)) for _ in range(4)]
    life = await factory.in_state(JobState.RUNNING)
    task = life.submissions[0].task_id
    assert task is not None
    changes = await asyncio.gather(*(r.apply((life.job.job_id, succeeded(task))) for r in replicas for _ in range(3)))
    effects = [change.effect for (change,) in changes if change]
    assert sorted(effects) == [Effect.APPLIED] + [Effect.STALE] * 11
    told = [e.type for e in await HistoryStore(factory.database).events(life.job.job_id)]
    assert told.count("succeeded") == 1


async def test_cancel_and_success_at_once_end_in_one_of_the_two(
    factory: Factory, database_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    other = Factory(open_database(database_url, clock=clock))
    for _ in range(5):
        life = await factory.in_state(JobState.RUNNING)
        task, job_id = life.submissions[0].task_id, life.job.job_id
        assert task is not None
        (cancel,), (settle,) = await asyncio.gather(
            factory.apply((job_id, CancelAsked())), other.apply((job_id, succeeded(task)))
        )
        assert cancel is not None
        assert settle is not None
        state = (await factory.find(job_id)).job.state
        assert state is (JobState.CANCELED if cancel.effect is Effect.NOTED else JobState.SUCCEEDED)


async def test_batches_that_name_the_same_jobs_in_opposite_orders_do_not_deadlock(
    factory: Factory, database_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    other = Factory(open_database(database_url, clock=clock))
    lives = [await factory.in_state(JobState.RUNNING) for _ in range(30)]
    ids = [life.job.job_id for life in lives]
    for _ in range(5):
        clock.advance(seconds=10)
        one, two = await asyncio.gather(
            factory.apply(*((job_id, CalledBack(1, None)) for job_id in ids)),
            other.apply(*((job_id, CalledBack(1, None)) for job_id in reversed(ids))),
        )
        assert all(change is not None for change in (*one, *two))
    assert {(await factory.find(job_id)).submissions[0].callbacks for job_id in ids} == {10}


async def test_who_waited_for_a_job_decides_on_what_it_finds_then(
    postgres_url: str, open_database: OpenDatabase, clock: HandClock
) -> None:
    """PostgreSQL: the second writer is blocked by the first, and must not decide on the row that it first saw."""
    first, second = (Factory(open_database(postgres_url, clock=clock)) for _ in range(2))
    (life,) = await first.queued()
    job_id = life.job.job_id
    async with first.database.writing() as connection:
        lives = await lock(connection, [job_id])
        cancel = asyncio.create_task(second.apply((job_id, CancelAsked())))
        await blocked_statements(first.database, 1)
        await apply_locked(connection, lives, [(job_id, Claimed(b"hash"))], first.decide, clock.now)
    (change,) = await cancel
    assert change is not None
    assert change.before.job.state is JobState.SUBMITTING
    assert len(change.before.submissions) == 1
    after = await first.find(job_id)
    assert (after.job.state, after.job.cancel_requested) == (JobState.SUBMITTING, True)


async def test_the_decision_is_given_the_databases_clock(database_url: str, open_database: OpenDatabase) -> None:
    database = open_database(database_url)
    factory, seen = Factory(database), []
    (life,) = await factory.queued()

    def remember(life: Life, news: News, now: datetime) -> Change:
        seen.append(now)
        return decide(life, news, now, factory.policy)

    await LifeStore(database).apply([(life.job.job_id, CancelAsked())], remember)
    async with database.reading() as connection:
        now = await database.now(connection)
    assert seen[0].utcoffset() == timedelta(0)
    assert timedelta(0) <= now - seen[0] < timedelta(minutes=1)
    assert timedelta(0) <= seen[0] - life.job.created_at < timedelta(minutes=1)


async def test_a_late_result_is_kept_with_its_submission(factory: Factory, clock: HandClock) -> None:
    life = await factory.in_state(JobState.RUNNING)
    task, job_id = life.submissions[0].task_id, life.job.job_id
    assert task is not None
    clock.now += factory.policy.hard_deadline
    await DueStore(factory.database).claim_due(1, GatePolicy(), factory.policy)  # somebody had a last look
    await factory.tell(job_id, Checked(1, task, clock.now, NoAnswer("nobody there")))
    failed = await factory.tell(job_id, HardDeadlinePassed(1))
    assert failed.job.state is JobState.FAILED
    after = await factory.tell(job_id, factory.check(task, Succeeded(("https://images/late.png",), 7)))
    assert after.job == failed.job
    assert after.submissions[0].late_result == {"status": "SUCCESS", "images": ["https://images/late.png"]}
    assert after.submissions[0].credits == 7
