"""When a delivery is attempted again, and when no more. Pure: what came of an attempt in, the next step out.

The pauses, the jitter and the bounds of `Retry-After` are Svix's; that only 2xx is success, that a redirect is a failure and
that 410 means stop is Standard Webhooks 1.0.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from app.lifecycle.spread import spread

#: Before the second attempt, the third, and so on; the first is made at once. The last comes 27 h 35 min after the first.
PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
ATTEMPTS = len(PAUSES) + 1
JITTER = 0.2  #: a pause is shorter or longer by up to this share, so that receivers that came back are not met by a wave


class DeliveryState(StrEnum):
    """Where a delivery stands. All but the first are ends, from which only somebody's request to send it again leads back."""

    PENDING = "pending"  #: an attempt is still to come
    DELIVERED = "delivered"  #: the receiver answered 2xx
    GONE = "gone"  #: the receiver answered 410: it wants no more of it
    EXHAUSTED = "exhausted"  #: the last attempt failed too


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """What came of one attempt."""

    status: int | None  #: of the answer; None when there was none: refused, no connection, broken off, too slow
    retry_after: timedelta | None = None  #: how long the answer asked us to wait

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status <= 299

    @property
    def is_gone(self) -> bool:
        """The receiver wants no more of this delivery; it is well, all the same."""
        return self.status == 410


@dataclass(frozen=True, slots=True)
class NextStep:
    state: DeliveryState
    attempt_at: datetime | None = None  #: only while pending


def decide_next(outcome: AttemptOutcome, *, delivery_id: UUID, attempt: int, now: datetime) -> NextStep:
    """What follows attempt number `attempt` (1 is the first) of this delivery, which ended now."""
    if outcome.succeeded:
        return NextStep(DeliveryState.DELIVERED)
    if outcome.is_gone:
        return NextStep(DeliveryState.GONE)
    if attempt >= ATTEMPTS:
        return NextStep(DeliveryState.EXHAUSTED)
    return NextStep(DeliveryState.PENDING, now + _pause(outcome, delivery_id, attempt))


def _pause(outcome: AttemptOutcome, delivery_id: UUID, attempt: int) -> timedelta:
    """The pause of the schedule, give or take the jitter; or what the receiver asked for and a little more, within bounds."""
    usual, share = PAUSES[attempt - 1], spread(delivery_id.bytes + attempt.to_bytes(4))
    if outcome.retry_after is None:
        return usual * (1 - JITTER + 2 * JITTER * share)
    asked = min(outcome.retry_after, 2 * usual) * (1 + JITTER * share)
    return min(max(asked, usual), 2 * usual)
