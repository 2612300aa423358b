"""Credits and jobs, by day and tenant."""

from __future__ import annotations

from datetime import date

from app.client.told import Told


class UsageDay(Told):
    """Jobs count on the day (UTC) they were accepted or settled, credits on the day they were told."""

    day: date
    tenant: str
    jobs_accepted: int = 0
    jobs_succeeded: int = 0
    jobs_failed: int = 0
    jobs_canceled: int = 0
    credits_consumed: int = 0


class Standing(Told):
    """How a tenant stands now, against its limits. A limit that is None is none."""

    open_jobs: int = 0
    open_jobs_max: int | None = None
    credits_held: int = 0  #: reserved and unresolved
    credits_consumed: int = 0  #: this calendar month (UTC)
    monthly_credits: int | None = None
    credits_left: int | None = None


class Usage(Told):
    days: list[UsageDay]  #: on which something happened, the oldest first
    now: Standing | None = None  #: of the one tenant that was asked for
