"""Every request asks the database who is calling, and those that come together share one statement."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from app.access.api_key import make_key
from app.access.callers import Access
from app.access.last_use import LastUse
from app.access.scope import Scope
from app.storage.database import Database
from app.storage.keys import KeyStore
from tests.databases import OpenDatabase


@pytest.fixture
async def access(database: Database) -> AsyncIterator[Access]:
    opened = Access(KeyStore(database))
    yield opened
    await opened.drained()


async def new_key(access: Access) -> tuple[str, str]:
    """A key, and its id."""
    key, stored = await make_key(access.keys, tenant="acme", name="", scopes=[Scope.JOBS_READ], expires_at=None, by="someone")
    return key, stored.key_id


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What asks for keys while the block runs."""
    seen: list[str] = []

    def note(_c: object, _k: object, statement: str, *_: object) -> None:
        if "api_keys" in statement:
            seen.append(statement)

    for engine in database.engines:
        event.listen(engine, "before_cursor_execute", note)
    yield seen
    for engine in database.engines:
        event.remove(engine, "before_cursor_execute", note)


async def test_callers_that_come_together_share_a_statement_and_get_their_own_answers(
    access: Access, database: Database
) -> None:
    keys = [(await new_key(access))[0] for _ in range(5)]
    asked = [*keys, "gw_unknown", ""] * 20
    with statements(database) as seen:
        found = await asyncio.gather(*(access.caller(key) for key in asked))
    ids = [caller.key_id if caller else None for caller in found]
    assert ids == [*(key.split("_")[1] for key in keys), None, None] * 20
    assert len(seen) == 1


async def test_nothing_is_remembered_of_a_key_from_one_request_to_the_next(
    access: Access, database_url: str, open_database: OpenDatabase
) -> None:
    key, key_id = await new_key(access)
    elsewhere = Access(KeyStore(open_database(database_url)))
    for _ in range(3):
        assert await elsewhere.caller(key) is not None
    await access.keys.revoke(key_id, by="someone")
    assert await elsewhere.caller(key) is None
    assert await access.caller(key) is None
    await elsewhere.drained()


async def test_a_caller_that_hangs_up_does_not_disturb_those_who_came_with_it(access: Access) -> None:
    key, _ = await new_key(access)
    asking = [asyncio.create_task(access.caller(key)) for _ in range(10)]
    await asyncio.sleep(0)
    asking[0].cancel()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert None not in found[1:]
    assert not [other for other in found[1:] if isinstance(other, BaseException)]


async def test_a_use_is_noted_once_a_minute_and_written_by_the_next_sweep(access: Access) -> None:
    _, key_id = await new_key(access)
    seconds = [100.0]
    last_use = LastUse(access.keys, clock=lambda: seconds[-1])
    last_use.note(key_id)
    await last_use.sweep()
    first = await access.keys.find(key_id)
    assert first is not None
    assert first.last_used_at is not None
    for later in (100.1, 159.9):
        seconds.append(later)
        last_use.note(key_id)
        assert last_use._unwritten == set()
    seconds.append(160.0)
    last_use.note(key_id)
    assert last_use._unwritten == {key_id}
    await last_use.sweep()
    assert await access.keys.find(key_id) == first, "the database holds to its own minute"


async def test_a_use_that_cannot_be_written_is_let_go(open_database: OpenDatabase, sqlite_url: str) -> None:
    database = open_database(sqlite_url)
    last_use = LastUse(KeyStore(database))
    last_use.note("k1")
    async with database.writing() as connection:
        await connection.exec_driver_sql("ALTER TABLE api_keys RENAME TO elsewhere")
    with pytest.raises(Exception, match="api_keys"):
        await last_use.sweep()
    await last_use.sweep()
