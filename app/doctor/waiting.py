"""What has been waiting for too long? The ages are those of the alerts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from app.doctor.ages import spoken
from app.doctor.finding import Finding, ok, warnings
from app.lifecycle.states import JobState
from app.stats.alert_limits import OLDEST_MAX, PICTURES_WAIT_MAX, UNRESOLVED_MAX
from app.storage.stats import Standings

CHECK = "waiting"

_TODO = {
    JobState.QUEUED: "see the gate and the duties above; GatewayQueueOld in docs/operations.md",
    JobState.UNCONFIRMED: "see the public address: a callback would heal it; GatewayUnconfirmedOld",
    JobState.RUNNING: "see its timeline (gateway jobs show ID --events); GatewayRunningOld",
}


def judge_waiting(standings: Standings, *, keeps_images: bool) -> Finding:
    """All that waits for too long; where nothing does, the oldest of each kind.

    Args:
        keeps_images: whether there is a store for pictures. Without one, those that were pending stay so, and nobody waits.
    """
    troubles = [*_jobs(standings), *_credits(standings), *(_images(standings) if keeps_images else ())]
    if troubles:
        return warnings(CHECK, troubles)
    ages = [f"{state} for {spoken(standings.now - since)}" for state, since in standings.oldest.items()]
    return ok(CHECK, f"oldest: {', '.join(ages)}" if ages else "nothing")


def _jobs(standings: Standings) -> Iterator[tuple[str, str]]:
    for state, longest in OLDEST_MAX.items():
        if age := _overdue(standings.oldest.get(state), standings.now, longest):
            yield f"a job has been {state} for {spoken(age)}", _TODO[state]


def _credits(standings: Standings) -> Iterator[tuple[str, str]]:
    if age := _overdue(standings.unresolved_since, standings.now, UNRESOLVED_MAX):
        found = f"{standings.credits_unresolved} credits have been unresolved for up to {spoken(age)}"
        yield found, "compare with the upstream's account; GatewayCreditsUnresolved in docs/operations.md"


def _images(standings: Standings) -> Iterator[tuple[str, str]]:
    if age := _overdue(standings.image_since, standings.now, PICTURES_WAIT_MAX):
        yield (
            f"a picture has waited for {spoken(age)}",
            "see the pictures below, and GATEWAY_IMAGE_ALLOW; GatewayImagesUnstored",
        )


def _overdue(since: datetime | None, now: datetime, longest: timedelta) -> timedelta | None:
    return now - since if since is not None and now - since > longest else None
