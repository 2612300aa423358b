"""Cursors: the place of a row in a list, opaque to callers and checked when it comes back."""

from __future__ import annotations

import base64
import binascii
import struct
from datetime import datetime, timedelta
from uuid import UUID

from app.instants import EPOCH
from app.problems import FieldProblem, Problem, invalid

Place = tuple[datetime, UUID]  #: of a row in a list, newest first

_LAYOUT = struct.Struct(">Bq16s")  #: version, microseconds since 1970, the row's id


def write_cursor(place: Place, *, version: int = 1, more: bytes = b"") -> str:
    """The cursor of a place.

    Args:
        version: of what the list's cursors hold.
        more: what else a cursor of this version holds, of one length.
    """
    at, row_id = place
    packed = _LAYOUT.pack(version, (at - EPOCH) // timedelta(microseconds=1), row_id.bytes) + more
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_cursor(text: str, *, version: int = 1, more: int = 0) -> tuple[Place, bytes]:
    """The place that the cursor names, and the `more` bytes that it holds besides.

    Raises:
        Problem: 422, it is not one of ours.
    """
    try:
        packed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        found, microseconds, row_id = _LAYOUT.unpack(packed[: _LAYOUT.size])
        if found != version or len(packed) != _LAYOUT.size + more:
            raise ValueError
        return (EPOCH + timedelta(microseconds=microseconds), UUID(bytes=row_id)), packed[_LAYOUT.size :]
    except (ValueError, OverflowError, binascii.Error, struct.error, UnicodeEncodeError):
        raise refused() from None


def refused(message: str = "use next_cursor of an earlier page") -> Problem:
    return invalid([FieldProblem(field="cursor", message=message)])
