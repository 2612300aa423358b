"""What operators did: one row an act, written in the transaction of the change that it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage import tables as t
from app.storage.database import Database

START = "start"  #: in the place of a key's id: a process at its start, by its settings
COMMAND_LINE = "command-line"  #: in the place of a key's id: somebody at the machine


@dataclass(frozen=True, slots=True)
class Act:
    """Something that an operator did."""

    key_id: str  #: by which key; or START, or COMMAND_LINE
    action: str  #: a noun and a verb: `key.create`
    tenant: str | None = None
    data: dict[str, Any] = field(default_factory=dict)  #: what was done, in values of JSON; never a secret
    job_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Audited:
    """An act as it is on record."""

    act: Act
    at: datetime
    audit_id: int = field(default=0, compare=False)  #: grows with time


@dataclass(frozen=True, slots=True)
class AuditStore:
    database: Database

    async def write(self, act: Act) -> None:
        """For an act whose change has no transaction of its own; others use `write_act`."""
        async with self.database.writing() as connection:
            await write_act(connection, act, await self.database.now(connection))

    async def newest(
        self, limit: int = 100, *, before: int | None = None, job_id: UUID | None = None, key_id: str | None = None
    ) -> list[Audited]:
        """Newest first, from before the act `before` on: all, or those on one job, or by one key."""
        a = t.audit.c
        query = select(t.audit)
        if before is not None:
            query = query.where(a.audit_id < before)
        if job_id is not None:
            query = query.where(a.job_id == job_id)
        if key_id is not None:
            query = query.where(a.key_id == key_id)
        async with self.database.reading() as connection:
            rows = (await connection.execute(query.order_by(a.audit_id.desc()).limit(limit))).all()
        return [Audited(Act(r.key_id, r.action, r.tenant, r.data, r.job_id), r.at, r.audit_id) for r in rows]


async def write_act(connection: AsyncConnection, act: Act, now: datetime) -> None:
    await write_acts(connection, [act], now)


async def write_acts(connection: AsyncConnection, acts: Sequence[Act], now: datetime) -> None:
    if acts:
        columns = ("key_id", "action", "tenant", "job_id", "data")
        rows = [{"at": now, **{name: getattr(act, name) for name in columns}} for act in acts]
        await connection.execute(insert(t.audit), rows)
