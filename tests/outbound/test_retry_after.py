"""How long an answer asks to wait, whoever gave it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.retry_after import http_date, retry_after

NOW = datetime(2026, 11, 5, 12, 0, tzinfo=UTC)
TOLD = "Thu, 05 Nov 2026 12:00:00 GMT"
HOUR, NEVER = timedelta(hours=1), timedelta(seconds=10**9)


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("120", timedelta(seconds=120)),
        (" 0 ", timedelta(0)),
        ("999999999", timedelta(seconds=999_999_999)),
        ("9999999999", NEVER),
        ("1" * 5000, NEVER),
        ("Thu, 05 Nov 2026 13:00:00 GMT", HOUR),
        ("Thu, 05 Nov 2026 13:00:00 -0000", HOUR),
        ("Thu, 05 Nov 2026 14:00:00 +0100", HOUR),
        ("Thursday, 05-Nov-26 13:00:00 GMT", HOUR),
        ("Thu Nov  5 13:00:00 2026", HOUR),
        ("Thu, 05 Nov 2026 11:00:00 GMT", timedelta(0)),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("1e9", None),
        ("NaN", None),
        ("inf", None),
        ("١٢", None),
        ("１", None),
        ("²", None),
        ("Thu, 99 Nov 2026 13:00:00 GMT", None),
        ("Thu, 05 Nov 2026 13:00:00 +9999999999", None),
        ("Fri, 01 Jan 99999999999 00:00:00 GMT", None),
    ],
)
def test_it_is_read_in_seconds_and_as_a_date(text: str, wish: timedelta | None) -> None:
    assert retry_after({"retry-after": text, "date": TOLD}) == wish
    assert retry_after({"Retry-After": text}, now=NOW) == wish


def test_a_date_counts_from_the_answers_own_whatever_our_clock_says() -> None:
    asked = {"Retry-After": "Thu, 05 Nov 2026 13:00:00 GMT"}
    assert retry_after({**asked, "Date": TOLD}, now=NOW + timedelta(days=9)) == HOUR
    assert retry_after({**asked, "Date": "x"}, now=NOW) is None, "it has a clock, and nobody knows what it shows"
    assert retry_after(asked) is None
    assert retry_after({}) is None


@given(st.text(max_size=60) | st.text("WedThuNov05 :,+-0123456789GMT", max_size=40))
def test_whatever_it_says_nothing_breaks(text: str) -> None:
    for headers in ({"retry-after": text, "date": TOLD}, {"retry-after": text, "date": text}):
        wish = retry_after(headers, now=NOW)
        assert wish is None or timedelta(0) <= wish
    at = http_date(text)
    assert at is None or at.tzinfo is not None
