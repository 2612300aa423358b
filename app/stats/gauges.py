"""How things stand, as gauges for Prometheus. They tell of the database: every replica shows the same, so never sum them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from app.lifecycle.gate import Gate
from app.stats.figures import CallbackFigures, Vitals
from app.storage.balance import Difference
from app.storage.stats import Standings

#: Every gauge with its labels, and what it says.
GAUGES: dict[str, tuple[tuple[str, ...], str]] = {
    "gateway_database_up": ((), "1 while this process reaches the database; while it is 0, no other gauge of it is told."),
    "gateway_jobs": (("state",), "Jobs in each state: unsettled ones up to 100000, settled ones up to 10000."),
    "gateway_oldest_job_age_seconds": (("state",), "Of the oldest job that is queued, since accept; or sent, since its send."),
    "gateway_submissions_open": ((), "Submissions whose books are open, up to 10000; each holds a slot."),
    "gateway_checks_late_seconds": ((), "For how long the longest due check or timer has been due."),
    "gateway_gate_open": (("for",), "1 while the gate lets submits, or checks, through."),
    "gateway_gate_shut_seconds": (("for", "reason"), "For how long the gate has been shut; told only while it is."),
    "gateway_callback_loss_ratio": ((), "Share of callbacks that did not come, of the last hour's tasks that ended."),
    "gateway_callbacks_judged": ((), "Tasks by which the loss of callbacks is judged."),
    "gateway_callback_lag_seconds": (("quantile",), "From a callback's arrival to the end of its task's books; of an hour."),
    "gateway_credits_unresolved": ((), "Credits that may have been spent: nobody knows yet."),
    "gateway_credits_unresolved_age_seconds": ((), "Since the send of the oldest submission whose credits are unresolved."),
    "gateway_books_difference": (("figure",), "What the tenants' books say more than the jobs; 0 while they are in balance."),
    "gateway_deliveries_pending": ((), "Deliveries still to be made, up to 10000."),
    "gateway_deliveries_exhausted": ((), "Deliveries that were given up after their last attempt, up to 10000."),
    "gateway_deliveries_late_seconds": ((), "For how long the longest due delivery has been due."),
    "gateway_receivers": (("health",), "Receivers of deliveries that are failing, or parked."),
    "gateway_images_pending": ((), "Pictures still to be archived, up to 10000; not told where none are kept."),
    "gateway_images_unstored_age_seconds": ((), "Since when the longest pending picture waits."),
}


def gauges(vitals: Vitals | None, difference: Difference | None) -> Iterator[Metric]:
    """The gauges that can be told; without vitals, only that the database is away. What is not so now has no sample."""
    yield _gauge("gateway_database_up", {(): vitals is not None})
    if vitals is None:
        return
    yield from _jobs(vitals.standings)
    yield from _gate(vitals.gate, vitals.standings.now)
    yield from _callbacks(vitals.callbacks)
    yield from _money(vitals.standings, difference)
    yield from _deliveries(vitals.standings)
    yield from _images(vitals.standings, told=vitals.keeps_images)


def _jobs(s: Standings) -> Iterator[Metric]:
    yield _gauge("gateway_jobs", {(state.value,): count.found for state, count in s.jobs.items()})
    ages = {(state.value,): _age(s.now, since) for state, since in s.oldest.items()}
    yield _gauge("gateway_oldest_job_age_seconds", ages)
    yield _gauge("gateway_submissions_open", {(): s.open_submissions.found})
    yield _gauge("gateway_checks_late_seconds", {(): _age(s.now, s.look_due_at)})


def _gate(gate: Gate, now: datetime) -> Iterator[Metric]:
    doors = {
        "submit": (gate.why_submits_are_shut, gate.submits_shut_at),
        "check": (gate.checks_shut, gate.checks_shut_at),
    }
    yield _gauge("gateway_gate_open", {(door,): why is None for door, (why, _) in doors.items()})
    shut = {(door, why.value): _age(now, since) for door, (why, since) in doors.items() if why is not None}
    yield _gauge("gateway_gate_shut_seconds", shut)


def _callbacks(callbacks: CallbackFigures) -> Iterator[Metric]:
    ratio, judged = callbacks.health.loss_ratio, callbacks.health.judged
    yield _gauge("gateway_callback_loss_ratio", {(): ratio} if ratio is not None else {})
    yield _gauge("gateway_callbacks_judged", {(): judged})
    lags = {("0.5",): callbacks.lag.p50, ("0.95",): callbacks.lag.p95}
    yield _gauge("gateway_callback_lag_seconds", {quantile: lag for quantile, lag in lags.items() if lag is not None})


def _money(s: Standings, difference: Difference | None) -> Iterator[Metric]:
    yield _gauge("gateway_credits_unresolved", {(): s.credits_unresolved})
    yield _gauge("gateway_credits_unresolved_age_seconds", {(): _age(s.now, s.unresolved_since)})
    figures = {("open",): difference.open_jobs, ("held",): difference.held_credits} if difference is not None else {}
    yield _gauge("gateway_books_difference", figures)


def _deliveries(s: Standings) -> Iterator[Metric]:
    yield _gauge("gateway_deliveries_pending", {(): s.deliveries.found})
    yield _gauge("gateway_deliveries_exhausted", {(): s.deliveries_exhausted.found})
    yield _gauge("gateway_deliveries_late_seconds", {(): _age(s.now, s.delivery_due_at)})
    health = {("failing",): s.receivers_failing.found, ("parked",): s.receivers_parked.found}
    yield _gauge("gateway_receivers", health)


def _images(s: Standings, *, told: bool) -> Iterator[Metric]:
    yield _gauge("gateway_images_pending", {(): s.images.found} if told else {})
    yield _gauge("gateway_images_unstored_age_seconds", {(): _age(s.now, s.image_since)} if told else {})


def _gauge(name: str, samples: Mapping[Any, float]) -> Metric:
    """With a sample for each tuple of the labels' values."""
    labels, says = GAUGES[name]
    family = GaugeMetricFamily(name, says, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, float(value))
    return family


def _age(now: datetime, since: datetime | None) -> float:
    """In seconds; 0 where there is nothing, or where it lies ahead."""
    return max(0.0, (now - since).total_seconds()) if since is not None else 0.0
