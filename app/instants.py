"""Instants: where they are counted from, how they are written, RFC 3339 with an offset, and how JSON has them.

Pydantic alone takes any number, quoted or not, for seconds since 1970.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  #: what instants are counted from

DATE = r"\d{4}-\d\d-\d\d"
TIME = r"\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)"  #: with its offset
_RFC_3339 = re.compile(f"{DATE}[T ]{TIME}", re.ASCII | re.IGNORECASE)


def written(at: datetime, *, timespec: str = "auto") -> str:
    """In UTC, as `2026-01-31T12:00:00Z`."""
    return at.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def first_of_month(at: datetime) -> date:
    """Of the calendar month in UTC."""
    return at.astimezone(UTC).date().replace(day=1)


def _read(value: object) -> datetime:
    try:
        if isinstance(value, str) and _RFC_3339.fullmatch(value):
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # no day of the calendar
    raise ValueError("write an instant as 2026-01-31T12:00:00Z, or with another offset")


#: In UTC.
Instant = Annotated[AwareDatetime, BeforeValidator(_read)]
