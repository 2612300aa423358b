"""Whether the tenants' books balance, as `gateway doctor` tells it."""

from __future__ import annotations

from collections.abc import Iterator

from app.doctor.books import judge_books
from app.storage.balance import BalanceStore, Difference
from app.storage.database import Database
from app.storage.database import database_url as parse_url
from tests.databases import run


def unbalanced_books(database_url: str) -> Iterator[str]:
    """What the doctor says of them, unless they were compared and are in balance."""
    found: list[Difference | None] = []

    async def look() -> None:
        database = Database(parse_url(database_url))
        try:
            found.append(await BalanceStore(database).difference())
        finally:
            await database.dispose()

    run(look)
    finding = judge_books(found[0])
    if finding.found != "in balance":
        yield f"the doctor says: {finding}"
