"""Callers with keys of every kind, all of the tenant acme."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import httpx

from tests.acceptance.stage import Stage, client

TENANT = "acme"


class Keyring:
    """Makes keys by `POST /keys`, and clients that hold them."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._stack = stage, AsyncExitStack()

    async def __aenter__(self) -> Keyring:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def make(self, *scopes: str, tenant: str = TENANT, **fields: Any) -> dict[str, Any]:
        """What `POST /keys` answered."""
        answer = await self._stage.api.post("/keys", json={"tenant": tenant, "scopes": scopes, **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def holder(self, key: str | None) -> httpx.AsyncClient:
        return await self._stack.enter_async_context(client(self._stage.url, key))

    async def caller(self, *scopes: str, tenant: str = TENANT) -> httpx.AsyncClient:
        return await self.holder((await self.make(*scopes, tenant=tenant))["key"])
