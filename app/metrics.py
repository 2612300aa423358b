"""What this process has done, counted for Prometheus. Each process counts for itself; sums over all are Prometheus' work.

No name or label here holds what a caller wrote, apart from names of tenants, and of those no more than `TENANTS_MAX`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app import __version__

Phase = Literal["queue", "upstream", "total"]
Operation = Literal["submit", "status"]
CreditKind = Literal["consumed", "released", "unresolved"]

NONE = "none"  #: a label's value where there is nothing to say
OTHER = "other"  #: the tenant of all that come after the first `TENANTS_MAX`
TENANTS_MAX = 1000

#: Outcomes that are told from the start, as 0: else the first one of its kind would be no increase.
CALLBACK_OUTCOMES = ("unknown", "poked", "candidate", "unreadable", "late")
DELIVERY_OUTCOMES = ("delivered", "failed", "exhausted", "gone")
IMAGE_OUTCOMES = ("stored", "failed", "unusable", "given_up")

_JOB_SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 6 * 3600, 24 * 3600)
_REQUEST_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)


class Metrics:
    """The counters of one process. Made by `gateway` and handed to whoever has something to count.

    Args:
        tenants_max: names of tenants that get series of their own.
    """

    def __init__(self, *, tenants_max: int = TENANTS_MAX) -> None:
        self._tenants, self._tenants_max = set[str](), tenants_max
        self._registry = made = CollectorRegistry()
        info = Gauge("gateway_build_info", "The version of this process; always 1.", ["version"], registry=made)
        info.labels(__version__).set(1)
        self._accepted = Counter("gateway_jobs_accepted_total", "Jobs accepted.", ["tenant"], registry=made)
        self._settled = Counter("gateway_jobs_settled_total", "Jobs settled.", ["state", "via", "code"], registry=made)
        self._job_seconds = Histogram(
            "gateway_job_seconds", "How long settled jobs took that were sent, seconds: from accept to the last send (queue), "
            "on to the end (upstream), and in all (total).", ["phase"], buckets=_JOB_SECONDS, registry=made,
        )  # fmt: skip
        self._requests = Counter(
            "gateway_upstream_requests_total", "Requests to the upstream.", ["operation", "outcome"], registry=made
        )
        self._request_seconds = Histogram(
            "gateway_upstream_request_seconds", "How long requests to the upstream took, in seconds.", ["operation"],
            buckets=_REQUEST_SECONDS, registry=made,
        )  # fmt: skip
        self._callbacks = Counter("gateway_callbacks_total", "Callbacks received.", ["outcome"], registry=made)
        self._deliveries = Counter("gateway_deliveries_total", "Attempts of deliveries.", ["outcome"], registry=made)
        self._images = Counter("gateway_images_total", "Tries to archive a picture.", ["outcome"], registry=made)
        self._credits = Counter(
            "gateway_credits_total", "Credits that were consumed, released, or became unresolved.", ["tenant", "kind"],
            registry=made,
        )  # fmt: skip
        for counter, outcomes in (
            (self._callbacks, CALLBACK_OUTCOMES), (self._deliveries, DELIVERY_OUTCOMES), (self._images, IMAGE_OUTCOMES),
        ):  # fmt: skip
            for outcome in outcomes:
                counter.labels(outcome)

    def job_accepted(self, tenant: str) -> None:
        self._accepted.labels(self._named(tenant)).inc()

    def job_settled(self, state: str, via: str | None, code: str | None) -> None:
        """A job came to its end: `via` what brought the news, `code` why it failed."""
        self._settled.labels(state, via or NONE, code or NONE).inc()

    def job_took(self, phase: Phase, seconds: float) -> None:
        self._job_seconds.labels(phase).observe(seconds)

    def credits(self, tenant: str, kind: CreditKind, amount: int) -> None:
        """Credits of the upstream that moved; `unresolved` ones are counted once more when they are known."""
        self._credits.labels(self._named(tenant), kind).inc(amount)

    def upstream_asked(self, operation: Operation, outcome: str, seconds: float) -> None:
        self._requests.labels(operation, outcome).inc()
        self._request_seconds.labels(operation).observe(seconds)

    def callback_received(self, outcome: str) -> None:
        self._callbacks.labels(outcome).inc()

    def delivery_attempted(self, outcome: str) -> None:
        """An attempt ended; `failed`: another may follow, `exhausted`: it was the last one."""
        self._deliveries.labels(outcome).inc()

    def image_tried(self, outcome: str) -> None:
        """A try ended; `failed`: another follows."""
        self._images.labels(outcome).inc()

    def families(self) -> Iterator[Metric]:
        """All that is counted here, and how the process itself is doing."""
        for family in (*self._registry.collect(), *ProcessCollector(registry=None).collect()):
            # When a series began says nothing that its value does not, and doubles the length of the page.
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family

    def _named(self, tenant: str) -> str:
        if tenant not in self._tenants:
            if len(self._tenants) >= self._tenants_max:
                return OTHER
            self._tenants.add(tenant)
        return tenant


def exposition(families: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """The page that Prometheus scrapes, in the format that its `Accept` header asks for; and the media type."""
    encode, media_type = choose_encoder(accept)
    return encode(_Page(families)), media_type


class _Page(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
