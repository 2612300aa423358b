"""The place of a delivery in a list, opaque to callers and checked when it comes back."""

from __future__ import annotations

import base64
import binascii
import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.problems import FieldProblem, invalid
from app.storage.delivery_list import Key

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAYOUT = struct.Struct(">Bq16s")  #: version, microseconds since 1970, the delivery's id
_VERSION = 1


def write_cursor(key: Key) -> str:
    created_at, delivery_id = key
    packed = _LAYOUT.pack(_VERSION, (created_at - _EPOCH) // timedelta(microseconds=1), delivery_id.bytes)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_cursor(text: str) -> Key:
    """The place that the cursor names.

    Raises:
        Problem: 422, it is not one of ours.
    """
    try:
        packed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        version, microseconds, delivery_id = _LAYOUT.unpack(packed)
        if version != _VERSION:
            raise ValueError
        return _EPOCH + timedelta(microseconds=microseconds), UUID(bytes=delivery_id)
    except (ValueError, OverflowError, binascii.Error, struct.error, UnicodeEncodeError):
        raise invalid([FieldProblem(field="cursor", message="use next_cursor of an earlier page")]) from None
