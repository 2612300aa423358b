"""What a tenant may ask for, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.lifecycle.limits import Excess, Limits, Standing, admit, credits_left

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("limits", "standing", "jobs", "excess"),
    [
        (Limits(), Standing(open_jobs=10**9, credits_held=10**9), 100, None),
        (Limits(open_jobs_max=3), Standing(open_jobs=2), 1, None),
        (Limits(open_jobs_max=3), Standing(open_jobs=2), 2, Excess.OPEN_JOBS),
        (Limits(open_jobs_max=0), Standing(), 1, Excess.OPEN_JOBS),
        (Limits(monthly_credits=20), Standing(credits_held=5, credits_consumed=10), 1, None),
        (Limits(monthly_credits=20), Standing(credits_held=5, credits_consumed=10), 2, Excess.CREDITS),
        (Limits(monthly_credits=20), Standing(credits_consumed=16), 1, Excess.CREDITS),
        (Limits(monthly_credits=0, open_jobs_max=0), Standing(), 1, Excess.OPEN_JOBS),
        (Limits(0, 0, 1.0), Standing(request_tat=NOW + timedelta(seconds=5)), 1, Excess.REQUESTS),
    ],
)
def test_the_first_limit_in_the_way_is_named(limits: Limits, standing: Standing, jobs: int, excess: Excess | None) -> None:
    assert admit(limits, standing, jobs, NOW).excess is excess


def test_what_is_admitted_counts_and_what_is_refused_does_not() -> None:
    limits = Limits(monthly_credits=12, open_jobs_max=5)
    first = admit(limits, Standing(), 2, NOW)
    assert (first.standing.open_jobs, first.standing.credits_held) == (2, 10)
    second = admit(limits, first.standing, 1, NOW)
    assert second.excess is Excess.CREDITS
    assert second.standing == first.standing


@pytest.mark.parametrize(("rate", "at_once"), [(0.5, 1), (1, 1), (2.5, 2), (10, 10)])
def test_a_seconds_worth_of_requests_may_come_at_once_and_then_at_the_rate(rate: float, at_once: int) -> None:
    limits, standing, now, passed = Limits(requests_per_second=rate), Standing(), NOW, 0
    while (admission := admit(limits, standing, 1, now)).excess is None:
        standing, passed = admission.standing, passed + 1
    assert passed == at_once
    assert admission.retry_after is not None
    assert admission.quota is not None
    assert (admission.quota.limit, admission.quota.remaining) == (at_once, 0)
    later = admit(limits, standing, 1, now + admission.retry_after)
    assert later.excess is None
    assert admit(limits, later.standing, 1, now + admission.retry_after).excess is Excess.REQUESTS


def test_over_a_long_time_the_rate_is_kept_exactly() -> None:
    limits, standing, passed = Limits(requests_per_second=4), Standing(), 0
    for tick in range(100 * 60):  # a request every 10 ms, for a minute
        admission = admit(limits, standing, 1, NOW + timedelta(milliseconds=10 * tick))
        standing, passed = admission.standing, passed + (admission.excess is None)
    assert 4 * 60 <= passed <= 4 * 60 + 4


def test_the_quota_tells_what_remains_and_when_all_is_back() -> None:
    limits, standing = Limits(requests_per_second=4), Standing()
    told = []
    for _ in range(4):
        admission = admit(limits, standing, 1, NOW)
        standing = admission.standing
        assert admission.quota is not None
        told.append((admission.quota.remaining, admission.quota.reset))
    assert told == [(3 - n, timedelta(seconds=0.25 * (n + 1))) for n in range(4)]


def test_what_is_left_of_a_budget_is_never_less_than_nothing() -> None:
    assert credits_left(Limits(), Standing(credits_held=5)) is None
    assert credits_left(Limits(monthly_credits=20), Standing(credits_held=5, credits_consumed=10)) == 5
    assert credits_left(Limits(monthly_credits=10), Standing(credits_held=5, credits_consumed=10)) == 0
