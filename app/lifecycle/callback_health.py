"""Whether callbacks arrive, judged by what was settled; and how long the first check may therefore wait. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.lifecycle.policy import Policy

HEALTH_WINDOW = timedelta(hours=1)  #: how far back callbacks are judged
LOST_AFTER = timedelta(minutes=10)  #: a callback that has not come this long after the settlement is lost
ENOUGH = 20  #: with fewer samples than this, nothing is concluded
MOSTLY_LOST = 0.5  #: above this share of lost ones, nobody waits for callbacks any more


@dataclass(frozen=True, slots=True)
class ReadToTheEnd:
    """A submission that a check read to its end."""

    closed_at: datetime
    answered_at: datetime | None
    called_back: bool


@dataclass(frozen=True, slots=True)
class CallbackHealth:
    loss_ratio: float | None  #: 0 to 1; None while there is nothing to judge by
    grace: timedelta  #: how long the first check waits
    judged: int = 0  #: by how many submissions the ratio is told


def mostly_lost(ratio: float | None, judged: int) -> bool:
    """Whether most callbacks are lost, by enough submissions to say so."""
    return ratio is not None and judged >= ENOUGH and ratio > MOSTLY_LOST


def judge(read: Sequence[ReadToTheEnd], now: datetime, policy: Policy) -> CallbackHealth:
    """The share of lost callbacks, and the first check's grace: about the p95 of recent running times while callbacks arrive.

    An early check cannot make its own evidence: what counts is whether a callback came at all, not who was first.
    """
    known = [c for c in read if c.called_back or now - c.closed_at >= LOST_AFTER]
    ratio = sum(not c.called_back for c in known) / len(known) if known else None
    if not policy.callbacks_expected or mostly_lost(ratio, len(known)):
        return CallbackHealth(ratio, policy.poll_min, len(known))
    ran = sorted(c.closed_at - c.answered_at for c in known if c.called_back and c.answered_at is not None)
    if len(ran) < ENOUGH:
        return CallbackHealth(ratio, policy.callback_grace, len(known))
    p95 = ran[int(len(ran) * 0.95)]
    grace = min(max(p95 * 1.2, policy.poll_min), max(policy.callback_grace, policy.poll_max))
    return CallbackHealth(ratio, grace, len(known))
