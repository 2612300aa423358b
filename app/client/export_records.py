"""An export's bytes, cut where records end, so that it can go on behind the last whole one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

from app.client.errors import UnexpectedAnswerError

ExportFormat = Literal["ndjson", "csv"]
RECORD_MAX = 1024 * 1024  #: bytes


class ExportRecords:
    """Takes the bytes of one export, over as many connections as it needs; `cursor` is where the next one goes on.

    Every record bears a cursor but the last one of a complete export. CSV has its header only where no cursor was asked for.
    """

    def __init__(self, export_format: ExportFormat) -> None:
        self._csv = export_format == "csv"
        self._rest = b""
        self._seen = 0  #: how much of `_rest` was searched for line ends
        self._quotes = 0  #: quotation marks in what was searched of the record: within a quoted field when odd
        self._header = b""
        self._header_is_next = False
        self._last = b""
        self._is_new = False  #: `_last` came over this connection
        self.cursor: str | None = None  #: of the last whole record that has one

    def begin(self, cursor: str | None) -> None:
        """A new connection, that asked for what is behind `cursor`. Half a record of the one before is forgotten."""
        self._rest, self._seen, self._quotes = b"", 0, 0
        self._header_is_next = self._csv and cursor is None
        self._is_new = False
        self.cursor = cursor

    def is_complete(self, *, ended: bool) -> bool:
        """Whether the export's last record is here.

        Args:
            ended: the answer came to its end, and did not break.
        """
        if self._is_new and (cursor := self._cursor_of_last()):
            self.cursor = cursor
            return False
        return self._is_new or ended

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
            whole = records if self._header else whole  # where it broke before the first record, the header came already
            self._header, self._header_is_next = header, False
        if records:
            self._last, self._is_new = records[-1], True
        return b"".join(whole)

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

    def _cursor_of_last(self) -> str | None:
        cursor = self._in_csv() if self._csv else _in_json(self._last)
        return cursor if isinstance(cursor, str) and cursor else None

    def _in_csv(self) -> str | None:
        """Under its name, or in the last column, where the header is on an earlier part of the file."""
        (values,) = _rows(self._last)
        names = next(_rows(self._header), [])
        return dict(zip(names, values, strict=False)).get("cursor") if names else values[-1]


def _rows(record: bytes) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(record.decode("utf-8-sig", "replace"), newline=""))


def _in_json(record: bytes) -> object:
    try:
        found = json.loads(record)
    except ValueError:
        return None
    return found.get("cursor") if isinstance(found, dict) else None
