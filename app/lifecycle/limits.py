"""What a tenant may ask for: requests a second, open jobs, credits a month. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from app.lifecycle.gcra import Rate
from app.lifecycle.request import PRICE


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a tenant; None: no limit."""

    monthly_credits: int | None = None  #: consumed in this calendar month (UTC), plus all that is reserved or unresolved
    open_jobs_max: int | None = None  #: unsettled jobs at once
    requests_per_second: float | None = None  #: accepting requests, on average; as many may come at once

    @property
    def any(self) -> bool:
        return (self.monthly_credits, self.open_jobs_max, self.requests_per_second) != (None, None, None)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant stands against its limits."""

    open_jobs: int = 0
    credits_held: int = 0  #: reserved and unresolved
    credits_consumed: int = 0  #: in this month
    request_tat: datetime | None = None  #: GCRA: theoretical arrival time of the next request

    def with_jobs(self, count: int) -> Standing:
        return replace(self, open_jobs=self.open_jobs + count, credits_held=self.credits_held + count * PRICE)


class Excess(StrEnum):
    """Which limit stands in the way."""

    REQUESTS = "requests"
    OPEN_JOBS = "open_jobs"
    CREDITS = "credits"


@dataclass(frozen=True, slots=True)
class Quota:
    """The request rate, as the RateLimit header fields tell it."""

    limit: int  #: requests that may come at once
    window: timedelta  #: in which so many come back
    remaining: int
    reset: timedelta  #: until all of them are back


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a request may be accepted."""

    excess: Excess | None
    standing: Standing  #: afterwards; the jobs are in it where they are admitted
    retry_after: timedelta | None = None  #: known where only time is needed
    quota: Quota | None = None


def admit(limits: Limits, standing: Standing, jobs: int, now: datetime) -> Admission:
    """Whether one request for so many new jobs keeps the limits; they are looked at in the order of the contract."""
    quota = None
    if limits.requests_per_second is not None:
        quota, tat, wait = _take_request(standing.request_tat, limits.requests_per_second, now)
        if wait:
            return Admission(Excess.REQUESTS, standing, wait, quota)
        standing = replace(standing, request_tat=tat)
    if limits.open_jobs_max is not None and standing.open_jobs + jobs > limits.open_jobs_max:
        return Admission(Excess.OPEN_JOBS, standing, None, quota)
    if limits.monthly_credits is not None:
        spent = standing.credits_held + standing.credits_consumed
        if spent + jobs * PRICE > limits.monthly_credits:
            return Admission(Excess.CREDITS, standing, None, quota)
    return Admission(None, standing.with_jobs(jobs), None, quota)


def credits_left(limits: Limits, standing: Standing) -> int | None:
    """What may still be reserved this month; None without a limit."""
    if limits.monthly_credits is None:
        return None
    return max(0, limits.monthly_credits - standing.credits_held - standing.credits_consumed)


def _take_request(tat: datetime | None, rate: float, now: datetime) -> tuple[Quota, datetime, timedelta | None]:
    """With a burst of one second's worth, and at least one: the quota, the next arrival time, and how long to wait."""
    burst = max(1, math.floor(rate))
    bucket = Rate(rate, burst)
    ahead, window = bucket.ahead(tat, now), timedelta(seconds=bucket.window)
    late = ahead + bucket.interval - bucket.window
    if late > 1e-6:  # less than a microsecond is more than an instant can tell
        return Quota(burst, window, 0, timedelta(seconds=ahead)), now, timedelta(seconds=late)
    ahead += bucket.interval
    return Quota(burst, window, bucket.free(ahead), timedelta(seconds=ahead)), now + timedelta(seconds=ahead), None
