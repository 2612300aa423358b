"""A gateway over rows that the tests write themselves; nothing is sent upstream."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import insert

from app.storage import tables as t
from app.storage.database import Database
from tests.acceptance.stage import Stage, open_stage
from tests.listing.rows import START, add_tenants

ACME_KEY = "gw_test_acme_key_0123456789"


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with asyncio.timeout(60), open_stage(database_url) as opened:
        await opened.api.post("/dispatch/pause")
        yield opened


@pytest.fixture
async def acme_key(database: Database) -> str:
    """A key of acme's, which is no admin; umbrella is there too."""
    await add_tenants(database, "acme", "umbrella")
    row = {
        "key_id": "acme-1", "tenant": "acme", "name": "test", "scopes": ["jobs:read"], "created_at": START,
        "secret_hash": hashlib.sha256(ACME_KEY.encode()).digest(),
    }  # fmt: skip
    async with database.writing() as connection:
        await connection.execute(insert(t.api_keys), [row])
    return ACME_KEY
