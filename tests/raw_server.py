"""Raw TCP servers on loopback addresses that misbehave as they are told, and count what they received."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import pytest


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops in use: they report failures with different errors."""
    if sys.platform == "win32":
        return {"asyncio": asyncio.new_event_loop}
    import uvloop

    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass
class Conversation:
    """One connection, seen from the server."""

    server: RawServer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> bytes:
        """Read one whole request: what stayed unread would make the close a reset. It is counted once it is all there."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        whole = head + (await self.reader.readexactly(int(length[1])) if length else b"")
        self.server.requests.append(whole)
        return whole

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def client_left(self) -> None:
        """Return when the client has closed its side."""
        while await self.reader.read(1 << 16):
            pass

    async def client_left_within(self, seconds: float) -> bool:
        """Whether it did; the pace of a server that drips."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.client_left()
                return True
        return False


Script = Callable[[Conversation], Awaitable[None]]


@dataclass
class RawServer:
    """Plays `script` once for each connection, then closes it."""

    script: Script
    address: str
    port: int
    scheme: str = "http"
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    ended: asyncio.Queue[None] = field(default_factory=asyncio.Queue)

    @property
    def url(self) -> str:
        return self.url_of(self.address)

    def url_of(self, host: str) -> str:
        return f"{self.scheme}://{host}:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.script(Conversation(self, reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client left: every test says itself what it expects
        finally:
            writer.close()
            self.ended.put_nowait(None)


class Serve(Protocol):
    async def __call__(
        self, script: Script, *, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> RawServer: ...


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    running: list[asyncio.Server] = []
    conversations: set[asyncio.Task[None]] = set()

    async def start(
        script: Script, *, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> RawServer:
        server = RawServer(script, address, port, scheme="https" if tls else "http")

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(server.handle(reader, writer))
            conversations.add(task)
            task.add_done_callback(conversations.discard)

        listener = await asyncio.start_server(begin, address, port, ssl=tls, backlog=1024)
        running.append(listener)
        server.port = listener.sockets[0].getsockname()[1]
        return server

    yield start
    for listener in running:
        listener.close()
    for task in tuple(conversations):
        task.cancel()
    await asyncio.gather(*conversations, return_exceptions=True)
