"""Spans by OpenTelemetry. Imported only where tracing is on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

from app import __version__
from app.traces.spans import Fact, Span, Traces

log = structlog.get_logger(__name__)

SERVICE = "qwen-image-gateway"  #: the service's name, unless OTEL_SERVICE_NAME says another
LAST_SPANS = timedelta(seconds=2)  #: how long a stop waits until they are sent

_METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
_HEADER = "traceparent"
_W3C = TraceContextTextMapPropagator()


class OpenTelemetryTraces(Traces):
    """Hands ended spans to `processor`. What is not given is read from the environment, by OpenTelemetry's own names."""

    def __init__(self, processor: SpanProcessor, *, sampler: Sampler | None = None) -> None:
        # Not the global one: what libraries would write into spans nobody here has looked at.
        self._provider = TracerProvider(sampler=sampler, resource=_resource(), shutdown_on_exit=False)
        if self._provider.sampler not in (ALWAYS_ON, ALWAYS_OFF):
            self._provider.sampler = _WithItsRequest(self._provider.sampler)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("app", __version__)

    @contextmanager
    def request(self, traceparent: Sequence[str] = ()) -> Iterator[Span]:
        caller = _context(traceparent[0]) if len(traceparent) == 1 else Context()
        with self._open("HTTP", SpanKind.SERVER, context=caller) as span:
            yield span

    @contextmanager
    def work(self, name: str, *, caused_by: str | None, **facts: Fact) -> Iterator[Span]:
        with self._open(name, SpanKind.CLIENT, links=_links(caused_by), attributes=_attributes(facts)) as span:
            yield span

    def current(self) -> Span:
        return _Recorded(trace.get_current_span())

    async def aclose(self) -> None:
        # A thread of our own: the exporter may hang for longer than a stop may take, and nobody may wait for it at the exit.
        sending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        sending.start()
        await asyncio.to_thread(sending.join, LAST_SPANS.total_seconds())
        if sending.is_alive():
            log.warning("the last spans were not exported in time")

    @contextmanager
    def _open(
        self,
        name: str,
        kind: SpanKind,
        *,
        context: Context | None = None,
        links: Sequence[Link] = (),
        attributes: Attributes = None,
    ) -> Iterator[Span]:
        # Exceptions are not recorded: their texts may hold anything.
        opened = self._tracer.start_as_current_span(
            name, context, kind, attributes, links, record_exception=False, set_status_on_exception=False
        )
        with opened as span, structlog.contextvars.bound_contextvars(trace_id=_trace_id(span)):
            try:
                yield _Recorded(span)
            except BaseException as error:
                _Recorded(span).ended(type(error).__name__, failed=True)
                raise


class _Recorded(Span):
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, trace.set_span_in_context(self._span, Context()))
        return carrier.get(_HEADER)

    def note(self, **facts: Fact) -> None:
        self._span.set_attributes(_attributes(facts))

    def link(self, traceparent: str | None) -> None:
        for link in _links(traceparent):
            self._span.add_link(link.context)

    def ended(self, outcome: str, *, failed: bool) -> None:
        self.note(outcome=outcome)
        if failed:
            self._span.set_attribute("error.type", outcome)
            self._span.set_status(StatusCode.ERROR)

    def answered(self, method: str, route: str | None, status: int) -> None:
        method = method if method in _METHODS else "_OTHER"
        self._span.update_name(" ".join(("HTTP" if method == "_OTHER" else method, *([route] if route else []))))
        self._span.set_attribute("http.request.method", method)
        if route:
            self._span.set_attribute("http.route", route)
        if status:
            self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(StatusCode.ERROR)


class _WithItsRequest(Sampler):
    """Work is sampled where the request is that it is done for: of a job all is there, or nothing."""

    def __init__(self, otherwise: Sampler) -> None:
        self._otherwise = otherwise

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: trace.TraceState | None = None,
    ) -> SamplingResult:
        sampler = self._otherwise
        if links and not trace.get_current_span(parent_context).get_span_context().is_valid:
            sampler = ALWAYS_ON if links[0].context.trace_flags.sampled else ALWAYS_OFF
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"WithItsRequest{{{self._otherwise.get_description()}}}"


def _resource() -> Resource:
    named = OTELResourceDetector().detect().attributes.get(SERVICE_NAME)
    return Resource.create({SERVICE_NAME: named or SERVICE, SERVICE_VERSION: __version__})


def _context(traceparent: str) -> Context:
    """What does not fit the standard is nobody's trace. A caller's `tracestate` is not taken on: it is free text."""
    return _W3C.extract({_HEADER: traceparent}, Context())


def _links(traceparent: str | None) -> list[Link]:
    found: SpanContext = trace.get_current_span(_context(traceparent or "")).get_span_context()
    return [Link(found)] if found.is_valid else []


def _attributes(facts: Mapping[str, Fact]) -> dict[str, str | int]:
    return {f"gateway.{name}": value for name, value in facts.items() if value is not None}


def _trace_id(span: trace.Span) -> str:
    return trace.format_trace_id(span.get_span_context().trace_id)
