"""Lists and timelines: complete, in order, and not shaken by what comes in meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import product
from uuid import UUID

from app.lifecycle.callback_health import ReadToTheEnd
from app.lifecycle.news import CalledBack
from app.lifecycle.states import JobState
from app.storage.database import Database
from app.storage.history import HistoryStore
from app.storage.job_filter import JobFilter
from tests.storage.factory import Factory, HandClock, new_job, succeeded


async def pages(
    database: Database, limit: int, *, tenant: str | None = None, states: Sequence[JobState] = ()
) -> list[list[UUID]]:
    found: list[list[UUID]] = []
    wanted, after = JobFilter(tenant=tenant, states=tuple(states)), None
    while True:
        page = await HistoryStore(database).page(wanted, limit=limit, after=after)
        found += [[life.job.job_id for life in page.lives]] if page.lives else []
        if page.next is None:
            return found
        after = page.next


async def test_pages_are_complete_and_newest_first(factory: Factory, clock: HandClock) -> None:
    ids = []
    for _ in range(7):
        ids += [life.job.job_id for life in await factory.queued()]
        clock.advance(microseconds=1)
    newest_first = list(reversed(ids))
    assert await pages(factory.database, 3) == [newest_first[:3], newest_first[3:6], newest_first[6:]]


async def test_jobs_of_the_same_instant_are_neither_lost_nor_doubled(factory: Factory) -> None:
    ids = {life.job.job_id for life in await factory.queued(10)}
    found = [job_id for page in await pages(factory.database, 3) for job_id in page]
    assert found == sorted(ids, reverse=True)


async def test_what_comes_in_while_somebody_reads_does_not_move_the_rest(factory: Factory, clock: HandClock) -> None:
    ids = []
    for _ in range(6):
        ids += [life.job.job_id for life in await factory.queued()]
        clock.advance(seconds=1)
    store, found = HistoryStore(factory.database), []
    page = await store.page(limit=2)
    while page.next is not None:
        found += [life.job.job_id for life in page.lives]
        await factory.queued(3)
        clock.advance(seconds=1)
        page = await store.page(limit=2, after=page.next)
    found += [life.job.job_id for life in page.lives]
    assert found == list(reversed(ids))


async def test_a_page_behind_a_job_that_is_gone_goes_on_from_its_place(factory: Factory, clock: HandClock) -> None:
    (old,) = await factory.queued()
    clock.advance(seconds=1)
    place = (clock.now, new_job().job_id)
    page = await HistoryStore(factory.database).page(limit=5, after=place)
    assert [life.job.job_id for life in page.lives] == [old.job.job_id]


async def test_pages_hold_whole_lives(factory: Factory) -> None:
    lives = {(life := await factory.in_state(state)).job.job_id: life for state in JobState}
    page = await HistoryStore(factory.database).page(limit=50)
    assert {life.job.job_id: life for life in page.lives} == lives


async def test_pages_can_be_of_one_tenant_and_of_some_states(factory: Factory, clock: HandClock) -> None:
    lives = []
    for state, owner in product(JobState, ("acme", "umbrella")):
        lives.append(await factory.in_state(state, tenant=owner))
        clock.advance(seconds=len(lives) % 2)  # some share their instant
    some_states = [
        [], [JobState.RUNNING], [JobState.SUCCEEDED, JobState.FAILED], [JobState.QUEUED, JobState.CANCELED, JobState.RUNNING],
        [JobState.FAILED, JobState.FAILED], list(JobState),
    ]  # fmt: skip
    for states, tenant in product(some_states, (None, "acme", "umbrella", "nobody")):
        wanted = [life for life in lives if (not states or life.job.state in states) and tenant in (None, life.job.tenant)]
        expected = [key[1] for key in sorted(((w.job.created_at, w.job.job_id) for w in wanted), reverse=True)]
        found = await pages(factory.database, 2, tenant=tenant, states=states)
        assert [job_id for page in found for job_id in page] == expected


async def test_a_timeline_can_be_read_on_from_any_event(factory: Factory) -> None:
    life, _other = await factory.in_state(JobState.SUCCEEDED), await factory.in_state(JobState.FAILED)
    store = HistoryStore(factory.database)
    events = await store.events(life.job.job_id)
    assert [e.type for e in events] == ["accepted", "submitting", "running", "checked", "succeeded"]
    assert events[2].data == {"submission": 1, "task_id": "task-1"}
    assert [e.event_id for e in events] == sorted(e.event_id for e in events)
    assert await store.events(life.job.job_id, after=events[1].event_id) == events[2:]
    assert await store.events(life.job.job_id, limit=2) == events[:2]


async def test_what_a_check_read_to_the_end_is_evidence_about_callbacks(factory: Factory, clock: HandClock) -> None:
    for state in (JobState.RUNNING, JobState.CANCELED, JobState.UNCONFIRMED):
        await factory.in_state(state)
    old = await factory.in_state(JobState.SUCCEEDED)
    clock.advance(hours=1)
    silent = await factory.in_state(JobState.FAILED)
    called = await factory.in_state(JobState.RUNNING)
    task, answered_at = called.submissions[0].task_id, clock.now
    assert task is not None
    clock.advance(seconds=8)
    await factory.tell(called.job.job_id, CalledBack(1, None), succeeded(task))
    closed, now = await HistoryStore(factory.database).recently_read(timedelta(minutes=30))
    assert now == clock.now
    assert closed == [ReadToTheEnd(clock.now, answered_at, True), ReadToTheEnd(answered_at, answered_at, False)]
    assert old.submissions[0].closed_at not in {c.closed_at for c in closed}
    assert silent.submissions[0].callbacks == 0
