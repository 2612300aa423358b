"""Spans on their way to a collector: OTLP over HTTP, in batches, beside the work. A collector that is down costs only spans."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from app.traces.open_telemetry import OpenTelemetryTraces

log = structlog.get_logger(__name__)


def exported_traces() -> OpenTelemetryTraces:
    """Spans that go where the environment says, by OpenTelemetry's own names.

    Raises:
        ValueError, RuntimeError, OSError: it says what cannot be.
    """
    return OpenTelemetryTraces(BatchSpanProcessor(SaidOnce(OTLPSpanExporter())))


class SaidOnce(SpanExporter):
    """Says when spans begin to get lost and when they get through again; the exporter itself would say it with every batch."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            log.warning("spans cannot be exported, and are lost until they can")
        if self._failing and not failed:
            log.info("spans are exported again")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)
