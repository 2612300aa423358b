"""Spans that leave: they arrive at a collector, and one that is down or hangs holds up nobody."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app import __version__
from app.traces.environment import open_traces
from app.traces.export import SaidOnce
from tests.acceptance.stage import serving
from tests.crash.processes import Gateway, running, running_emulator

PATIENCE = 90  #: seconds


class Collector:
    """Takes in what is exported to it, by OTLP over HTTP."""

    def __init__(self) -> None:
        self.exported: list[ExportTraceServiceRequest] = []
        self.asked, self.answers = asyncio.Event(), asyncio.Event()
        self.answers.set()
        self.app = Starlette(routes=[Route("/v1/traces", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        assert request.headers["content-type"] == "application/x-protobuf"
        message = ExportTraceServiceRequest()
        message.ParseFromString(await request.body())
        self.asked.set()
        await self.answers.wait()
        self.exported.append(message)
        return Response(b"", media_type="application/x-protobuf")

    def names(self) -> list[str]:
        return [span.name for spans in self._scopes() for span in spans.spans]

    def trace_ids(self) -> set[str]:
        return {span.trace_id.hex() for spans in self._scopes() for span in spans.spans}

    def resources(self) -> list[dict[str, str]]:
        all_of = (resource for message in self.exported for resource in message.resource_spans)
        return [{pair.key: pair.value.string_value for pair in each.resource.attributes} for each in all_of]

    def _scopes(self) -> list:  # type: ignore[type-arg]
        return [scope for message in self.exported for each in message.resource_spans for scope in each.scope_spans]


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    made = Collector()
    async with serving(made.app) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        yield made
        made.answers.set()


async def test_a_job_of_a_served_gateway_arrives_at_the_collector(collector: Collector, tmp_path: Path) -> None:
    """Real processes: what the stop finds unsent is sent by it, and the log names the same traces."""
    stderr = await asyncio.to_thread(_a_job_from_start_to_stop, tmp_path)
    assert {"POST /jobs", "submit", "check", "POST /callbacks/{token}"} <= set(collector.names())
    for resource in collector.resources():
        assert (resource["service.name"], resource["service.version"]) == ("qwen-image-gateway", __version__)
    logged = [json.loads(line) for line in stderr if line.startswith("{")]
    accepted = next(line for line in logged if line["event"] == "accepted")
    assert accepted["trace_id"] in collector.trace_ids()


def _a_job_from_start_to_stop(directory: Path) -> list[str]:
    with running_emulator(directory) as emulator:
        gateway = Gateway(directory, emulator, log_format="json")
        arguments = ["-m", "app", "serve", "--port", str(gateway.port)]
        with running(arguments, gateway.environment, directory) as process:
            process.said(process.stderr, "listening on")
            job = gateway.accept("A red fox")
            assert job is not None
            assert gateway.settled(job)["state"] == "succeeded"
            gateway.close()
            process.terminate()
            assert process.ended(PATIENCE) == 0
            return process.stderr


async def test_a_stop_does_not_wait_for_a_collector_that_hangs(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3600")
    collector.answers.clear()
    traces = open_traces()
    with traces.work("submit", caused_by=None):
        pass
    async with asyncio.timeout(PATIENCE):
        await traces.aclose()
        await collector.asked.wait()
    [sending] = _last_spans()
    assert sending.daemon  # it would have ended, had the stop waited for the collector
    collector.answers.set()
    await asyncio.to_thread(sending.join, PATIENCE)
    assert collector.names() == ["submit"]


async def test_a_collector_that_is_down_harms_nothing(monkeypatch: pytest.MonkeyPatch, unused_url: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", unused_url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    traces = open_traces()
    for _ in range(3000):  # more than the queue of spans to send holds
        with traces.work("submit", caused_by=None) as span:
            span.ended("accepted", failed=False)
    async with asyncio.timeout(PATIENCE):
        await traces.aclose()
    for sending in _last_spans():  # it draws random pauses: not beside the tests that come next
        await asyncio.to_thread(sending.join, PATIENCE)
        assert not sending.is_alive()


def _last_spans() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "last spans"]


def test_that_spans_are_lost_is_said_once_and_that_they_are_no_longer_too() -> None:
    down, up = SpanExportResult.FAILURE, SpanExportResult.SUCCESS
    exporter = SaidOnce(Answering([up, down, down, up, up, down]))
    with structlog.testing.capture_logs() as logged:
        assert [exporter.export([]) for _ in range(6)] == [up, down, down, up, up, down]
    lost, back = "spans cannot be exported, and are lost until they can", "spans are exported again"
    assert [line["event"] for line in logged] == [lost, back, lost]


class Answering(SpanExporter):
    def __init__(self, results: list[SpanExportResult]) -> None:
        self._results = iter(results)

    def export(self, spans: object) -> SpanExportResult:
        return next(self._results)


@pytest.fixture
def unused_url() -> Iterator[str]:
    """Where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
