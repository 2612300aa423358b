"""What a job would cost if it were accepted now, and how long it would take."""

from __future__ import annotations

from app.client.job import Estimate
from app.client.told import Told


class Budget(Told):
    monthly_credits: int | None = None  #: the tenant's limit; None without one
    left: int | None = None  #: what may still be reserved this month


class Quote(Told):
    credits: int  #: what would be reserved; 0 where `reuse` finds a result
    reused: bool = False
    budget: Budget = Budget()
    refusal: str | None = None  #: the error code that a submit would meet now, because of a limit
    queue_depth: int | None = None  #: queued jobs that would go before
    estimate: Estimate | None = None
