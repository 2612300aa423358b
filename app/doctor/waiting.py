"""What has been waiting for too long? The ages are those of the alerts."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.doctor.ages import spoken
from app.doctor.finding import Finding, ok, warning
from app.lifecycle.states import JobState
from app.stats.alert_limits import OLDEST_MAX, PICTURES_WAIT_MAX, UNRESOLVED_MAX
from app.storage.stats import Standings

CHECK = "waiting"

_TODO = {
    JobState.QUEUED: "see the gate and the duties above; GatewayQueueOld in docs/operations.md",
    JobState.UNCONFIRMED: "see the public address: a callback would heal it; GatewayUnconfirmedOld",
    JobState.RUNNING: "see its timeline (gateway jobs show ID --events); GatewayRunningOld",
}


def judge_waiting(standings: Standings) -> Finding:
    """The worst of what waits; where nothing waits for too long, the oldest of each kind."""
    now, told = standings.now, []
    for state, since in standings.oldest.items():
        if state in OLDEST_MAX and now - since > OLDEST_MAX[state]:
            return warning(CHECK, f"a job has been {state} for {spoken(now - since)}", _TODO[state])
        told.append(f"{state} for {spoken(now - since)}")
    if age := _overdue(standings.unresolved_since, now, UNRESOLVED_MAX):
        found = f"{standings.credits_unresolved} credits have been unresolved for up to {spoken(age)}"
        return warning(CHECK, found, "compare with the upstream's account; GatewayCreditsUnresolved in docs/operations.md")
    if age := _overdue(standings.image_since, now, PICTURES_WAIT_MAX):
        found = f"a picture has waited for {spoken(age)}"
        return warning(CHECK, found, "see the pictures below, and GATEWAY_IMAGE_ALLOW; GatewayImagesUnstored")
    return ok(CHECK, f"oldest: {', '.join(told)}" if told else "nothing")


def _overdue(since: datetime | None, now: datetime, longest: timedelta) -> timedelta | None:
    return now - since if since is not None and now - since > longest else None
