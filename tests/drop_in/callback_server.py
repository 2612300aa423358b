"""A web server of the client's, which the API calls back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.acceptance.stage import serving

PATIENCE = 60  #: seconds that a test waits for a callback before it fails


@dataclass(frozen=True)
class Callback:
    path: str
    content_type: str
    body: Any


@dataclass
class CallbackServer:
    url: str = ""
    received: asyncio.Queue[Callback] = field(default_factory=asyncio.Queue)

    async def next(self) -> Callback:
        async with asyncio.timeout(PATIENCE):
            return await self.received.get()

    async def receive(self, request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        await self.received.put(Callback(request.url.path, content_type, await request.json()))
        return Response(status_code=200)


@asynccontextmanager
async def callback_server() -> AsyncIterator[CallbackServer]:
    server = CallbackServer()
    app = Starlette(routes=[Route("/{path:path}", server.receive, methods=["POST"])])
    async with serving(app) as server.url:
        yield server
