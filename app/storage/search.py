"""Finds jobs by a filter, newest first, at a cost that does not grow with the number of jobs.

Every filter is led by one index that is walked in the order of the list. What the index cannot answer is tested job by job, on
a bounded number of jobs a page: such a page may be short, or empty, and still not the last.

The statements leave the planner no choice. Asked plainly for twenty jobs with a word, it may walk all of history by its dates;
a test inside a scalar subquery is done by the primary key on the rows of a limited walk, whatever the statistics say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    Tuple,
    Uuid,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from app.lifecycle.job import Life
from app.lifecycle.states import JobState
from app.storage import tables as t
from app.storage.counted import Counted, count_up_to
from app.storage.job_filter import JobFilter
from app.storage.literals import literal_of
from app.storage.lives import lives_of
from app.storage.types import Instant

Key = tuple[datetime, UUID]  #: the place of a job in a list, newest first

LOOKED_AT_MAX = 20_000  #: jobs that one page may test
OWNERS_MAX = 50  #: tenants whose walks are merged for whoever asks over all tenants

#: Only scans in the order of an index can stop at the limit. Where PostgreSQL thinks that few rows fit, or that most do, it
#: would fetch and sort all of them, and it may be wrong by far. Good for the transaction.
_IN_ORDER = "SELECT set_config('enable_bitmapscan', 'off', true), set_config('enable_seqscan', 'off', true)"
_STRETCH = 250  #: jobs tested by the first statement of a walk; each further one takes four times as many
_FIRST = UUID(int=0)
_WITH_ERROR = (JobState.FAILED, JobState.CANCELED)


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of the list. `next` is where to go on behind; None when nothing more can come."""

    lives: list[Life]
    next: Key | None


@dataclass(frozen=True, slots=True)
class _Route:
    """Walks of one index each, which together pass every wanted job; and what is left to test on what they pass."""

    walks: list[Select[Any]]
    rest: JobFilter


async def search(
    connection: AsyncConnection, wanted: JobFilter, *, limit: int, after: Key | None = None, look_at: int = LOOKED_AT_MAX
) -> Page:
    """Up to `limit` wanted jobs, newest first, from behind `after` on; at most `look_at` jobs are tested."""
    route_from = await _way(connection, wanted, after)
    if route_from is None:
        return Page([], None)
    route = route_from(after)
    if route.rest == JobFilter():
        return await _read(connection, route.walks, limit)
    return await _walk(connection, route_from, after, limit, look_at)


async def count(connection: AsyncConnection, wanted: JobFilter, *, at_most: int, look_at: int = LOOKED_AT_MAX) -> Counted:
    """How many jobs are wanted, counted no further than `at_most`; at most `look_at` jobs are tested."""
    route_from = await _way(connection, wanted, None)
    if route_from is None:
        return Counted(0, more=False)
    route = route_from(None)
    if route.rest == JobFilter():
        return await count_up_to(connection, _merged(route.walks, at_most + 1), at_most)
    return await _count_by_looking(connection, route_from, at_most, look_at)


def key_of(life: Life) -> Key:
    return life.job.created_at, life.job.job_id


# --- the index that leads --------------------------------------------------------------------------------------------------


async def _way(connection: AsyncConnection, wanted: JobFilter, after: Key | None) -> Callable[[Key | None], _Route] | None:
    """The route from any place on; None where nothing can be found. Prepares the transaction for walks."""
    if wanted.error_code is not None:
        states = tuple(s for s in _WITH_ERROR if not wanted.states or s in wanted.states)
        if not states:
            return None
        wanted = replace(wanted, states=states)
    if connection.dialect.name == "postgresql":
        await connection.exec_driver_sql(_IN_ORDER)
    owners = await _owners(connection, wanted, after)
    if not _route(wanted, after, owners).walks:
        return None
    return lambda end: _route(wanted, end, owners)


