"""Figures and instants in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.console.words import ago, count, instant, machine_time, number, plain, share, span
from app.stats.views import CountView

NOON = datetime(2026, 11, 8, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"), (-3, "0 ms"), (0.25, "250 ms"), (0.949, "949 ms"), (1.44, "1.4 s"), (9.94, "9.9 s"),
        (38.4, "38 s"), (59.6, "1 min"), (60, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (3601, "1 h"), (7500, "2 h 5 min"),
        (86_400, "1 d"), (356_400, "4 d 3 h"),
    ],
)  # fmt: skip
def test_a_span_is_said_in_its_two_largest_units(seconds: float | None, said: str) -> None:
    assert span(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "now"), (0.9, "now"), (-0.9, "now"), (90, "1 min 30 s ago"), (-90, "in 1 min 30 s")]
)
def test_an_instant_is_said_from_now(seconds: float, said: str) -> None:
    assert ago(NOON - timedelta(seconds=seconds), NOON) == said
    assert ago(None, NOON) == "–"


def test_instants_are_said_in_utc() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=8)))
    assert (instant(elsewhere), machine_time(elsewhere)) == ("2026-11-08 12:00:00", "2026-11-08T12:00:00Z")
    assert instant(None) == "–"


def test_numbers_have_thin_groups_and_counts_say_where_they_ended() -> None:
    assert [number(n) for n in (None, 0, 999, 1234567)] == ["–", "0", "999", "1\u202f234\u202f567"]
    assert [count(CountView(count=10_000, more=more)) for more in (False, True)] == ["10\u202f000", "10\u202f000+"]


@pytest.mark.parametrize(("value", "said"), [(None, "–"), (0, "0"), (0.0123, "1.2"), (0.123, "12"), (1, "100")])
def test_small_shares_keep_a_digit(value: float | None, said: str) -> None:
    assert share(value) == (said if value is None else f"{said}\u202f%")


def test_names_are_said_as_words() -> None:
    assert plain("job.error_code") == "job error code"
