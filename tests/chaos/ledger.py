"""All that the database holds in the end, read once, row by row, the same way from either database."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Table, select

from app.lifecycle.ownership import hash_token
from app.storage import tables as t
from app.storage.database import Database
from app.storage.database import database_url as parse_url
from tests.databases import run

_READ = (t.jobs, t.submissions, t.events, t.deliveries, t.delivery_attempts, t.images, t.usage_days, t.usage_entries)


@dataclass
class Ledger:
    """Rows as SQLAlchemy gives them; grouped by what asks for them."""

    jobs: dict[UUID, Row[Any]]
    submissions: dict[UUID, list[Row[Any]]]  #: by job, in the order of their numbers
    events: dict[UUID, list[Row[Any]]]  #: by job, the oldest first
    deliveries: dict[UUID, list[Row[Any]]]  #: by job
    attempts: dict[UUID, list[Row[Any]]]  #: by delivery
    images: dict[UUID, list[Row[Any]]]  #: by job
    usage: dict[str, int]  #: sums over all tenants and days
    by_token: dict[bytes, Row[Any]] = field(default_factory=dict)  #: the submissions, by the hash of their callback token

    def submission_of(self, task: dict[str, Any]) -> Row[Any] | None:
        """The submission that made this task of the emulator's."""
        return self.by_token.get(hash_token(task["callback_url"].rpartition("/")[2]))


def read_ledger(database_url: str) -> Ledger:
    found: dict[Table, list[Row[Any]]] = {}

    async def read() -> None:
        database = Database(parse_url(database_url))
        try:
            async with database.reading() as connection:
                for table in _READ:
                    query = select(table).order_by(*table.primary_key.columns)
                    found[table] = list((await connection.execute(query)).all())
        finally:
            await database.dispose()

    run(read)
    submissions = found[t.submissions]
    return Ledger(
        jobs={row.job_id: row for row in found[t.jobs]},
        submissions=_by("job_id", submissions),
        events=_by("job_id", found[t.events]),
        deliveries=_by("job_id", found[t.deliveries]),
        attempts=_by("delivery_id", found[t.delivery_attempts]),
        images=_by("job_id", found[t.images]),
        usage=_summed([*found[t.usage_days], *found[t.usage_entries]]),
        by_token={bytes(row.token_hash): row for row in submissions},
    )


def _by(name: str, rows: list[Row[Any]]) -> dict[UUID, list[Row[Any]]]:
    grouped: defaultdict[UUID, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        grouped[getattr(row, name)].append(row)
    return grouped


def _summed(rows: list[Row[Any]]) -> dict[str, int]:
    return {name: sum(row._mapping[name] for row in rows) for name in t.USAGE_FIGURES}
