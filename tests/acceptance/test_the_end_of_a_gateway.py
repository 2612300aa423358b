"""What was handed over before a gateway ends is on disk afterwards, however it ends."""

from __future__ import annotations

import asyncio

import pytest

from app.access.callers import Caller
from app.jobs.job_request import JobRequest
from app.opening import open_gateway
from app.settlement.settle import Settlement
from tests.acceptance.stage import settings_for
from tests.databases import OpenDatabase
from tests.storage.factory import all_lives

PATIENCE = 20  #: seconds; far above the grace under test
CALLER = Caller("design", "3fb1c2d4", frozenset())


class BrokenOffError(Exception):
    """What breaks the block off."""


@pytest.mark.parametrize("with_duties", [True, False])
async def test_a_job_that_is_being_accepted_when_the_block_raises_is_written_first(
    database_url: str, open_database: OpenDatabase, with_duties: bool
) -> None:
    accepting: list[asyncio.Task[object]] = []
    with pytest.raises(BrokenOffError):
        async with open_gateway(settings_for(database_url), with_duties=with_duties) as gateway:
            order = [JobRequest(prompt="A red fox")]
            accepting.append(asyncio.create_task(gateway.intake.accept(order, CALLER, None)))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            raise BrokenOffError
    assert accepting[0].done()
    [life] = await all_lives(open_database(database_url))
    assert life.job.tenant == "design"


@pytest.mark.parametrize("with_duties", [True, False])
async def test_what_cannot_be_written_down_holds_up_a_stop_once_and_only_so_long(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, with_duties: bool
) -> None:
    asked = list[Settlement]()

    async def hang(settlement: Settlement) -> None:
        asked.append(settlement)
        await asyncio.Future()

    monkeypatch.setattr(Settlement, "drained", hang)
    monkeypatch.setattr("app.opening.DRAIN_GRACE", 0.05)
    async with asyncio.timeout(PATIENCE) as patience:
        async with open_gateway(settings_for(sqlite_url), with_duties=with_duties):
            pass
    assert not patience.expired()
    assert len(asked) == 1
