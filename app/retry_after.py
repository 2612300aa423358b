"""`Retry-After` (RFC 9110, 10.2.3), as whoever answers us writes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_DIGITS_MAX = 9  #: of seconds: some thirty years; more is as long as can be


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> timedelta | None:
    """How long the answer asks to wait: never less than nothing; None where it does not say, or nobody can read it.

    A date is read against the answer's own `Date`: no clock is needed, and a skewed one does no harm.

    Args:
        headers: of the answer, whatever the case of their names.
        now: what a date is read against where the answer has no `Date`; without it, such a date is None.
    """
    wanted = _header(headers, "retry-after") or ""
    if wanted.isascii() and wanted.isdecimal():
        return timedelta(seconds=int(wanted) if len(wanted) <= _DIGITS_MAX else 10**_DIGITS_MAX)
    until, said = http_date(wanted), _header(headers, "date")
    at = http_date(said) if said is not None else now
    return max(timedelta(0), until - at) if until is not None and at is not None else None


def http_date(text: str | None) -> datetime | None:
    """The instant of an HTTP date (RFC 9110, 5.6.7); None where it is none."""
    try:
        at = parsedate_to_datetime(text) if text else None
        return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _header(headers: Mapping[str, str], wanted: str) -> str | None:
    return next((value.strip() for name, value in headers.items() if name.lower() == wanted), None)
