"""What operators did: one row an act, written in the transaction of the change that it tells."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class AuditStore:
    database: Database

    async def write(self, act: Act) -> None:
        """For an act whose change has no transaction of its own; others use `write_act`."""
        async with self.database.writing() as connection:
            await write_act(connection, act, await self.database.now(connection))

    async def newest(self, limit: int = 100) -> list[Audited]:
        """Newest first."""
        a = t.audit.c
        query = select(a.key_id, a.action, a.tenant, a.data, a.job_id, a.at).order_by(a.audit_id.desc()).limit(limit)
        async with self.database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [Audited(Act(r.key_id, r.action, r.tenant, r.data, r.job_id), r.at) for r in rows]


async def write_act(connection: AsyncConnection, act: Act, now: datetime) -> None:
    row = {"at": now, "key_id": act.key_id, "action": act.action, "tenant": act.tenant, "job_id": act.job_id, "data": act.data}
    await connection.execute(insert(t.audit), [row])
