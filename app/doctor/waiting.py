"""What has been waiting for too long? The ages are those of the alerts."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.doctor.ages import spoken
from app.doctor.finding import Finding, ok, warning
from app.lifecycle.states import JobState
from app.storage.stats import Standings

CHECK = "waiting"

_LONGEST = {
    JobState.QUEUED: (timedelta(minutes=15), "see the gate and the duties above; GatewayQueueOld in docs/operations.md"),
    JobState.UNCONFIRMED: (timedelta(minutes=5), "see the public address: a callback would heal it; GatewayUnconfirmedOld"),
    JobState.RUNNING: (timedelta(hours=1), "see its timeline (gateway jobs show ID --events); GatewayRunningOld"),
}
_UNRESOLVED_MAX = timedelta(hours=1)
_PICTURE_MAX = timedelta(hours=1)


def judge_waiting(standings: Standings) -> Finding:
    """The worst of what waits; where nothing waits for too long, the oldest of each kind."""
    now, told = standings.now, []
    for state, since in standings.oldest.items():
        longest, todo = _LONGEST.get(state, (timedelta.max, ""))
        if now - since > longest:
            return warning(CHECK, f"a job has been {state} for {spoken(now - since)}", todo)
        told.append(f"{state} for {spoken(now - since)}")
    if age := _overdue(standings.unresolved_since, now, _UNRESOLVED_MAX):
        found = f"{standings.credits_unresolved} credits have been unresolved for up to {spoken(age)}"
        return warning(CHECK, found, "compare with the upstream's account; GatewayCreditsUnresolved in docs/operations.md")
    if age := _overdue(standings.image_since, now, _PICTURE_MAX):
        found = f"a picture has waited for {spoken(age)}"
        return warning(CHECK, found, "see the pictures below, and GATEWAY_IMAGE_ALLOW; GatewayImagesUnstored")
    return ok(CHECK, f"oldest: {', '.join(told)}" if told else "nothing")


def _overdue(since: datetime | None, now: datetime, longest: timedelta) -> timedelta | None:
    return now - since if since is not None and now - since > longest else None
