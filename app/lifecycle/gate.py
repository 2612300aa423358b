"""The gate before the upstream: permits, pauses and the breaker, as one value shared by all replicas. Pure.

Two doors. *Submits* are shut by an operator, by an empty account (402), a forbidden one (403), a throttling upstream (429) or
a row of failures (the breaker). *Checks* are shut by a bad key (401), or when the upstream suddenly knows none of our tasks;
both shut the submits as well, and stop the clocks of the deadlines that promise a check first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from app.lifecycle.answers import Accepted, NoAnswer, NotFound, Reading, Refusal, Refused, Rejected, SubmitAnswer
from app.lifecycle.gcra import Rate

BURST_SECONDS = 0.25  #: requests at once are at most as many as may go in this time
#: For how many of those one comes back: what is left over is not lost by coming a little late. Checks may rather be late.
_SUBMITS_TOGETHER, _CHECKS_TOGETHER = 0.5, 0.8
PAUSE_MOST = timedelta(hours=1)  #: that any door has; a longer `Retry-After` is cut to it
_SKEW = timedelta(minutes=1)  #: what began further ahead than this began before the clock was set back


class Shut(StrEnum):
    """Why a door is shut."""

    PAUSED = "paused"  #: an operator said so; only an operator opens it
    NO_CREDITS = "no_credits"  #: 402: the upstream account is empty
    FORBIDDEN = "forbidden"  #: 403: the upstream account may not generate
    THROTTLED = "throttled"  #: 429: the upstream asked for patience
    BREAKER = "breaker"  #: too many failures in a row
    BAD_KEY = "bad_key"  #: 401: the upstream does not know our key
    TASKS_MISSING = "tasks_missing"  #: the upstream knows none of our tasks any more


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """Limits to the upstream, over all replicas."""

    max_in_flight: int = 100  #: open submissions at once
    submit_rate: float = 10.0  #: submits a second
    status_rate: float = 20.0  #: checks a second
    failures_to_open: int = 5  #: failures in a row that open the breaker
    pause_min: timedelta = timedelta(seconds=5)  #: first pause of the breaker and of a 429 without Retry-After
    pause_max: timedelta = timedelta(minutes=5)  #: longest pause of the breaker
    account_pause_min: timedelta = timedelta(seconds=60)  #: first pause after 402 and 403; doubles
    account_pause_max: timedelta = timedelta(minutes=30)  #: longest such pause
    probe_lease: timedelta = timedelta(seconds=60)  #: how long a single probe may take before another may try
    probe_every: timedelta = timedelta(seconds=60)  #: between probes while checks are shut
    misses_to_shut: int = 10  #: tasks in a row, none of them young, that the upstream does not know: shuts the checks
    missing_max: timedelta = timedelta(hours=1)  #: then the checks open again, and each task is judged for itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The gate's row. Instants are aware and UTC; None means it has not happened or is not so."""

    paused_at: datetime | None = None
    paused_by: str | None = None
    shut: Shut | None = None  #: why submits are shut, a pause and shut checks aside
    shut_at: datetime | None = None
    shut_until: datetime | None = None  #: from then on a single probe may go
    shut_detail: str | None = None
    shut_times: int = 0  #: how often in a row; the pauses grow with it
    failures: int = 0  #: failed submits in a row
    probe_until: datetime | None = None  #: lease of the probe that is under way
    checks_shut: Shut | None = None
    checks_shut_at: datetime | None = None
    check_probe_at: datetime | None = None  #: when the next probe of the checks may go
    misses: int = 0  #: tasks in a row that the upstream did not know
    found_at: datetime | None = None  #: when a check last found a task
    key_fingerprint: str | None = None  #: which upstream key all this was learned with
    submit_tat: datetime | None = None  #: GCRA: theoretical arrival time of the next submit
    check_tat: datetime | None = None  #: GCRA: the same for checks

    @property
    def checks_possible(self) -> bool:
        return self.checks_shut is None

    @property
    def why_submits_are_shut(self) -> Shut | None:
        """The reason that holds back submits, the most lasting first; None when they may go."""
        if self.paused_at is not None:
            return Shut.PAUSED
        if self.checks_shut is not None:
            return self.checks_shut
        return self.shut

    @property
    def submits_shut_at(self) -> datetime | None:
        """Since when that reason holds them back."""
        return self.paused_at or self.checks_shut_at or self.shut_at


@dataclass(frozen=True, slots=True)
class Permits:
    """How many may go now; where that is fewer than were wanted, `retry_at` says when to ask again, if that is known."""

    count: int
    gate: Gate
    retry_at: datetime | None = None


