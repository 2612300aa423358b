"""Callbacks as they came: looked up by their token, noted as receipts, and handed to the life they belong to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.news import CalledBack
from app.lifecycle.states import READ_TO_THE_END, Outcome
from app.lifecycle.transitions import CALLBACKS_TOLD, Change
from app.storage import tables as t
from app.storage.among import among, select_among
from app.storage.database import Database
from app.storage.lives import Decide, apply_locked, lock
from app.storage.many import insert_many

#: Receipts kept for one submission; a flood is counted on the submission, not stored.
RECEIPTS_MAX = CALLBACKS_TOLD


class CallbackOutcome(StrEnum):
    """What became of a callback."""

    UNKNOWN = "unknown"  #: no such token, or its time is over
    POKED = "poked"  #: a check was brought forward
    CANDIDATE = "candidate"  #: it named a task id that a check must confirm
    UNREADABLE = "unreadable"  #: nothing to check came of it: it named no task, or comes for one that is not ours to check
    LATE = "late"  #: the task had already been read to its end


@dataclass(frozen=True, slots=True)
class Receipt:
    """A callback that came in. `sample` is what an operator may look at: text, capped, never interpreted."""

    token_hash: bytes
    task_id: str | None
    content_type: str | None
    body_bytes: int
    sample: str


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    number: int
    received_at: datetime
    outcome: CallbackOutcome
    named_task_id: str | None
    content_type: str | None
    body_bytes: int
    sample: str


@dataclass(frozen=True, slots=True)
class ReceiptStore:
    database: Database

    async def known(self, token_hashes: Sequence[bytes], token_life: timedelta) -> list[bool]:
        """Whether each of these tokens is good, as `receive` has it. Only reads, so it waits for nobody who writes."""

        async def work(connection: AsyncConnection) -> Collection[bytes]:
            return await _owners(connection, token_hashes, token_life, await self.database.now(connection))

        owners = await self.database.ask(work)
        return [token_hash in owners for token_hash in token_hashes]

    async def receive(
        self, receipts: Sequence[Receipt], decide: Decide, token_life: timedelta
    ) -> list[tuple[CallbackOutcome, UUID | None]]:
        """Takes in callbacks in one transaction: what became of each, and the job it belongs to.

        A token is good for `token_life` after its submission was sent, plus what the submission was excused, and in any case
        until the submission's books close: while no check is possible, they may stay open for longer.
        """
        async with self.database.writing() as connection:
            now = await self.database.now(connection)
            owners = await _owners(connection, [r.token_hash for r in receipts], token_life, now)
            lives = await lock(connection, {job_id for job_id, _ in owners.values()}) if owners else {}
            known = [r for r in receipts if r.token_hash in owners]
            news = [(owners[r.token_hash][0], CalledBack(owners[r.token_hash][1], r.task_id)) for r in known]
            changes = await apply_locked(connection, lives, news, decide, now)
            rows_to_keep, outcomes = [], iter(zip(news, changes, strict=True))
            results: list[tuple[CallbackOutcome, UUID | None]] = []
            for receipt in receipts:
                if receipt.token_hash not in owners:
                    results.append((CallbackOutcome.UNKNOWN, None))
                    continue
                (job_id, called), change = next(outcomes)
                assert change is not None
                outcome = _outcome(called, change)
                results.append((outcome, job_id))
                if change.after.submission(called.number).callbacks <= RECEIPTS_MAX:
                    rows_to_keep.append(_row(job_id, called.number, receipt, outcome, now))
            await insert_many(connection, t.callbacks, rows_to_keep)
            return results

    async def of_job(self, job_id: UUID) -> list[StoredReceipt]:
        c = t.callbacks.c
        async with self.database.reading() as connection:
            rows = await connection.execute(select(t.callbacks).where(c.job_id == job_id).order_by(c.callback_id))
            return [
                StoredReceipt(
                    r.number, r.received_at, CallbackOutcome(r.outcome), r.named_task_id, r.content_type, r.body_bytes, r.sample
                )
                for r in rows
            ]


async def _owners(
    connection: AsyncConnection, token_hashes: Collection[bytes], token_life: timedelta, now: datetime
) -> dict[bytes, tuple[UUID, int]]:
    """The job and the number of the submission that each good token was made for."""
    rows = await select_among(connection, _sent, set(token_hashes))
    return {
        r.token_hash: (r.job_id, r.number)
        for r in rows
        if r.outcome == Outcome.OPEN.value or r.sent_at + r.excused + token_life > now
    }


@cache
def _sent(dialect: str) -> Select[Any]:
    s = t.submissions.c
    return select(s.token_hash, s.job_id, s.number, s.outcome, s.sent_at, s.excused).where(among(dialect, s.token_hash))


def _outcome(news: CalledBack, change: Change) -> CallbackOutcome:
    before, after = change.before.submission(news.number), change.after.submission(news.number)
    if before.outcome in READ_TO_THE_END:
        return CallbackOutcome.LATE
    if after.candidates != before.candidates:
        return CallbackOutcome.CANDIDATE
    return CallbackOutcome.POKED if after.can_be_checked else CallbackOutcome.UNREADABLE


def _row(job_id: UUID, number: int, receipt: Receipt, outcome: CallbackOutcome, now: datetime) -> dict[str, object]:
    return {
        "job_id": job_id, "number": number, "received_at": now, "outcome": outcome.value,
        "named_task_id": receipt.task_id, "content_type": receipt.content_type, "body_bytes": receipt.body_bytes,
        "sample": receipt.sample,
    }  # fmt: skip
