"""A few requests served beside other work, as `gateway worker --metrics-port` does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from app.cli.server import serving_beside

SOON = 20  #: seconds; what would hang for ever is a failure


class BrokenStartError(Exception):
    """What the app's start raises."""


async def told_of(broken: FastAPI) -> None:
    with pytest.raises(BrokenStartError):
        async with asyncio.timeout(SOON) as patience, serving_beside(broken, host="127.0.0.1", port=0):
            pytest.fail("nothing is served")
    assert not patience.expired()


async def test_it_serves_while_the_block_runs() -> None:
    async with asyncio.timeout(SOON), serving_beside(FastAPI(), host="127.0.0.1", port=0) as url, httpx.AsyncClient() as asking:
        assert (await asking.get(f"{url}/openapi.json")).status_code == 200


async def test_a_start_that_fails_is_told_and_not_waited_for() -> None:
    @asynccontextmanager
    async def broken(_: FastAPI) -> AsyncIterator[None]:
        raise BrokenStartError
        yield

    await told_of(FastAPI(lifespan=broken))


async def test_a_server_that_breaks_before_it_serves_is_told_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise BrokenStartError

    monkeypatch.setattr("uvicorn.Server.startup", broken)
    await told_of(FastAPI())
