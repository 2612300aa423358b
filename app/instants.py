"""Instants: where they are counted from, and how JSON has them, RFC 3339 with an offset.

Pydantic alone takes any number, quoted or not, for seconds since 1970.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  #: what instants are counted from

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def _written(value: object) -> datetime:
    try:
        if isinstance(value, str) and _RFC_3339.fullmatch(value):
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # no day of the calendar
    raise ValueError("write an instant as 2026-01-31T12:00:00Z, or with another offset")


#: In UTC.
Instant = Annotated[AwareDatetime, BeforeValidator(_written)]
