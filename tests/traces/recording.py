"""Spans kept in memory, and what the tests ask of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.sampling import Sampler

from app.traces.open_telemetry import OpenTelemetryTraces

PATIENCE = 60  #: seconds that a test waits for a span before it fails


class Recording(SpanProcessor):
    """The spans that ended, in their order."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self._ended = asyncio.Event()

    def traces(self, sampler: Sampler | None = None) -> OpenTelemetryTraces:
        return OpenTelemetryTraces(self, sampler=sampler)

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)
        self._ended.set()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    async def some(self, name: str) -> list[ReadableSpan]:
        """The spans of this name, once there is one."""
        async with asyncio.timeout(PATIENCE):
            while not (found := self.named(name)):
                self._ended.clear()
                await self._ended.wait()
        return found

    def text(self) -> str:
        """Everything that an exporter would tell."""
        return "".join(span.to_json() for span in self.spans)


@dataclass
class Overheard(httpx.AsyncBaseTransport):
    """What the gateway sends upstream."""

    requests: list[httpx.Request] = field(default_factory=list)
    _network: httpx.AsyncHTTPTransport = field(default_factory=httpx.AsyncHTTPTransport)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return await self._network.handle_async_request(request)

    async def aclose(self) -> None:
        await self._network.aclose()


def place(span: ReadableSpan) -> tuple[int, int]:
    """Its trace and itself."""
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id


def linked(span: ReadableSpan) -> list[tuple[int, int]]:
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def facts(span: ReadableSpan) -> dict[str, Any]:
    return {name.removeprefix("gateway."): value for name, value in (span.attributes or {}).items()}
