"""Accept: a valid request becomes jobs on disk. The answer is given once they are committed, not before."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from app.access.callers import Caller
from app.clock import system_clock
from app.idempotency import key_reused
from app.lifecycle.job import BatchPlace, CallbackFormat, Job, Life
from app.lifecycle.limits import Admission, Excess, Quota
from app.lifecycle.news import By
from app.lifecycle.request import RANDOM_SEED, GenerationRequest
from app.lifecycle.states import JobState, Priority
from app.metrics import Metrics
from app.problems import Problem
from app.settlement.tally import tally_end
from app.settlement.wakes import Wakes
from app.storage.grouped import GroupedWriter
from app.storage.intake import IntakeStore, Order, Taken
from app.traces.spans import Traces

log = structlog.get_logger(__name__)


class Wanted(Protocol):
    """What one new job is to be, by whichever route it was asked for."""

    def generation(self) -> GenerationRequest: ...

    def fingerprint(self) -> bytes:
        """What makes two requests the same for an idempotency key."""

    @property
    def priority(self) -> str:
        """`high`, `normal` or `low`."""

    @property
    def metadata(self) -> Mapping[str, str]: ...

    @property
    def callback_url(self) -> str | None: ...

    @property
    def callback_format(self) -> CallbackFormat:
        """What a delivery to `callback_url` looks like."""

    @property
    def reuse(self) -> str:
        """`exact`: the result of an identical job will do; else `never`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer where a limit of the tenant stands in the way."""

    code: str
    retry_after: int | None = None  #: seconds, where the limit itself does not say


REFUSALS = {
    Excess.REQUESTS: Refusal("rate_limit_exceeded"),
    Excess.OPEN_JOBS: Refusal("open_jobs_exceeded", retry_after=5),
    Excess.CREDITS: Refusal("credit_budget_exceeded"),
}


class Intake:
    """Accepts jobs; requests that arrive together share one commit."""

    def __init__(self, store: IntakeStore, wakes: Wakes, metrics: Metrics | None = None, traces: Traces | None = None) -> None:
        self._store, self._wakes = store, wakes
        self._metrics, self._traces = metrics or Metrics(), traces or Traces()
        self._writer: GroupedWriter[Order, Taken] = GroupedWriter(store.take)

    async def accept(
        self, requests: Sequence[Wanted], caller: Caller, idempotency_key: str | None, *, batch: bool = False
    ) -> Taken:
        """Writes the jobs down, all or none; the same key and bodies yield the first ones again.

        Raises:
            Problem: 422 `idempotency_key_reused`: the key belongs to another request; 402 and 429: a limit of the tenant.
            StorageUnavailableError: nothing was accepted.
        """
        fingerprint = _fingerprint_of_all(requests) if batch else requests[0].fingerprint()
        jobs = (
            _batch(requests, caller, idempotency_key, fingerprint) if batch else (single(requests[0], caller, idempotency_key),)
        )
        reuse = frozenset(n for n, request in enumerate(requests) if request.reuse == "exact")
        taken = await self._take(Order(jobs, reuse))
        if not taken.created and taken.lives[0].job.fingerprint != fingerprint:
            raise key_reused()
        return taken

    async def retry(self, life: Life, by: By | None = None) -> Taken:
        """A new job with the request of a settled one; a second retry yields the first.

        Where the old job's task ended well after all, its pictures settle the new one at once.

        Raises:
            Problem: 402 and 429: a limit of the tenant.
            StorageUnavailableError: nothing was accepted.
        """
        return await self._take(again(life, by))

    def announce(self, taken: Taken) -> None:
        """Tells the log and the metrics of an order that was taken, and wakes the duties that it made work for."""
        if not taken.created:
            return
        for life in taken.lives:
            log.info("accepted", job_id=str(life.job.job_id), tenant=life.job.tenant)
            self._metrics.job_accepted(life.job.tenant)
            if life.job.is_settled:
                tally_end(self._metrics, life.job)
        self._wakes.ring("dispatch")
        if any(life.job.is_settled for life in taken.lives):
            self._wakes.ring("archive")
            self._wakes.ring("deliver")

    async def knows(self, tenant: str, idempotency_key: str) -> bool:
        """Whether an earlier request of the tenant bore this key."""
        return await self._store.knows(tenant, idempotency_key)

    async def retried(self, job_ids: Collection[UUID]) -> set[UUID]:
        """Those of these jobs that were retried: to retry one again yields the same, and costs nothing."""
        return await self._store.retried(job_ids)

    async def drained(self) -> None:
        await self._writer.drained()

    async def _take(self, order: Order) -> Taken:
        span = self._traces.current()
        if (traceparent := span.traceparent) is not None:
            order = replace(order, jobs=tuple(replace(job, traceparent=traceparent) for job in order.jobs))
        taken = await self._writer.put(order)
        if not taken.lives:
            assert taken.admission is not None
            raise _refusal(taken.admission)
        first = taken.lives[0].job
        span.note(job_id=str(first.job_id), tenant=first.tenant, jobs=len(taken.lives))
        if not taken.created:
            span.link(first.traceparent)
        self.announce(taken)
        return taken


def headers_of(taken: Taken) -> dict[str, str]:
    """What an answer says beside the jobs: how the request rate stands, or that nothing new was made."""
    if not taken.created:
        return {"Idempotent-Replayed": "true"}
    return rate_limit_headers(taken.admission.quota if taken.admission else None)


def rate_limit_headers(quota: Quota | None) -> dict[str, str]:
    """How the tenant stands with its request rate. Source: draft-ietf-httpapi-ratelimit-headers-11."""
    if quota is None:
        return {}
    window, reset = math.ceil(quota.window.total_seconds()), math.ceil(quota.reset.total_seconds())
    return {
        "RateLimit-Policy": f'"requests";q={quota.limit};w={window}',
        "RateLimit": f'"requests";r={quota.remaining};t={reset}',
    }


def request_hash(request: GenerationRequest) -> bytes | None:
    """What two requests that must give the same picture have in common; None where the seed is random."""
    if request.seed == RANDOM_SEED:
        return None
    parts = (request.prompt, request.size, str(request.seed), request.output_format)
    return hashlib.sha256("\0".join(parts).encode()).digest()


def _refusal(admission: Admission) -> Problem:
    assert admission.excess is not None
    refusal, wait = REFUSALS[admission.excess], admission.retry_after
    seconds = max(1, math.ceil(wait.total_seconds())) if wait else refusal.retry_after
    headers = {**rate_limit_headers(admission.quota), **({"Retry-After": str(seconds)} if seconds else {})}
    return Problem.of(refusal.code, headers=headers)


def single(request: Wanted, caller: Caller, idempotency_key: str | None) -> Job:
    """The new job that this request asks for."""
    return _new_job(request, caller, idempotency_key=idempotency_key, fingerprint=request.fingerprint())


def _batch(requests: Sequence[Wanted], caller: Caller, idempotency_key: str | None, fingerprint: bytes) -> tuple[Job, ...]:
    """The first job bears the key and the fingerprint of the whole."""
    batch_id = uuid7()
    return tuple(
        _new_job(
            request,
            caller,
            job_id=batch_id if place == 0 else uuid7(),
            idempotency_key=idempotency_key if place == 0 else None,
            fingerprint=fingerprint if place == 0 else request.fingerprint(),
            batch=BatchPlace(batch_id, place, idempotency_key),
        )
        for place, request in enumerate(requests)
    )


def _fingerprint_of_all(requests: Sequence[Wanted]) -> bytes:
    return hashlib.sha256(b"batch" + b"".join(request.fingerprint() for request in requests)).digest()


def _new_job(
    request: Wanted,
    caller: Caller,
    *,
    idempotency_key: str | None,
    fingerprint: bytes,
    job_id: UUID | None = None,
    batch: BatchPlace | None = None,
) -> Job:
    now, generation = system_clock(), request.generation()  # the store puts the database's instant in the place of ours
    return Job(
        job_id=job_id or uuid7(),
        tenant=caller.tenant,
        state=JobState.QUEUED,
        request=generation,
        created_at=now,
        updated_at=now,
        due_at=now,
        priority=Priority[request.priority.upper()],
        metadata=request.metadata,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        callback_url=request.callback_url,
        callback_format=request.callback_format if request.callback_url is not None else None,
        request_hash=request_hash(generation),
        batch=batch,
    )


def again(life: Life, by: By | None = None) -> Order:
    """A new job with the request of a settled one; where the old one's task ended well after all, settled by that at once."""
    old, now = life.job, system_clock()
    job = Job(
        job_id=uuid7(),
        tenant=old.tenant,
        state=JobState.QUEUED,
        request=old.request,
        created_at=now,
        updated_at=now,
        due_at=now,
        priority=old.priority,
        metadata=old.metadata,
        fingerprint=old.fingerprint,
        callback_url=old.callback_url,
        callback_format=old.callback_format,
        retry_of=old.job_id,
        request_hash=request_hash(old.request),
    )
    return Order((job.with_result_of(old.job_id, life.late_images, now) if life.late_images else job,), by=by)
