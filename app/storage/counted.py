"""Counts that end at a limit, so that they cost no more however many there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import GenerativeSelect, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Counted:
    """How many were found, and whether there may be more."""

    found: int
    more: bool = False


def capped(found: int, limit: int) -> Counted:
    """Of a count that ended one past the limit."""
    return Counted(min(found, limit), found > limit)


def number_of(query: GenerativeSelect, limit: int) -> Select[Any]:
    """How many rows the query has, counted no further than one past the limit."""
    return select(func.count()).select_from(query.limit(limit + 1).subquery())


async def count_up_to(connection: AsyncConnection, query: GenerativeSelect, limit: int) -> Counted:
    return capped((await connection.execute(number_of(query, limit))).scalar_one(), limit)
