"""An export's file, through broken connections, without a record lost or doubled."""

from __future__ import annotations

from collections.abc import Sequence

from app.client.exchange import Exchange, require_type
from app.client.export_records import ExportFormat, ExportRecords
from app.client.refusal import is_worth_another_try
from app.client.steps import Emit, Flow, Head, Lost, Open, Pause, Read

MEDIA_TYPES: dict[ExportFormat, str] = {"ndjson": "application/x-ndjson", "csv": "text/csv"}
_CUT = Lost("the export ended before its last record", sent=True)


def exported(
    exchange: Exchange, export_format: ExportFormat, cursor: str | None, query: Sequence[tuple[str, str]]
) -> Flow[bytes]:
    """See `Calls.export`."""
    records, outage, place = ExportRecords(export_format), exchange.outage(), cursor
    while True:
        asked = [("format", export_format), *query, *([("cursor", place)] if place else [])]
        outcome: Head | Lost = yield Open(exchange.get("/jobs/export", asked, accept=MEDIA_TYPES[export_format]))
        records.begin(place)
        if isinstance(outcome, Head) and outcome.status == 200:
            require_type(outcome, MEDIA_TYPES[export_format])
            while isinstance(chunk := (yield Read()), bytes):
                if block := records.feed(chunk):
                    outage.is_over()
                    yield Emit(block)
            if records.is_complete(ended=chunk is None):
                return
            outcome, place = chunk or _CUT, records.cursor
        error = yield from exchange.why(outcome)
        if not is_worth_another_try(error):
            raise error
        yield Pause(outage.pause(error))
