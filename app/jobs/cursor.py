"""Cursors: the place of a job in a list, opaque to callers and checked when it comes back."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.job_query.filters import to_query
from app.problems import FieldProblem, Problem, invalid
from app.storage.job_filter import JobFilter
from app.storage.search import Key

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAYOUT = struct.Struct(">Bq16s6s")  #: version, microseconds since 1970, the job's id, a hash of the filters
_VERSION = 2  #: 1 had no hash


def write_cursor(key: Key, wanted: JobFilter) -> str:
    """The cursor of a place in the list that `wanted` makes; good for no other list."""
    created_at, job_id = key
    packed = _LAYOUT.pack(_VERSION, (created_at - _EPOCH) // timedelta(microseconds=1), job_id.bytes, _hash(wanted))
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_cursor(text: str, wanted: JobFilter) -> Key:
    """The place that the cursor names.

    Raises:
        Problem: 422, it is not one of ours, or of a list with other filters.
    """
    try:
        packed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        version, microseconds, job_id, filters = _LAYOUT.unpack(packed)
        if version != _VERSION:
            raise ValueError
        key = _EPOCH + timedelta(microseconds=microseconds), UUID(bytes=job_id)
    except (ValueError, OverflowError, binascii.Error, struct.error, UnicodeEncodeError):
        raise _refused("use next_cursor of an earlier page") from None
    if filters != _hash(wanted):
        raise _refused("use it with the filters of the page that it came from, or begin anew without it")
    return key


def _hash(wanted: JobFilter) -> bytes:
    return hashlib.sha256(to_query(wanted).encode()).digest()[:6]


def _refused(message: str) -> Problem:
    return invalid([FieldProblem(field="cursor", message=message)])
