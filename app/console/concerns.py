"""What is stuck, why, and what to press: read from the figures. Pure.

The limits are those of the alert rules (docs/operations/alerts.yml).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from app.console.words import count, number, plain, share, span
from app.dispatch.router import DispatchView
from app.lifecycle.gate import Shut
from app.stats.views import StatsView
from app.storage.balance import Difference

QUEUED_MAX, UNCONFIRMED_MAX, RUNNING_MAX = 900.0, 300.0, 3600.0  #: seconds
UNRESOLVED_MAX, DELIVERY_LATE_MAX, IMAGES_MAX = 3600.0, 300.0, 3600.0  #: seconds
LOSS_MAX, JUDGED_MIN = 0.5, 20


class Weight(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that a person should look at."""

    weight: Weight
    what: str
    do: str  #: what to look at or press
    href: str | None = None  #: where
    button: str | None = None  #: a form of the overview that helps: `resume`


def concerns(stats: StatsView, dispatch: DispatchView, difference: Difference | None) -> list[Concern]:
    """Of all tenants; the gravest first."""
    found = [*_gate(dispatch), *_jobs(stats, dispatch), *_money(stats, difference), *_callbacks(stats), *_leaving(stats)]
    return sorted(found, key=lambda concern: concern.weight is not Weight.CRITICAL)


def _gate(dispatch: DispatchView) -> Iterator[Concern]:
    door = dispatch.submits
    if door.reason is not None:
        paused = door.reason is Shut.PAUSED
        what = f"Sending is paused by {dispatch.paused_by}." if paused else f"Nothing is sent upstream: {plain(door.reason)}."
        detail = f" {door.detail}" if door.detail else ""
        yield Concern(Weight.WARNING if paused else Weight.CRITICAL, what + detail, _AFTER_SHUT[door.reason], button="resume")
    if dispatch.checks.reason is not None and dispatch.checks.reason is not door.reason:
        what = f"No task can be checked, so no job ends: {plain(dispatch.checks.reason)}."
        yield Concern(Weight.CRITICAL, what, _AFTER_SHUT[dispatch.checks.reason], button="resume")


_AFTER_SHUT = {
    Shut.PAUSED: "Press resume when sending may go on.",
    Shut.NO_CREDITS: "The upstream account is empty: fill it, then press resume. It is tried again by itself, too.",
    Shut.FORBIDDEN: "The upstream account may not generate: ask the provider, then press resume.",
    Shut.THROTTLED: "The upstream asked for patience; it opens by itself. Often? Lower GATEWAY_UPSTREAM_SUBMIT_RATE.",
    Shut.BREAKER: "The upstream fails. It is tried again by itself, with growing pauses; resume tries at once.",
    Shut.BAD_KEY: "The upstream refuses our key: set GATEWAY_UPSTREAM_API_KEY anew and restart. It is tried every minute.",
    Shut.TASKS_MISSING: "The upstream knows none of our tasks: is the address right, and the account? Resume tries at once.",
}


def _jobs(stats: StatsView, dispatch: DispatchView) -> Iterator[Concern]:
    limits = (
        ("queued", QUEUED_MAX, "Look at the gate, at slots in use, and at whether a worker runs."),
        ("unconfirmed", UNCONFIRMED_MAX, "Answers were lost and callbacks do not come: is the public address reachable?"),
        ("running", RUNNING_MAX, "The upstream is slow, or checks do not get through: open the oldest job."),
    )
    for state, limit, do in limits:
        age = stats.jobs[state].oldest_seconds
        if age is not None and age > limit and not (state == "queued" and not dispatch.submits.open):
            weight = Weight.CRITICAL if state == "queued" else Weight.WARNING
            yield Concern(weight, f"A job has been {state} for {span(age)}.", do, f"/console/jobs?state={state}")


def _money(stats: StatsView, difference: Difference | None) -> Iterator[Concern]:
    if difference is not None and (difference.open_jobs or difference.held_credits):
        what = f"The tenants' books and the jobs differ by {difference.open_jobs} jobs, {difference.held_credits} credits."
        yield Concern(Weight.CRITICAL, what, "Run gateway doctor; see GatewayBooksOutOfBalance in docs/operations.md.")
    age = stats.credits.unresolved_seconds
    if age is not None and age > UNRESOLVED_MAX:
        what = f"{number(stats.credits.unresolved)} credits have been unresolved for {span(age)}."
        do = "Open the failed jobs with submission_unconfirmed; a task id from the upstream's own pages settles them."
        yield Concern(Weight.WARNING, what, do, "/console/jobs?error_code=submission_unconfirmed")


def _callbacks(stats: StatsView) -> Iterator[Concern]:
    seen = stats.callbacks
    if seen and seen.loss_ratio is not None and seen.loss_ratio > LOSS_MAX and seen.judged >= JUDGED_MIN:
        what = f"{share(seen.loss_ratio)} of the callbacks do not arrive; results are polled for, later."
        yield Concern(Weight.WARNING, what, "Is GATEWAY_PUBLIC_BASE_URL reachable from outside? Run gateway doctor.")


def _leaving(stats: StatsView) -> Iterator[Concern]:
    deliveries = stats.deliveries
    if deliveries.receivers_parked.count:
        what = f"{count(deliveries.receivers_parked)} receivers are parked; their deliveries wait."
        yield Concern(Weight.WARNING, what, "Ask whoever runs them, then resume.", "/console/deliveries")
    if deliveries.late_seconds is not None and deliveries.late_seconds > DELIVERY_LATE_MAX:
        what = f"A delivery has been due for {span(deliveries.late_seconds)}."
        yield Concern(Weight.WARNING, what, "Does a worker run?", "/console/deliveries?state=pending")
    if stats.images and stats.images.oldest_seconds is not None and stats.images.oldest_seconds > IMAGES_MAX:
        what = f"A picture has not been stored for {span(stats.images.oldest_seconds)}."
        yield Concern(Weight.WARNING, what, "Is the picture store reachable and writable? Run gateway doctor.")