# --- permits -------------------------------------------------------------------------------------------------------------


def submit_permits(gate: Gate, wanted: int, open_submissions: int, now: datetime, policy: GatePolicy) -> Permits:
    """Permits for up to `wanted` submits, taken from the gate that is returned."""
    if gate.paused_at is not None or gate.checks_shut is not None:
        return Permits(0, gate)
    wanted = min(wanted, policy.max_in_flight - open_submissions)
    if gate.shut is not None:
        return _probe_permit(gate, wanted, now, policy)
    count, tat, retry_at = _take(gate.submit_tat, wanted, policy.submit_rate, now, _SUBMITS_TOGETHER)
    return Permits(count, replace(gate, submit_tat=tat) if count else gate, retry_at)


def check_permits(gate: Gate, wanted: int, now: datetime, policy: GatePolicy) -> Permits:
    """Permits for up to `wanted` checks, taken from the gate that is returned."""
    if gate.checks_shut is Shut.TASKS_MISSING and gate.checks_shut_at and now - gate.checks_shut_at >= policy.missing_max:
        gate = open_checks(gate)
    if gate.checks_shut is Shut.TASKS_MISSING and wanted > 0 and _probe_is_due(gate, now, policy):
        return Permits(1, replace(gate, check_probe_at=now + policy.probe_every))
    if gate.checks_shut is not None:
        return Permits(0, gate, gate.check_probe_at)
    count, tat, retry_at = _take(gate.check_tat, wanted, policy.status_rate, now, _CHECKS_TOGETHER)
    return Permits(count, replace(gate, check_tat=tat) if count else gate, retry_at)


def take_key_probe(gate: Gate, now: datetime, policy: GatePolicy) -> Gate | None:
    """The gate with the key's probe taken, when one is due: a check of a made-up id, which costs nothing."""
    if gate.checks_shut is Shut.BAD_KEY and _probe_is_due(gate, now, policy):
        return replace(gate, check_probe_at=now + policy.probe_every)
    return None


def _probe_is_due(gate: Gate, now: datetime, policy: GatePolicy) -> bool:
    return _still_ahead(gate.check_probe_at, now, policy.probe_every) is None


def _pause_ends(gate: Gate, now: datetime) -> datetime | None:
    """Until when nothing at all is sent; None when that is over."""
    if gate.shut_at is not None and gate.shut_at > now + _SKEW:
        return None
    return _still_ahead(gate.shut_until, now, PAUSE_MOST)


def _still_ahead(at: datetime | None, now: datetime, most: timedelta) -> datetime | None:
    """The instant, if it is to be waited for; one that lies further off than it ever may was set by a clock that was ahead."""
    return at if at is not None and now < at <= now + most else None


def _probe_permit(gate: Gate, wanted: int, now: datetime, policy: GatePolicy) -> Permits:
    """A shut door lets one probe through when its pause is over; the probe is a lease, so a lost one is replaced."""
    ahead = (_pause_ends(gate, now), _still_ahead(gate.probe_until, now, policy.probe_lease))
    waits_for = max(filter(None, ahead), default=None)
    if waits_for is not None or wanted < 1:
        return Permits(0, gate, waits_for)
    count, tat, retry_at = _take(gate.submit_tat, 1, policy.submit_rate, now, _SUBMITS_TOGETHER)
    if not count:
        return Permits(0, gate, retry_at)
    return Permits(1, replace(gate, probe_until=now + policy.probe_lease, submit_tat=tat))


def _take(
    tat: datetime | None, wanted: int, rate: float, now: datetime, together: float
) -> tuple[int, datetime, datetime | None]:
    """At most `rate` a second, with at most a quarter of a second's worth at once.

    Whoever comes a little late loses nothing by it, and whoever wants more comes back for `together`, a share of that worth,
    not for each.

    Returns the count; the new theoretical arrival time; and where fewer than wanted may go, when to come back.
    """
    bucket = Rate(rate, max(1.0, rate * BURST_SECONDS))
    ahead = bucket.ahead(tat, now)
    count = max(0, min(wanted, bucket.free(ahead)))
    ahead += count * bucket.interval
    batch = max(1, math.floor(bucket.burst * together))
    back = now + timedelta(seconds=max(0.0, ahead - (bucket.burst - batch) * bucket.interval))
    return count, now + timedelta(seconds=ahead), back if count < wanted else None


# --- what news does to the gate ------------------------------------------------------------------------------------------


