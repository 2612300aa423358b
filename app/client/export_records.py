"""An export's bytes, cut where records end, so that it can go on behind the last whole one."""

from __future__ import annotations

import csv
import io
import json
from itertools import pairwise
from typing import Any, Literal

from app.client.errors import UnexpectedAnswerError

ExportFormat = Literal["ndjson", "csv"]
RECORD_MAX = 1024 * 1024  #: bytes


class ExportRecords:
    """Takes the bytes of one export, over as many connections as it needs; `cursor` is where the next one goes on."""

    def __init__(self, export_format: ExportFormat) -> None:
        self._csv = export_format == "csv"
        self._rest = b""
        self._seen = 0  #: how much of `_rest` was searched for line ends
        self._quotes = 0  #: quotation marks in what was searched of the record: within a quoted field when odd
        self._last = b""
        self._header = b""
        self._header_is_next = self._csv

    @property
    def cursor(self) -> str | None:
        """Of the last whole record; None before the first, and where records carry none."""
        if not self._last:
            return None
        found = self._as_csv() if self._csv else _as_json(self._last)
        cursor = found.get("cursor")
        return cursor if isinstance(cursor, str) else None

    @property
    def is_nowhere(self) -> bool:
        """Records were whole, but do not say where they are: there is no going on behind them."""
        return bool(self._last) and self.cursor is None

    def again(self) -> None:
        """A new connection begins: half a record is forgotten, and a second header is not for the file."""
        self._rest, self._seen, self._quotes = b"", 0, 0
        self._header_is_next = self._csv

    def feed(self, chunk: bytes) -> bytes:
        """What is whole now.

        Raises:
            UnexpectedAnswerError: a record over `RECORD_MAX`.
        """
        self._rest += chunk
        records = whole = self._cut()
        if len(self._rest) > RECORD_MAX:
            raise UnexpectedAnswerError("a record of the export is too large")
        if records and self._header_is_next:
            header, *records = records
            whole = records if self._header else whole
            self._header, self._header_is_next = header, False
        if records:
            self._last = records[-1]
        return b"".join(whole)

    def finish(self) -> bytes:
        """The end came as it should: what is left is a last record without a line end."""
        return self.feed(b"\n") if self._rest else b""

    def _cut(self) -> list[bytes]:
        """The records that are whole: each ends with a line end that no quotation marks enclose."""
        ends = [0]
        while (found := self._rest.find(b"\n", self._seen)) >= 0:
            self._quotes += self._rest.count(b'"', self._seen, found) if self._csv else 0
            self._seen = found + 1
            if self._quotes % 2 == 0:
                ends.append(self._seen)
                self._quotes = 0
        records = [self._rest[begin:end] for begin, end in pairwise(ends)]
        self._rest, self._seen = self._rest[ends[-1] :], self._seen - ends[-1]
        return records

    def _as_csv(self) -> dict[str, str]:
        lines = (record.decode("utf-8-sig", "replace") for record in (self._header, self._last))
        names, values = (next(csv.reader(io.StringIO(line, newline=""))) for line in lines)
        return dict(zip(names, values, strict=False))


def _as_json(record: bytes) -> dict[str, Any]:
    try:
        found = json.loads(record)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
