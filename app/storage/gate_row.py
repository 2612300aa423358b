"""The gate's one row: taken under lock, so that permits hold over all replicas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.lifecycle.gate import Gate, Shut
from app.storage import tables as t
from app.storage.audit import Act, write_act
from app.storage.database import Database
from app.storage.literals import OPEN
from app.storage.types import Duration

_COLUMNS = [field.name for field in fields(Gate)]
_READ = select(t.gate).where(t.gate.c.gate_id == 1)
_LOCK = _READ.with_for_update()
_WRITE = update(t.gate).where(t.gate.c.gate_id == 1)  #: sets what it is run with


@dataclass(frozen=True, slots=True)
class GateStore:
    """Reads and changes the gate."""

    database: Database

    async def read(self) -> Gate:
        async with self.database.reading() as connection:
            return await read_gate(connection)

    async def change(self, how: Callable[[Gate, datetime], Gate], act: Act | None = None) -> tuple[Gate, Gate]:
        """Changes the gate under its lock; returns it before and after. An operator's act is on record with its change."""
        async with self.database.writing() as connection:
            gate = await lock_gate(connection)
            now = await self.database.now(connection)
            changed = how(gate, now)
            await write_gate(connection, gate, changed, now)
            if act is not None and changed != gate:
                await write_act(connection, act, now)
            return gate, changed


async def read_gate(connection: AsyncConnection) -> Gate:
    row = (await connection.execute(_READ)).one()
    return _gate(row)


async def lock_gate(connection: AsyncConnection) -> Gate:
    row = (await connection.execute(_LOCK)).one()
    return _gate(row)


async def write_gate(connection: AsyncConnection, before: Gate, after: Gate, now: datetime) -> None:
    """Writes the gate that the caller has locked.

    When the checks open again, all open submissions are excused for the time in which nobody could look.
    """
    if after == before:
        return
    values = {name: getattr(after, name) for name in _COLUMNS}
    await connection.execute(_WRITE, values)
    if before.checks_shut_at is not None and after.checks_shut is None:
        await _excuse(connection, before.checks_shut_at, now)


async def _excuse(connection: AsyncConnection, since: datetime, now: datetime) -> None:
    """Only what was sent before the checks were shut has lost time; nothing is sent while they are."""
    s = t.submissions.c
    wronged = OPEN & (s.sent_at <= since)
    # Held in the order in which `lives.lock` holds them, whatever order the UPDATE would take: else the two may deadlock.
    held = select(s.job_id).where(wronged).order_by(s.job_id, s.number).with_for_update().subquery()
    await connection.execute(select(func.count()).select_from(held))
    await connection.execute(
        update(t.submissions).where(wronged).values(excused=s.excused + bindparam("shut_for", now - since, Duration))
    )


def _gate(row: Row[Any]) -> Gate:
    values = {name: getattr(row, name) for name in _COLUMNS}
    shut, checks_shut = values.pop("shut"), values.pop("checks_shut")
    return Gate(
        **values, shut=Shut(shut) if shut else None, checks_shut=Shut(checks_shut) if checks_shut else None
    )  # fmt: skip