def after_submit(gate: Gate, answer: SubmitAnswer | None, now: datetime, policy: GatePolicy) -> Gate:
    """The gate after an answer to a submit; None stands for a probe that was given back unsent."""
    if answer is None:
        return replace(gate, probe_until=None)
    if isinstance(answer, Accepted | Rejected):
        return open_submits(gate) if _pause_ends(gate, now) is None or gate.shut is Shut.BREAKER else replace(gate, failures=0)
    if isinstance(answer, Refused):
        match answer.reason:
            case Refusal.UNAUTHORIZED:
                return shut_checks(replace(gate, probe_until=None), Shut.BAD_KEY, now, policy)
            case Refusal.NO_CREDITS:
                return _shut_for(gate, Shut.NO_CREDITS, answer, now, policy)
            case Refusal.FORBIDDEN:
                return _shut_for(gate, Shut.FORBIDDEN, answer, now, policy)
            case Refusal.THROTTLED:
                return _shut_for(gate, Shut.THROTTLED, answer, now, policy)
            case Refusal.NOT_CONNECTED | Refusal.SERVER_ERROR:
                pass
    return _failed(gate, answer.detail, now, policy)


def after_check(gate: Gate, reading: Reading, *, counts: bool, now: datetime, policy: GatePolicy) -> Gate:
    """The gate after a check of a task that we were told of.

    Args:
        counts: a 404 is the first for this task, and it is not young: one forgotten task alone shuts nothing.
    """
    if isinstance(reading, NoAnswer):
        return shut_checks(gate, Shut.BAD_KEY, now, policy) if reading.unauthorized else gate
    if not isinstance(reading, NotFound):
        return open_checks(replace(gate, misses=0, found_at=now))
    if not counts:
        return gate
    gate = replace(gate, misses=gate.misses + 1)
    missing = gate.misses >= policy.misses_to_shut
    return shut_checks(gate, Shut.TASKS_MISSING, now, policy) if missing else gate


def after_key_probe(gate: Gate, reading: Reading) -> Gate:
    """404 for a made-up id means that the key is good."""
    return gate if isinstance(reading, NoAnswer) else open_checks(gate)


def pause(gate: Gate, by: str, now: datetime) -> Gate:
    return gate if gate.paused_at is not None else replace(gate, paused_at=now, paused_by=by)


def resume(gate: Gate) -> Gate:
    """An operator's word opens everything; what is still wrong will shut it again."""
    return open_checks(open_submits(replace(gate, paused_at=None, paused_by=None)))


def with_key(gate: Gate, fingerprint: str) -> Gate:
    """The gate for this upstream key: what was learned with another one no longer counts."""
    if gate.key_fingerprint == fingerprint:
        return gate
    return replace(open_checks(open_submits(gate)), key_fingerprint=fingerprint)


def shut_checks(gate: Gate, reason: Shut, now: datetime, policy: GatePolicy) -> Gate:
    if gate.checks_shut is not None:
        return gate
    return replace(gate, checks_shut=reason, checks_shut_at=now, check_probe_at=now + policy.probe_every)


def open_checks(gate: Gate) -> Gate:
    return replace(gate, checks_shut=None, checks_shut_at=None, check_probe_at=None, misses=0)


def open_submits(gate: Gate) -> Gate:
    return replace(
        gate, shut=None, shut_at=None, shut_until=None, shut_detail=None, shut_times=0, failures=0, probe_until=None
    )  # fmt: skip


def _shut_for(gate: Gate, reason: Shut, refused: Refused, now: datetime, policy: GatePolicy) -> Gate:
    """Shuts submits. Answers to what was sent before do not lengthen the pause; a failed probe does."""
    if gate.shut is not None and (ends := _pause_ends(gate, now)) is not None:
        return replace(gate, shut_until=max(now + refused.retry_after, ends) if refused.retry_after else ends)
    account = reason in (Shut.NO_CREDITS, Shut.FORBIDDEN)
    least, most = (policy.account_pause_min, policy.account_pause_max) if account else (policy.pause_min, policy.pause_max)
    wait: timedelta = refused.retry_after or min(least * 2 ** min(gate.shut_times, 16), most)
    return replace(
        gate, shut=reason, shut_at=min(gate.shut_at or now, now), shut_until=now + wait, shut_detail=refused.detail,
        shut_times=gate.shut_times + 1, probe_until=None,
    )  # fmt: skip


def _failed(gate: Gate, detail: str, now: datetime, policy: GatePolicy) -> Gate:
    gate = replace(gate, failures=gate.failures + 1)
    half_open = gate.shut is not None and _pause_ends(gate, now) is None
    if not half_open and (gate.shut is not None or gate.failures < policy.failures_to_open):
        return gate
    reason = gate.shut or Shut.BREAKER
    return _shut_for(gate, reason, Refused(Refusal.SERVER_ERROR, detail), now, policy)
