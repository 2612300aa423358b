"""Raw TCP servers on any loopback address that misbehave as they are told, and certificates for their names."""

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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops in use: they report failures with different errors."""
    if sys.platform == "win32":
        return {"asyncio": asyncio.new_event_loop}
    import uvloop

    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


DEADLINE = timedelta(seconds=30)  #: where it must not run out
SHORT = timedelta(milliseconds=300)  #: where it must, whatever came before
SOON = timedelta(seconds=2)  #: where it must, but only after what a busy machine is given time for: a connection, a head


@dataclass
class Conversation:
    """One connection, seen from the server."""

    server: RawServer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> bytes:
        """Read one whole request: what stayed unread would make the close a reset."""
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

        listener = await asyncio.start_server(begin, address, port, ssl=tls)
        running.append(listener)
        server.port = listener.sockets[0].getsockname()[1]
        return server

    yield start
    for listener in running:
        listener.close()
    for task in tuple(conversations):
        task.cancel()
    await asyncio.gather(*conversations, return_exceptions=True)


def answers(status: str = "200 OK", body: bytes = b"", *headers: str) -> Script:
    """Reads a request and gives one whole answer."""

    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(http(status, body, *headers))

    return script


def http(status: str = "200 OK", body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass(frozen=True)
class Certificate:
    """Of hooks.example, signed by itself."""

    server: ssl.SSLContext
    client: ssl.SSLContext  #: trusts it


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    path = _self_signed(tmp_path_factory.mktemp("tls") / "hooks.pem", "hooks.example")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return Certificate(server, ssl.create_default_context(cafile=str(path)))


def _self_signed(path: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path