def _route(wanted: JobFilter, after: Key | None, owners: Sequence[str]) -> _Route:
    """By the filter that leaves the fewest jobs. Without knowing the tenant, a key or a pair leads only if few have it."""
    rest = replace(wanted, created_after=None, created_before=None)
    tenants = [wanted.tenant] if wanted.tenant is not None else owners
    if wanted.task_id is not None:
        return _Route([_of_task(wanted, after, wanted.task_id)], replace(rest, task_id=None))
    if _led_by_tenant(wanted) and len(tenants) <= OWNERS_MAX:
        walks = [walk for name in tenants for walk in _of_tenant(wanted, after, literal(name))]
        by_key = wanted.idempotency_key is not None
        return _Route(
            walks,
            replace(rest, tenant=None, idempotency_key=None, metadata=wanted.metadata if by_key else wanted.metadata[1:]),
        )
    walks = [_newest(wanted, after, state) for state in dict.fromkeys(wanted.states)] or [_newest(wanted, after)]
    return _Route(walks, replace(rest, tenant=None, states=()))


def _led_by_tenant(wanted: JobFilter) -> bool:
    """Whether the best index is one that begins with the tenant, and is worth asking each tenant for."""
    return wanted.task_id is None and (wanted.idempotency_key is not None or bool(wanted.metadata))


async def _owners(connection: AsyncConnection, wanted: JobFilter, after: Key | None) -> Sequence[str]:
    """The tenants that have such a key or pair, where no tenant is named; counted no further than one too many."""
    if wanted.tenant is not None or not _led_by_tenant(wanted):
        return []
    first = [walk.with_only_columns(walk.selected_columns.job_id).limit(1) for walk in _of_tenant(wanted, after, _TENANT)]
    query = select(_TENANT).where(or_(*(walk.scalar_subquery().is_not(None) for walk in first))).limit(OWNERS_MAX + 1)
    return (await connection.execute(query)).scalars().all()


def _of_task(wanted: JobFilter, after: Key | None, task_id: str) -> Select[Any]:
    s = t.submissions.c
    job_id = select(s.job_id).where(s.task_id == task_id).scalar_subquery()
    return _window(t.jobs, wanted, after).where(t.jobs.c.job_id == job_id)


def _of_tenant(wanted: JobFilter, after: Key | None, tenant: ColumnElement[str]) -> list[Select[Any]]:
    """One tenant's jobs with the key, as its own or as its batch's; or with the first of the pairs."""
    j, m, key = t.jobs.c, t.job_metadata.c, wanted.idempotency_key
    if key is None:
        name, value = wanted.metadata[0]
        return [_window(t.job_metadata, wanted, after).where(m.tenant == tenant, m.key == name, m.value == value)]
    jobs = _window(t.jobs, wanted, after).where(j.tenant == tenant)
    of_batch = jobs.where(j.batch_key == key, j.batch_key.is_not(None), j.idempotency_key.is_distinct_from(key))
    return [jobs.where(j.idempotency_key == key), of_batch]


def _newest(wanted: JobFilter, after: Key | None, state: JobState | None = None) -> Select[Any]:
    j = t.jobs.c
    if wanted.tenant is not None:
        query = _window(t.jobs, wanted, after, first=j.tenant).where(j.tenant == _only(literal(wanted.tenant)))
        return query if state is None else query.where(j.state == literal_of(state))
    if state is not None:
        return _window(t.jobs, wanted, after, first=j.state).where(j.state == _only(literal_of(state)))
    return _window(t.jobs, wanted, after)


def _window(table: Table, wanted: JobFilter, after: Key | None, first: ColumnElement[Any] | None = None) -> Select[Any]:
    """The places of a table's rows in the order of the list, within the times that are wanted.

    Row values keep a deep page as cheap as the first; only the times are compared alone, since a row value does not end a walk.
    """
    created_at, job_id = table.c.created_at, table.c.job_id
    query = select(created_at, job_id).order_by(
        *([first.desc()] if first is not None else []), created_at.desc(), job_id.desc()
    )
    ends = [after] if after is not None else []
    ends += [(wanted.created_before, _FIRST)] if wanted.created_before is not None else []
    if ends:
        query = query.where(tuple_(created_at, job_id) < _place(min(ends)))
    if wanted.created_after is not None:
        query = query.where(created_at >= literal(wanted.created_after, Instant))
    return query


