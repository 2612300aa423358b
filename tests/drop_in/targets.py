"""Two things that a client of the upstream's document may be pointed at: the emulator, and the gateway in front of one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from app.emulator import EmulatorOptions, create_emulator
from tests.acceptance.stage import UPSTREAM_KEY, Stage, open_stage, serving
from tests.drop_in.document_client import DocumentClient, connected

FAST = {"run_seconds": (0.05, 0.1), "pending_seconds": 0.02}


@dataclass(frozen=True)
class Target:
    http: httpx.AsyncClient  #: without a key
    key: str
    others_key: str  #: of somebody else
    poor_key: str  #: of an account without credits

    @property
    def client(self) -> DocumentClient:
        return DocumentClient(self.http, self.key)

    @property
    def other(self) -> DocumentClient:
        return DocumentClient(self.http, self.others_key)

    @property
    def poor(self) -> DocumentClient:
        return DocumentClient(self.http, self.poor_key)


@asynccontextmanager
async def emulator_target() -> AsyncIterator[Target]:
    keys = {"sk-ours": 100_000, "sk-others": 100_000, "sk-poor": 0}
    async with serving(create_emulator(EmulatorOptions(keys=keys, **FAST))) as url, connected(url) as http:
        yield Target(http, *keys)


@asynccontextmanager
async def gateway_target(database_url: str) -> AsyncIterator[Target]:
    options = EmulatorOptions(keys={UPSTREAM_KEY: 100_000}, **FAST)
    async with open_stage(database_url, options, delivery_allow="127.0.0.1") as stage, connected(stage.url) as http:
        keys = [await key_of(stage, tenant) for tenant in ("acme", "others", "poor")]
        limits = {"monthly_credits": 4, "open_jobs_max": None, "requests_per_second": None}
        assert (await stage.api.put("/tenants/poor", json=limits)).status_code == 200
        yield Target(http, *keys)


async def key_of(stage: Stage, tenant: str, *scopes: str) -> str:
    """A new key of the tenant; without scopes, one that may read and write jobs."""
    body = {"tenant": tenant, "scopes": scopes or ("jobs:write", "jobs:read")}
    made = await stage.api.post("/keys", json=body)
    assert made.status_code == 201, made.text
    key: str = made.json()["key"]
    return key
