"""What is stuck, why, and what to press: read from the figures, by the limits of the alerts. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from app.console.words import count, number, plain, share, span
from app.dispatch.router import DispatchView
from app.lifecycle.callback_health import mostly_lost
from app.lifecycle.gate import Shut
from app.lifecycle.states import JobState
from app.stats.alert_limits import CHECKS_LATE_MAX, DELIVERIES_LATE_MAX, OLDEST_MAX, PICTURES_WAIT_MAX, UNRESOLVED_MAX
from app.stats.gate_advice import advice, is_grave
from app.stats.views import CallbacksView, StatsView
from app.storage.balance import Difference


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
    found = [
        *_gate(stats, dispatch), *_jobs(stats, dispatch), *_checks(stats, dispatch), *_money(stats, difference),
        *_callbacks(stats), *_leaving(stats),
    ]  # fmt: skip
    return sorted(found, key=lambda concern: concern.weight is not Weight.CRITICAL)


def callbacks_are_lost(seen: CallbacksView | None) -> bool:
    return seen is not None and mostly_lost(seen.loss_ratio, seen.judged)


def _gate(stats: StatsView, dispatch: DispatchView) -> Iterator[Concern]:
    door = dispatch.submits
    if door.reason is not None:
        paused = door.reason is Shut.PAUSED
        what = f"Sending is paused by {dispatch.paused_by}." if paused else f"Nothing is sent upstream: {plain(door.reason)}."
        weight = Weight.CRITICAL if is_grave(door.reason, stats.at - (door.since or stats.at)) else Weight.WARNING
        yield Concern(weight, what + (f" {door.detail}" if door.detail else ""), _advice(door.reason), button="resume")
    if dispatch.checks.reason is not None and dispatch.checks.reason is not door.reason:
        what = f"No task can be checked, so no job ends: {plain(dispatch.checks.reason)}."
        yield Concern(Weight.CRITICAL, what, _advice(dispatch.checks.reason), button="resume")


def _advice(reason: Shut) -> str:
    said = advice(reason, "press Resume")
    return f"{said[0].upper()}{said[1:]}."


def _jobs(stats: StatsView, dispatch: DispatchView) -> Iterator[Concern]:
    for state, do in _WHERE_TO_LOOK.items():
        age, queued = stats.jobs[state].oldest_seconds, state is JobState.QUEUED
        if age is not None and _is_over(age, OLDEST_MAX[state]) and (dispatch.submits.open or not queued):
            weight = Weight.CRITICAL if queued else Weight.WARNING
            yield Concern(weight, f"A job has been {state} for {span(age)}.", do, f"/console/jobs?state={state}")


_WHERE_TO_LOOK = {
    JobState.QUEUED: "Look at the gate, at slots in use, and at whether a worker runs.",
    JobState.UNCONFIRMED: "Answers were lost and callbacks do not come: is the public address reachable?",
    JobState.RUNNING: "The upstream is slow, or checks do not get through: open the oldest job.",
}


def _checks(stats: StatsView, dispatch: DispatchView) -> Iterator[Concern]:
    late = stats.checks_late_seconds
    if _is_over(late, CHECKS_LATE_MAX) and dispatch.checks.open:
        what = f"A check has been due for {span(late)}, and nobody made it."
        yield Concern(Weight.CRITICAL, what, "Does a worker run? Else raise GATEWAY_UPSTREAM_STATUS_RATE.")


def _money(stats: StatsView, difference: Difference | None) -> Iterator[Concern]:
    if difference is not None and (difference.open_jobs or difference.held_credits):
        what = f"The tenants' books and the jobs differ by {difference.open_jobs} jobs, {difference.held_credits} credits."
        yield Concern(Weight.CRITICAL, what, "Run gateway doctor; see GatewayBooksOutOfBalance in docs/operations.md.")
    age = stats.credits.unresolved_seconds
    if _is_over(age, UNRESOLVED_MAX):
        what = f"{number(stats.credits.unresolved)} credits have been unresolved for {span(age)}."
        do = "Open the failed jobs with submission_unconfirmed; a task id from the upstream's own pages settles them."
        yield Concern(Weight.WARNING, what, do, "/console/jobs?error_code=submission_unconfirmed")


def _callbacks(stats: StatsView) -> Iterator[Concern]:
    if stats.callbacks and callbacks_are_lost(stats.callbacks):
        what = f"{share(stats.callbacks.loss_ratio)} of the callbacks do not arrive; results are found by checks alone, later."
        yield Concern(Weight.WARNING, what, "Is GATEWAY_PUBLIC_BASE_URL reachable from outside? Run gateway doctor.")


def _leaving(stats: StatsView) -> Iterator[Concern]:
    deliveries, pictures = stats.deliveries, stats.images
    if deliveries.receivers_parked.count:
        what = f"Receivers are parked, and their deliveries wait: {count(deliveries.receivers_parked)}."
        yield Concern(Weight.WARNING, what, "Ask whoever runs them, then press Resume there.", "/console/deliveries")
    if deliveries.exhausted.count:
        what = f"Deliveries were given up after their last attempt: {count(deliveries.exhausted)}."
        do = "Once the receiver is well, press Redeliver there, or recover all since an instant."
        yield Concern(Weight.WARNING, what, do, "/console/deliveries?state=exhausted")
    if _is_over(deliveries.late_seconds, DELIVERIES_LATE_MAX):
        what = f"A delivery has been due for {span(deliveries.late_seconds)}."
        yield Concern(Weight.WARNING, what, "Does a worker run?", "/console/deliveries?state=pending")
    if pictures and _is_over(pictures.oldest_seconds, PICTURES_WAIT_MAX):
        what = f"A picture has not been stored for {span(pictures.oldest_seconds)}."
        yield Concern(Weight.WARNING, what, "Is the picture store reachable and writable? Run gateway doctor.")


def _is_over(seconds: float | None, limit: timedelta) -> bool:
    return seconds is not None and seconds > limit.total_seconds()