def _place(key: Key) -> Tuple:
    return tuple_(literal(key[0], Instant), literal(key[1], Uuid))


class _only(FunctionElement[Any]):  # noqa: N801 - reads as a word at its use
    """`column == _only(value)`, of the column that an index begins with, leaves PostgreSQL no other index to walk.

    A column that equals a constant is in any order to it, so that `jobs_newest`, whose rows lie side by side, looks best for a
    tenant with a hundredth of all jobs; if these are long ago, the walk passes millions of others' first. Of an array of one
    it does not know that, and only an index that begins with the column has the order asked for.
    """

    inherit_cache = True


@compiles(_only)
def _value(element: _only, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(_only, "postgresql")
def _array_of_one(element: _only, compiler: SQLCompiler, **options: Any) -> str:
    return f"ANY (ARRAY[{compiler.process(element.clauses, **options)}])"


def _merged(walks: Sequence[Select[Any]], limit: int) -> Select[Any]:
    """The newest places of several walks: an index walked for each, where `IN` would sort all that ever was in them."""
    if len(walks) == 1:
        return walks[0].limit(limit)
    all_of_them = union_all(*(select(walk.limit(limit).subquery()) for walk in walks)).subquery()
    return select(all_of_them).order_by(all_of_them.c.created_at.desc(), all_of_them.c.job_id.desc()).limit(limit)


# --- where the index answers all -------------------------------------------------------------------------------------------


async def _read(connection: AsyncConnection, walks: Sequence[Select[Any]], limit: int) -> Page:
    lives = await lives_of(connection, (await connection.execute(_jobs(walks, limit + 1))).all())
    return _cut(lives, limit, None)


def _jobs(walks: Sequence[Select[Any]], limit: int) -> Select[Any]:
    if len(walks) == 1 and walks[0].get_final_froms() == [t.jobs]:
        return walks[0].with_only_columns(*t.jobs.c).limit(limit)
    places = _merged(walks, limit).subquery()
    j = t.jobs.c
    return select(t.jobs).where(j.job_id.in_(select(places.c.job_id))).order_by(j.created_at.desc(), j.job_id.desc())


def _cut(lives: list[Life], limit: int, end: Key | None) -> Page:
    """The page of what was found; one job more than the limit says that there is more."""
    return Page(lives[:limit], key_of(lives[limit - 1])) if len(lives) > limit else Page(lives, end)


# --- where jobs must be looked at ------------------------------------------------------------------------------------------


async def _walk(
    connection: AsyncConnection, route_from: Callable[[Key | None], _Route], after: Key | None, limit: int, look_at: int
) -> Page:
    """Tests stretch after stretch until the page is full: a common word is found in the first, at little cost."""
    lives: list[Life] = []
    end = after
    for size in _stretches(look_at):
        found, end = await _test(connection, route_from(end), size, limit + 1 - len(lives))
        lives += found
        if len(lives) > limit or end is None:
            break
    return _cut(lives, limit, end)


async def _count_by_looking(
    connection: AsyncConnection, route_from: Callable[[Key | None], _Route], at_most: int, look_at: int
) -> Counted:
    found, end = 0, None
    for size in _stretches(look_at):
        rows, end = await _tested(connection, route_from(end), size, at_most + 1 - found, t.jobs.c.created_at, t.jobs.c.job_id)
        found += len(rows)
        if found > at_most or end is None:
            break
    return Counted(min(found, at_most), more=found > at_most or end is not None)


def _stretches(look_at: int) -> Iterator[int]:
    size = _STRETCH
    while look_at > 0:
        yield min(size, look_at)
        look_at -= size
        size *= 4


async def _test(connection: AsyncConnection, route: _Route, size: int, limit: int) -> tuple[list[Life], Key | None]:
    """The jobs that fit among the next `size` ones, and the place of the last of these; None where the walks end."""
    rows, end = await _tested(connection, route, size, limit, t.jobs)
    return await lives_of(connection, rows), end


async def _tested(
    connection: AsyncConnection, route: _Route, size: int, limit: int, *columns: Any
) -> tuple[list[Row[Any]], Key | None]:
    statement = _stretch(route, size, limit, *columns, sqlite=connection.dialect.name == "sqlite")
    rows = (await connection.execute(statement)).all()
    ends = [(row.created_at, row.job_id) for row in rows if row.looked_at == size]
    return [row for row in rows if not row.looked_at], ends[0] if ends else None


def _stretch(route: _Route, size: int, limit: int, *columns: Any, sqlite: bool) -> Select[Any]:
    """One statement, so that what comes in meanwhile cannot move the end: the jobs that fit, and the last one looked at."""
    j, tested = t.jobs.c, t.jobs.alias("tested").c
    looked = _merged(route.walks, size).cte("looked").prefix_with("MATERIALIZED")
    fits: Select[Any] = select(literal_column("1")).where(tested.job_id == looked.c.job_id, *_tests(tested, route.rest, sqlite))
    fitting = select(looked.c.job_id, literal_column("0").label("looked_at")).where(fits.scalar_subquery().is_not(None))
    fitting = fitting.order_by(looked.c.created_at.desc(), looked.c.job_id.desc()).limit(limit)
    count = select(func.count()).select_from(looked.alias("counted")).scalar_subquery()
    last = select(looked.c.job_id, count.label("looked_at")).order_by(looked.c.created_at, looked.c.job_id).limit(1)
    places = union_all(select(fitting.subquery("fitting")), select(last.subquery("last"))).subquery("places")
    query = select(*columns, places.c.looked_at).join_from(places, t.jobs, j.job_id == places.c.job_id)
    return query.order_by(j.created_at.desc(), j.job_id.desc())


def _tests(j: Any, rest: JobFilter, sqlite: bool) -> Iterator[ColumnElement[bool]]:
    """Each is about one row of `jobs`. What the walks have seen to is not in `rest`."""
    if rest.tenant is not None:
        yield j.tenant == rest.tenant
    if rest.states:
        yield j.state.in_([literal_of(state) for state in rest.states])
    if rest.idempotency_key is not None:
        yield or_(j.idempotency_key == rest.idempotency_key, j.batch_key == rest.idempotency_key)
    if rest.completed_via is not None:
        yield j.completed_via == rest.completed_via.value
    if rest.error_code is not None:
        yield j.error_code == rest.error_code.value
    for key, value in rest.metadata:
        m = t.job_metadata.c
        yield select(m.value).where(m.job_id == j.job_id, m.key == key).scalar_subquery() == value
    for word in rest.words:
        yield _has(j.prompt, word, sqlite)


def _has(prompt: ColumnElement[str], word: str, sqlite: bool) -> ColumnElement[bool]:
    """Whether the word occurs, in capitals or not, in any script.

    Each letter is spelled in all its cases: PostgreSQL's ILIKE knows only those of the database's locale, SQLite's LIKE only
    those of ASCII.
    """
    if sqlite:
        return prompt.bool_op("GLOB")("*" + "".join(_any_case(c) or (f"[{c}]" if c in "*?[" else c) for c in word) + "*")
    return prompt.bool_op("~")("".join(_any_case(c) or (f"\\{c}" if c.isascii() and not c.isalnum() else c) for c in word))


def _any_case(character: str) -> str:
    """A class of the character in all its cases; empty where it has but one."""
    cases = {character}
    for _ in range(2):  # a final sigma has the capital of an ordinary one
        cases |= {other for c in cases for other in (c.lower(), c.upper()) if len(other) == 1}
    return f"[{''.join(sorted(cases))}]" if len(cases) > 1 else ""


_TENANT = t.tenants.c.name
