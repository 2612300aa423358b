"""`face` opens a client; every test that takes it runs without and with asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.acceptance.stage import Stage, open_stage
from tests.client.faces import AsyncFace, Faces, SyncFace, faces_of


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Faces:
    return faces_of(request.param)


@pytest.fixture
async def stage(sqlite_url: str) -> AsyncIterator[Stage]:
    async with open_stage(sqlite_url) as opened:
        yield opened
