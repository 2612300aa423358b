"""What `GET /stats` answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime

from pydantic import BaseModel, Field

from app.instants import first_of_month
from app.lifecycle.gate import Gate, Shut
from app.stats.figures import Vitals
from app.stats.pace import SLICES, Quantiles, Window, pace_of
from app.stats.series import Bucket
from app.storage.counted import Counted
from app.storage.pace import Stretch
from app.storage.stats import Standings
from app.storage.usage import TenantCredits


class CountView(BaseModel):
    count: int
    more: bool = Field(description="There are more than were counted.")


class StateView(CountView):
    oldest_seconds: float | None = Field(
        description="Age of the oldest: since accept where queued, since its send where it was sent; null for settled jobs."
    )


class QuantilesView(BaseModel):
    """Seconds; null where nothing is known."""

    p50: float | None
    p95: float | None


class PaceView(BaseModel):
    """A stretch of time that ends now. Of one tenant, jobs count where they were accepted; of all, where they were settled."""

    window: Window
    settled: int
    estimated: bool = Field(description="There were too many to count them all.")
    failed_share: float | None = Field(description="0 to 1; null where none was settled.")
    queue: QuantilesView = Field(description="From accept to the last send.")
    upstream: QuantilesView = Field(description="From the last send to the end.")
    total: QuantilesView = Field(description="From accept to the end.")


class BucketView(BaseModel):
    """Of one tenant, jobs count where they were accepted; of all, where they were settled."""

    started_at: datetime
    accepted: int
    succeeded: int
    failed: int
    canceled: int
    p50_seconds: float | None = Field(description="From accept to the end, from a sample of those that were sent.")
    p95_seconds: float | None
    estimated: bool = Field(description="There were too many to count them all.")


class SeriesView(BaseModel):
    """How jobs went in a stretch of time that ends now, for charts."""

    window: Window
    tenant: str | None = Field(description="Of whom these figures are; null: of all.")
    bucket_seconds: int = Field(description="How long a bucket is; the last one is still going on.")
    buckets: list[BucketView]


class GateDoorView(BaseModel):
    open: bool
    reason: Shut | None = Field(description="Why it is shut; for admin keys.")
    since: datetime | None = Field(description="For admin keys.")


class GateView(BaseModel):
    submits: GateDoorView
    checks: GateDoorView


class CallbacksView(BaseModel):
    """Whether callbacks arrive, by the tasks that ended in the last hour."""

    loss_ratio: float | None = Field(description="0 to 1; null while there is nothing to judge by.")
    judged: int = Field(description="Tasks by which it is judged.")
    first_check_seconds: float = Field(description="How long the first check waits for a callback.")
    lag: QuantilesView = Field(description="From a callback's arrival to the end of its task's books.")


class TenantCreditsView(BaseModel):
    tenant: str
    consumed: int = Field(description="In this month (UTC).")
    held: int = Field(description="Reserved or unresolved now.")


class CreditsView(BaseModel):
    open_submissions: CountView = Field(description="Submissions whose books are open; each holds a slot upstream.")
    unresolved: int = Field(description="May have been spent; nobody knows yet.")
    unresolved_seconds: float | None = Field(description="Since the send of the oldest of them.")
    month: date = Field(description="The first day of this month (UTC).")
    tenants: list[TenantCreditsView] = Field(description="Those that consumed most first, 100 at most.")


class DeliveriesView(BaseModel):
    pending: CountView
    exhausted: CountView = Field(description="Given up after their last attempt.")
    late_seconds: float | None = Field(description="For how long the longest due one has been due; of all tenants only.")
    receivers_failing: CountView
    receivers_parked: CountView


class ImagesView(BaseModel):
    pending: CountView
    oldest_seconds: float | None = Field(description="Since when the longest pending one waits.")


class StatsView(BaseModel):
    """The gateway at a glance. Counts end at a limit; figures are a few seconds old, the week's a few minutes."""

    at: datetime
    tenant: str | None = Field(description="Of whom these figures are; null: of all.")
    jobs: dict[str, StateView] = Field(description="By state.")
    windows: list[PaceView]
    gate: GateView
    checks_late_seconds: float | None = Field(
        description="For how long the longest due check or timer has been due; of all tenants only."
    )
    callbacks: CallbacksView | None = Field(description="For admin keys; else null.")
    credits: CreditsView
    deliveries: DeliveriesView
    images: ImagesView | None = Field(description="Pictures to be archived; null where none are kept.")


