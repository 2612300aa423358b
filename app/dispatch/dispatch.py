"""Queue → upstream: claim what is due, send it at once, record the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

import structlog

from app.errors import StorageUnavailableError
from app.lifecycle.answers import Accepted, SubmitAnswer, Unproven
from app.lifecycle.job import Life
from app.lifecycle.news import Answered, GivenBack
from app.lifecycle.ownership import new_token
from app.settlement.settle import Settlement
from app.storage.queue import Claim, QueueStore
from app.traces.spans import Span, Traces
from app.upstream.client import UpstreamClient, outcome_of

log = structlog.get_logger(__name__)

SENDERS = 100  #: submits under way at once in one process
RECORD_GRACE = 3.0  #: seconds that a stop waits for the last records
CALLBACK_PATH = "/callbacks/"


class Dispatcher:
    """Sends queued jobs. `sweep` is one pass; what it claims is sent by tasks of their own."""

    def __init__(
        self,
        queue: QueueStore,
        settlement: Settlement,
        client: UpstreamClient,
        *,
        public_base_url: str | None,
        submit_timeout: timedelta,
        monotonic: Callable[[], float] = time.monotonic,
        traces: Traces | None = None,
    ) -> None:
        self._queue, self._settlement, self._client = queue, settlement, client
        self._public_base_url = public_base_url
        self._submit_timeout = submit_timeout
        self._monotonic, self._traces = monotonic, traces or Traces()
        self._sending: set[asyncio.Task[None]] = set()
        self._in_doubt: set[bytes] = set()  # tokens of claims whose commit broke off; what bears them was never sent
        self._stopping = False

    async def sweep(self) -> float | None:
        """Claims as many due jobs as there are permits and free senders; returns when to come again, in seconds."""
        free = SENDERS - len(self._sending)
        if free <= 0 or self._stopping:
            return None  # a sender that ends rings the bell
        await self._give_back_what_is_in_doubt()
        claimed_at = self._monotonic()
        claim = await self._claim(free)
        self._settlement.saw_gate(claim.gate)
        self._settlement.room_is_wanted = claim.is_full
        for change, token in claim.taken:
            task = asyncio.create_task(self._send(change.after, token, claimed_at))
            self._sending.add(task)
            task.add_done_callback(self._sent)
        self._settlement.announce([change for change, _ in claim.taken])
        return (claim.retry_at - claim.now).total_seconds() if claim.retry_at else None

    async def idle(self) -> None:
        """Returns when nothing is being sent."""
        while self._sending:
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def stop(self, grace: float) -> None:
        """Gives back what is claimed and unsent, and waits up to `grace` seconds for what is in flight.

        What is still unanswered then is recorded as lost; and where even that cannot be written down, its lease runs out, and
        the next start, or another replica, calls it unconfirmed.
        """
        self.send_no_more()
        late: set[asyncio.Task[None]] = set()
        if self._sending:
            _, late = await asyncio.wait(self._sending, timeout=grace)
        for task in late:
            task.cancel()
        last = {*late, asyncio.create_task(self._give_back_what_is_in_doubt())}
        _, stuck = await asyncio.wait(last, timeout=RECORD_GRACE)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*last, return_exceptions=True)

    def send_no_more(self) -> None:
        """From now on, what is claimed and unsent is given back."""
        self._stopping = True

    async def _claim(self, free: int) -> Claim:
        made: set[bytes] = set()

        def new_one() -> tuple[str, bytes]:
            token, token_hash = new_token()
            made.add(token_hash)
            return token, token_hash

        try:
            return await self._queue.claim_due(free, self._settlement.gate_policy, self._settlement.decide, new_one)
        except StorageUnavailableError:
            self._in_doubt |= made
            raise

    async def _give_back_what_is_in_doubt(self) -> None:
        """A claim whose connection broke amid its commit may stand: nobody but us can know that nothing of it was sent."""
        if self._in_doubt:
            for job_id, number in await self._queue.claimed_with(self._in_doubt):
                await self._settlement.record(job_id, GivenBack(number, "the claim was cut off"))
                await self._settlement.report_submit(None)
            self._in_doubt.clear()

    def _sent(self, task: asyncio.Task[None]) -> None:
        was_full = len(self._sending) >= SENDERS
        self._sending.discard(task)
        if was_full:
            self._settlement.wakes.dispatch.ring()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a sender failed", exc_info=error)

    async def _send(self, life: Life, token: str, claimed_at: float) -> None:
        job = life.job
        with (
            structlog.contextvars.bound_contextvars(job_id=str(job.job_id), submission=job.submission),
            self._traces.work(
                "submit", caused_by=job.traceparent, job_id=str(job.job_id), submission=job.submission, tenant=job.tenant
            ) as span,
        ):
            await self._send_within(span, life, token, claimed_at)

    async def _send_within(self, span: Span, life: Life, token: str, claimed_at: float) -> None:
        job_id, number = life.job.job_id, life.job.submission
        if reason := self._why_not_now(claimed_at):
            span.ended("given_back", failed=True)
            await self._settlement.record_surely(job_id, GivenBack(number, reason))
            await self._settlement.report_submit(None)
            return
        answer = await self._answer(life, token)
        span.ended(outcome_of(answer), failed=not isinstance(answer, Accepted))
        with structlog.contextvars.bound_contextvars(answer=repr(answer)):
            await self._settlement.record_surely(job_id, Answered(number, answer))
        await self._settlement.report_submit(answer)

    async def _answer(self, life: Life, token: str) -> SubmitAnswer:
        callback_url = f"{self._public_base_url}{CALLBACK_PATH}{token}" if self._public_base_url else None
        try:
            return await self._client.submit(life.job.request, callback_url)
        except asyncio.CancelledError:  # by `stop`: its grace is over, and this is what is known
            return Unproven("the gateway stopped before the answer came")
        except Exception as error:
            log.error("the client failed", exc_info=error)
            return Unproven(f"the client failed: {type(error).__name__}")

    def _why_not_now(self, claimed_at: float) -> str | None:
        """A sender that was asleep must not send when its lease may end before the answer comes."""
        if self._stopping:
            return "the gateway is stopping"
        left = self._settlement.policy.lease.total_seconds() - (self._monotonic() - claimed_at)
        return "the lease is nearly over" if left < self._submit_timeout.total_seconds() + 5 else None
