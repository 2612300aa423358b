"""Reads Server-Sent Events off an answer, as WHATWG HTML 9.2.6 says, and keeps what a browser would not show."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.jobs.event_stream import EventStream
from tests.acceptance.stage import PATIENCE

STREAM = {"Accept": "text/event-stream"}


@dataclass
class Piece:
    """Everything up to a blank line."""

    fields: dict[str, str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)

    @property
    def id(self) -> int | None:
        return int(self.fields["id"]) if "id" in self.fields else None

    @property
    def event(self) -> str | None:
        return self.fields.get("event")

    @property
    def data(self) -> Any:
        return json.loads(self.fields["data"])

    def take(self, line: str) -> None:
        name, _, value = line.partition(":")
        if not name:
            self.comments.append(value.strip())
            return
        assert name not in self.fields, "no piece of ours says anything twice"
        self.fields[name] = value.removeprefix(" ")


async def pieces(lines: AsyncIterator[str]) -> AsyncIterator[Piece]:
    piece = Piece()
    async for line in lines:
        if line:
            piece.take(line)
        else:
            yield piece
            piece = Piece()
    assert piece == Piece(), "the stream ended in the middle of a piece"


@asynccontextmanager
async def streaming(
    api: httpx.AsyncClient, job: dict[str, Any], last: object = None, **params: Any
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[Piece]]]:
    """A stream's answer and its pieces."""
    headers = {**STREAM, **({"Last-Event-ID": str(last)} if last is not None else {})}
    async with (
        asyncio.timeout(PATIENCE),
        api.stream("GET", f"/jobs/{job['id']}/events", headers=headers, params=params) as answer,
    ):
        yield answer, pieces(answer.aiter_lines())


async def told(api: httpx.AsyncClient, job: dict[str, Any], last: object = None, **params: Any) -> list[Piece]:
    """All that a stream tells, to its end."""
    async with streaming(api, job, last, **params) as (answer, stream):
        assert answer.status_code == 200, await answer.aread()
        return [piece async for piece in stream]


async def told_directly(stream: EventStream) -> AsyncIterator[Piece]:
    """The same off a stream that no server sends."""

    async def lines() -> AsyncIterator[str]:
        async for chunk in stream.body_iterator:
            assert isinstance(chunk, bytes)
            for line in chunk.decode().split("\n")[:-1]:
                yield line

    async for piece in pieces(lines()):
        yield piece