def stats_view(
    tenant: str | None,
    standings: Standings,
    vitals: Vitals,
    windows: dict[Window, list[Stretch]],
    this_month: list[TenantCredits],
) -> StatsView:
    """Of one tenant, nothing is told of how the gateway stands with the upstream but whether it sends."""
    now, ages = standings.now, {state: _age(standings, since) for state, since in standings.oldest.items()}
    return StatsView(
        at=now,
        tenant=tenant,
        jobs={
            state.value: StateView(count=count.found, more=count.more, oldest_seconds=ages.get(state))
            for state, count in standings.jobs.items()
        },
        windows=[_window(window, stretches) for window, stretches in windows.items()],
        gate=_gate(vitals.gate, tell_why=tenant is None),
        checks_late_seconds=_age(standings, standings.look_due_at),
        callbacks=_callbacks(vitals) if tenant is None else None,
        credits=CreditsView(
            open_submissions=_count(standings.open_submissions),
            unresolved=standings.credits_unresolved,
            unresolved_seconds=_age(standings, standings.unresolved_since),
            month=first_of_month(now),
            tenants=[TenantCreditsView(tenant=c.tenant, consumed=c.consumed, held=c.held) for c in this_month],
        ),
        deliveries=DeliveriesView(
            pending=_count(standings.deliveries),
            exhausted=_count(standings.deliveries_exhausted),
            late_seconds=_age(standings, standings.delivery_due_at),
            receivers_failing=_count(standings.receivers_failing),
            receivers_parked=_count(standings.receivers_parked),
        ),
        images=_images(standings) if vitals.keeps_images else None,
    )


def series_view(window: Window, tenant: str | None, buckets: Sequence[Bucket]) -> SeriesView:
    length, _ = SLICES[window]
    views = [BucketView(**asdict(bucket)) for bucket in buckets]
    return SeriesView(window=window, tenant=tenant, bucket_seconds=int(length.total_seconds()), buckets=views)


def _images(standings: Standings) -> ImagesView:
    return ImagesView(pending=_count(standings.images), oldest_seconds=_age(standings, standings.image_since))


def _window(window: Window, stretches: list[Stretch]) -> PaceView:
    pace = pace_of(stretches)
    return PaceView(
        window=window,
        settled=pace.settled,
        estimated=pace.estimated,
        failed_share=pace.failed_share,
        queue=_quantiles(pace.queue),
        upstream=_quantiles(pace.upstream),
        total=_quantiles(pace.total),
    )


def _gate(gate: Gate, *, tell_why: bool) -> GateView:
    why, since = gate.why_submits_are_shut, gate.submits_shut_at
    submits = GateDoorView(open=why is None, reason=why if tell_why else None, since=since if tell_why and why else None)
    checks = GateDoorView(
        open=gate.checks_possible,
        reason=gate.checks_shut if tell_why else None,
        since=gate.checks_shut_at if tell_why else None,
    )
    return GateView(submits=submits, checks=checks)


def _callbacks(vitals: Vitals) -> CallbacksView:
    health = vitals.callbacks.health
    return CallbacksView(
        loss_ratio=health.loss_ratio,
        judged=health.judged,
        first_check_seconds=health.grace.total_seconds(),
        lag=_quantiles(vitals.callbacks.lag),
    )


def _quantiles(quantiles: Quantiles) -> QuantilesView:
    return QuantilesView(p50=quantiles.p50, p95=quantiles.p95)


def _count(count: Counted) -> CountView:
    return CountView(count=count.found, more=count.more)


def _age(standings: Standings, since: datetime | None) -> float | None:
    return None if since is None else round(max(0.0, (standings.now - since).total_seconds()), 3)
