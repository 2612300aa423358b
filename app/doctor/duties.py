"""Does anybody send, check and deliver? Nobody signs in, so it is told by what is due and not done."""

from __future__ import annotations

from collections.abc import Iterator

from app.doctor.ages import spoken
from app.doctor.finding import Finding, ok, wrong
from app.lifecycle.gate import Gate
from app.lifecycle.states import JobState
from app.stats.alert_limits import CHECKS_LATE_MAX, DELIVERIES_LATE_MAX
from app.storage.stats import Standings

CHECK = "duties"
_TODO = "start a gateway worker, or gateway serve without --no-worker; if one runs, look for `sweep failed` in its log"


def judge_duties(standings: Standings, gate: Gate, *, runs: bool | None) -> Finding:
    """
    Args:
        runs: whether a gateway holds the SQLite file; None where that cannot be known.
    """
    if runs is False:
        return _nobody(standings)
    now = standings.now
    late = {
        "a check": (standings.look_due_at if gate.checks_possible else None, CHECKS_LATE_MAX),
        "a delivery": (standings.delivery_due_at, DELIVERIES_LATE_MAX),
    }
    for what, (due_at, late_max) in late.items():
        if due_at is not None and now - due_at > late_max:
            return wrong(CHECK, f"{what} has been due for {spoken(now - due_at)}, and nobody made it", _TODO)
    return ok(CHECK, "nothing is overdue")


def _nobody(standings: Standings) -> Finding:
    """Nothing has to be done while nothing waits."""
    waiting = list(_waiting(standings))
    if waiting:
        return wrong(CHECK, f"no gateway runs, and {' and '.join(waiting)} wait for one", "gateway serve")
    return ok(CHECK, "no gateway runs, and nothing waits for one")


def _waiting(standings: Standings) -> Iterator[str]:
    """What is due belongs to the open jobs where there are some; else to submissions that outlived theirs."""
    if open_ := sum(standings.jobs[state].found for state in JobState if state in standings.oldest):
        yield f"{open_} jobs"
    elif standings.look_due_at is not None:
        yield "checks"
    if standings.delivery_due_at is not None:
        yield "deliveries"
