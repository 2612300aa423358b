"""A server that says what it is told to say, byte for byte, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

JOB_ID = "0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f20"


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.target).query)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class StandIn:
    """Answers with the script's next line; one that ends in `HANG` is never finished. After the script it answers 418."""

    url: str
    script: list[bytes]
    asked: list[Asked] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)  #: a client hung up on an answer that hangs


HANG = b"\0hang"
DROP = b""


def answer(
    body: bytes | Mapping[str, Any] = b"", status: int = 200, *, content_type: str | None = "application/json", **headers: str
) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
        lines.append(f"Content-Length: {len(content)}")
    head = "\r\n".join([f"HTTP/1.1 {status} Whatever", "Connection: close", *lines])
    return head.encode() + b"\r\n\r\n" + content


def problem(status: int, code: str, detail: str = "Because.", errors: Any = None, **headers: str) -> bytes:
    body = {"type": "about:blank", "title": "T", "status": status, "detail": detail, "code": code, "request_id": "r-1"}
    content = body | ({"errors": errors} if errors else {})
    return answer(content, status, content_type="application/problem+json", **headers)


def chunked(*chunks: bytes, content_type: str, end: bool = True) -> bytes:
    """An answer of unknown length; without `end` it breaks off."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + (b"0\r\n\r\n" if end else b"")
    return answer(body, content_type=content_type, Transfer_Encoding="chunked")


def job(state: str = "queued", **fields: Any) -> dict[str, Any]:
    return {"id": JOB_ID, "state": state, "prompt": "A fox", "poll_after_ms": 1000, **fields}


@asynccontextmanager
async def standing_in(*script: bytes) -> AsyncIterator[StandIn]:
    server = await asyncio.start_server(lambda r, w: _converse(stand_in, r, w), "127.0.0.1", 0)
    stand_in = StandIn(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", list(script))
    async with server:
        yield stand_in


async def _converse(stand_in: StandIn, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        method, target, _ = first.split(" ")
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        stand_in.asked.append(Asked(method, target, headers, body))
        said = stand_in.script.pop(0) if stand_in.script else answer({"code": "script_over"}, 418)
        writer.write(said.removesuffix(HANG))
        await writer.drain()
        if said.endswith(HANG):
            await reader.read()
            stand_in.left.set()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
