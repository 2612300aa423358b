"""Lives in the database: load under lock, write under guard. All that news changes in jobs and submissions is written here.

Elsewhere `intake` adds jobs, `due` leases checks, `gate_row` excuses time, `books` marks what is booked, `retention` deletes.
Whoever changes a job holds its row first, in the order of the ids, reads all that the decision looks at, decides, and writes
what changed with what must still be true in the WHERE. So a decision never looks at a stale life, and two writers never
deadlock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Table, select
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.answers import Accepted, NoAnswer, NotFound
from app.lifecycle.job import Job, Life, Picture, Submission
from app.lifecycle.news import Answered, By, CancelAsked, CandidateNamed, CheckAsked, Checked, News
from app.lifecycle.transitions import Change, Effect, Event
from app.storage import books
from app.storage import tables as t
from app.storage.among import among, select_among
from app.storage.audit import Act, write_acts
from app.storage.database import Database
from app.storage.many import insert_many, insert_together, update_many
from app.storage.rows import (
    event_rows,
    job_of,
    job_values,
    outbox_rows,
    picture_of,
    submission_of,
    submission_row,
    submission_values,
)

Decide = Callable[[Life, News, datetime], Change]


class GuardError(Exception):
    """A guarded write met a row that was not as its lock promised; the transaction is rolled back."""


@dataclass(frozen=True, slots=True)
class LifeStore:
    """The one way in which news changes jobs."""

    database: Database

    async def apply(self, items: Sequence[tuple[UUID, News]], decide: Decide) -> list[Change | None]:
        """Applies each piece of news to its job, in order, in one transaction.

        Returns:
            What became of each; None where there is no such job.

        Raises:
            StorageUnavailableError: the database is out of reach.
        """
        try:
            return await self._apply(items, decide)
        except IntegrityError:
            # Another replica took one of the task ids between our look and our write. Now its owner can be seen.
            return await self._apply(items, decide)

    async def _apply(self, items: Sequence[tuple[UUID, News]], decide: Decide) -> list[Change | None]:
        async def work(connection: AsyncConnection) -> list[Change | None]:
            lives = await lock(connection, {job_id for job_id, _ in items})
            now = await self.database.now(connection)
            owners = await _task_owners(connection, [news for _, news in items])
            return await apply_locked(connection, lives, items, decide, now, owners)

        return await self.database.transact(work)

    async def find(self, job_id: UUID) -> Life | None:
        return (await self.find_all([job_id])).get(job_id)

    async def find_all(self, job_ids: Sequence[UUID]) -> dict[UUID, Life]:
        """Those of these jobs that exist."""
        return await self.database.ask(lambda connection: load(connection, job_ids))

    async def settled_among(self, job_ids: Sequence[UUID]) -> list[UUID]:
        """Those of these jobs that are settled."""
        rows = await self.database.ask(lambda connection: select_among(connection, _settled, job_ids))
        return [row.job_id for row in rows]


async def apply_locked(
    connection: AsyncConnection,
    lives: dict[UUID, Life],
    items: Iterable[tuple[UUID, News]],
    decide: Decide,
    now: datetime,
    owners: Mapping[str, tuple[UUID, int]] | None = None,
) -> list[Change | None]:
    """Decides each piece of news on lives that the caller has locked, and writes what changed."""
    changes: list[Change | None] = []
    first: dict[UUID, Life] = {}
    happened: list[tuple[UUID, Event]] = []
    acts: list[Act] = []
    for job_id, news in items:
        life = lives.get(job_id)
        if life is None:
            changes.append(None)
            continue
        change = decide(life, _knowing_owners(job_id, news, owners or {}), now)
        first.setdefault(job_id, life)
        lives[job_id] = change.after
        happened += [(job_id, event) for event in change.events]
        acts += _acts_of(news, change)
        changes.append(change)
    pairs = [(before, lives[job_id]) for job_id, before in first.items()]
    changed = [after for before, after in pairs if after != before]
    settled = [after for before, after in pairs if after.job.is_settled and not before.job.is_settled]
    added = await _write(
        connection, [(before, after.with_job(books.booked(after))) for before, after in pairs if after != before]
    )
    what_goes_with_it = {t.usage_entries: books.entries(changed, now), t.events: event_rows(happened, now)}
    await insert_together(connection, {t.submissions: added, **what_goes_with_it, **outbox_rows(settled, now)})
    await write_acts(connection, acts, now)
    return changes


async def lock(connection: AsyncConnection, job_ids: Iterable[UUID]) -> dict[UUID, Life]:
    """The lives of these jobs, held until the transaction ends. (SQLite's writer holds everything already.)"""
    return await _with_submissions(connection, await select_among(connection, _jobs, job_ids, held=True), held=True)


async def load(connection: AsyncConnection, job_ids: Iterable[UUID]) -> dict[UUID, Life]:
    """The lives of these jobs as they are, unheld."""
    return await _with_submissions(connection, await select_among(connection, _jobs, job_ids))


async def lives_of(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Life]:
    """The lives that belong to these rows of `jobs`, in their order."""
    lives = await _with_submissions(connection, rows)
    return [lives[row.job_id] for row in rows]


async def write_events(connection: AsyncConnection, happened: Sequence[tuple[UUID, Event]], now: datetime) -> None:
    await insert_many(connection, t.events, event_rows(happened, now))


def act_on_job(by: By | None, action: str, job: Job, data: dict[str, Any]) -> list[Act]:
    """What the audit says of an operator's act on one job; an operation on many is on record as a whole."""
    if by is None or not by.is_operator or by.operation_id is not None:
        return []
    return [Act(by.key_id, action, job.tenant, data, job.job_id)]


def _acts_of(news: News, change: Change) -> list[Act]:
    if change.effect in (Effect.STALE, Effect.REFUSED):
        return []
    match news:
        case CancelAsked():
            return act_on_job(news.by, "job.cancel", change.after.job, {})
        case CheckAsked():
            return act_on_job(news.by, "job.check", change.after.job, {})
        case CandidateNamed():
            return act_on_job(news.by, "job.candidate", change.after.job, {"task_id": news.task_id})
        case _:
            return []


async def _with_submissions(connection: AsyncConnection, rows: Sequence[Row[Any]], *, held: bool = False) -> dict[UUID, Life]:
    pictured = [row.job_id for row in rows if row.images]
    pictures: dict[UUID, list[Picture]] = {job_id: [] for job_id in pictured}
    if pictured:
        for row in await select_among(connection, _images, pictured):
            pictures[row.job_id].append(picture_of(row))
    sent = [row.job_id for row in rows if row.submission > 0]
    found: dict[UUID, list[Submission]] = {row.job_id: [] for row in rows}
    if sent:
        for row in await select_among(connection, _submissions, sent, held=held):
            found[row.job_id].append(submission_of(row))
    return {row.job_id: Life(job_of(row), tuple(found[row.job_id]), tuple(pictures.get(row.job_id, ()))) for row in rows}


async def _task_owners(connection: AsyncConnection, news: Iterable[News]) -> dict[str, tuple[UUID, int]]:
    """Which submissions hold the task ids that this news names; ids are unique, so there is at most one each."""
    named = {task_id for item in news if (task_id := _named_task(item)) is not None}
    if not named:
        return {}
    rows = await select_among(connection, _owners, named)
    return {row.task_id: (row.job_id, row.number) for row in rows}


@cache
def _jobs(dialect: str, *, held: bool = False) -> Select[Any]:
    query = select(t.jobs).where(among(dialect, t.jobs.c.job_id))
    return query.order_by(t.jobs.c.job_id).with_for_update() if held else query


@cache
def _submissions(dialect: str, *, held: bool = False) -> Select[Any]:
    s = t.submissions.c
    query = select(t.submissions).where(among(dialect, s.job_id)).order_by(s.job_id, s.number)
    return query.with_for_update() if held else query


@cache
def _images(dialect: str) -> Select[Any]:
    i = t.images.c
    return select(t.images).where(among(dialect, i.job_id)).order_by(i.job_id, i.index)


@cache
def _owners(dialect: str) -> Select[Any]:
    s = t.submissions.c
    return select(s.task_id, s.job_id, s.number).where(among(dialect, s.task_id))


@cache
def _settled(dialect: str) -> Select[Any]:
    j = t.jobs.c
    return select(j.job_id).where(among(dialect, j.job_id), j.finished_at.is_not(None))


def _named_task(news: News) -> str | None:
    if isinstance(news, Answered) and isinstance(news.answer, Accepted):
        return news.answer.task_id
    if isinstance(news, Checked) and not isinstance(news.reading, NoAnswer | NotFound):
        return news.task_id
    return news.task_id if isinstance(news, CandidateNamed) else None


def _knowing_owners(job_id: UUID, news: News, owners: Mapping[str, tuple[UUID, int]]) -> News:
    task_id = _named_task(news)
    if task_id is not None and isinstance(news, CandidateNamed):
        return replace(news, task_taken=owners.get(task_id, (job_id, 0))[0] != job_id)
    if task_id is None or not isinstance(news, Answered | Checked):
        return news
    return replace(news, task_taken=owners.get(task_id, (job_id, news.number)) != (job_id, news.number))


async def _write(connection: AsyncConnection, pairs: Sequence[tuple[Life, Life]]) -> list[dict[str, Any]]:
    """Changes what is there under its guards; returns the rows of `submissions` that are new."""
    jobs, changed, added = [], [], []
    for before, after in pairs:
        if after.job != before.job or after.job.booked != before.job.booked:
            job = before.job
            guard = {"was_job_id": job.job_id, "was_state": job.state.value, "was_submission": job.submission}
            jobs.append({**job_values(after.job), **guard})
        known = {s.number: s for s in before.submissions}
        for s in after.submissions:
            was = known.get(s.number)
            if was is None:
                added.append(submission_row(s))
            elif s != was:
                guard = {"was_job_id": s.job_id, "was_number": s.number, "was_outcome": was.outcome.value}
                changed.append({**submission_values(s), **guard})
    await _guarded(connection, t.jobs, jobs)
    await _guarded(connection, t.submissions, changed)
    return added


async def _guarded(connection: AsyncConnection, table: Table, rows: list[dict[str, Any]]) -> None:
    done = await update_many(connection, table, rows)
    if done != len(rows):
        raise GuardError(f"{done} of {len(rows)} rows were as their lock promised")
