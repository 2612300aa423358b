"""Deliver: claim what is due, call its receiver, record what it said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from app.deliveries.send import Sender
from app.errors import GatewayError, StorageUnavailableError
from app.lifecycle.delivery import DeliveryState
from app.lifecycle.job import CallbackFormat, Life
from app.lifecycle.senders import Room, SenderLimits
from app.loops import Wake
from app.metrics import Metrics
from app.storage.deliveries import MANUAL, Attempt, ClaimedDelivery, DeliveryStore, DeliveryUnderWayError, Recorded
from app.storage.grouped import GroupedWriter
from app.traces.spans import Fact, Traces

log = structlog.get_logger(__name__)

#: Writes the body of a delivery, once; each format has its own.
PayloadWriter = Callable[[Life], bytes]

MARGIN = timedelta(seconds=10)  #: of a lease, for what comes after the call
MANUAL_MAX = 20  #: attempts under way at once that somebody asked for


class TooManyAttemptsError(GatewayError):
    """Too many deliveries are being sent again at this moment; try again soon."""


class UnsentError(GatewayError):
    """The delivery could not be made ready on our side; nothing was sent. The log says why."""


class Deliverer:
    """Makes deliveries. `sweep` is one pass; what it claims is sent by tasks of their own."""

    def __init__(
        self,
        store: DeliveryStore,
        sender: Sender,
        writers: Mapping[CallbackFormat, PayloadWriter],
        *,
        wake: Wake,
        limits: SenderLimits = SenderLimits(),
        monotonic: Callable[[], float] = time.monotonic,
        metrics: Metrics | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._store, self._sender, self._writers, self._wake = store, sender, writers, wake
        self._limits, self._monotonic = limits, monotonic
        self._metrics, self._traces = metrics or Metrics(), traces or Traces()
        self._sending: dict[asyncio.Task[Any], ClaimedDelivery] = {}
        self._records: GroupedWriter[Attempt, Recorded | None] = GroupedWriter(store.record)
        self._by_hand: set[UUID] = set()
        self._crowded = self._stopping = False

    async def sweep(self) -> float | None:
        """Claims what is due and has a free sender; returns when to come again, in seconds."""
        room = Room(self._limits, [(d.receiver, d.failing) for d in self._sending.values()])
        self._crowded = room.is_full
        if room.is_full or self._stopping:
            return None  # a sender that ends rings the bell
        claimed_at = self._monotonic()
        claim = await self._store.claim_due(room, self._written)
        self._crowded = claim.crowded
        for delivery in claim.taken:
            self._spawn(delivery, self._send(delivery, claimed_at))
        if claim.taken:
            return 0.0
        return (claim.retry_at - claim.now).total_seconds() if claim.retry_at else None

    async def redeliver(self, delivery_id: UUID, *, by: str) -> Recorded | None:
        """Sends it at once, whatever its state, and returns how it stands then; None where there is no such delivery.

        A failure of such an attempt changes nothing of the schedule.

        Raises:
            DeliveryUnderWayError: it may be in another sender's hands.
            TooManyAttemptsError: too many such attempts are under way.
            UnsentError: its body or signature could not be made.
            StorageUnavailableError: the database is out of reach; it may have been sent.
        """
        if delivery_id in self._by_hand:  # a finished one has no lease that would keep the second attempt off
            raise DeliveryUnderWayError
        if len(self._by_hand) >= MANUAL_MAX:
            raise TooManyAttemptsError
        self._by_hand.add(delivery_id)
        try:
            delivery = await self._store.claim(delivery_id, self._written, by=by)
            return None if delivery is None else await self._attempt(delivery)
        finally:
            self._by_hand.discard(delivery_id)

    async def idle(self) -> None:
        """Returns when nothing is being sent by a sweep."""
        while self._sending:
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def stop(self, grace: float) -> None:
        """Waits up to `grace` seconds for the calls under way. One that is cut off is repeated when its lease ends."""
        self.send_no_more()
        if self._sending:
            _, late = await asyncio.wait(self._sending, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def send_no_more(self) -> None:
        """From now on nothing is claimed."""
        self._stopping = True

    async def drained(self) -> None:
        """Returns when everything that was handed over for recording is recorded."""
        await self._records.drained()

    def _spawn(self, delivery: ClaimedDelivery, send: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(send)
        self._sending[task] = delivery
        task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[Any]) -> None:
        delivery = self._sending.pop(task)
        if self._crowded:
            self._wake.ring()
        if task.cancelled() or (error := task.exception()) is None:
            return
        about = {"delivery_id": str(delivery.delivery_id), "origin": delivery.receiver.origin}
        if isinstance(error, GatewayError):
            log.warning("a delivery was not made or not recorded; it is repeated", reason=str(error), **about)
        else:
            log.error("a sender failed; the delivery is repeated", exc_info=error, **about)

    async def _send(self, delivery: ClaimedDelivery, claimed_at: float) -> None:
        asleep = self._monotonic() - claimed_at
        if asleep > (self._store.lease - self._sender.deadline - MARGIN).total_seconds():
            return  # somebody else may have it by now
        await self._attempt(delivery)

    async def _attempt(self, delivery: ClaimedDelivery) -> Recorded | None:
        with self._traces.work("deliver", caused_by=delivery.traceparent, **_facts(delivery)) as span:
            try:
                attempt = await self._made(delivery)
            except UnsentError as error:
                await self._store.note_unsent(delivery, str(error))
                raise
            recorded = await self._records.put(attempt)
            _tell(attempt, recorded)
            outcome = _outcome_of(attempt, recorded)
            span.note(status=attempt.outcome.status)
            span.ended(outcome, failed=not attempt.outcome.succeeded)
        self._metrics.delivery_attempted(outcome)
        if recorded is not None and recorded.resumed:
            self._wake.ring()
        return recorded

    async def _made(self, delivery: ClaimedDelivery) -> Attempt:
        """What goes wrong on our side is no failure of the receiver, and no attempt."""
        if delivery.body is None:
            raise UnsentError("nothing was sent: its body cannot be written")
        try:
            return await self._sender.attempt(delivery)
        except StorageUnavailableError:
            raise
        except Exception as error:
            log.error("a delivery cannot be signed", delivery_id=str(delivery.delivery_id), reason=repr(error))
            raise UnsentError("nothing was sent: it cannot be signed") from error

    def _written(self, format_: CallbackFormat, life: Life) -> bytes | None:
        try:
            return self._writers[format_](life)
        except Exception as error:  # noqa: BLE001 - one that cannot be written must not keep others from being claimed
            # Without its text: it may hold what the job says.
            log.error("a delivery's body cannot be written", job_id=str(life.job.job_id), error=type(error).__name__)
            return None


def _outcome_of(attempt: Attempt, recorded: Recorded | None) -> str:
    """In a word, for metrics and traces."""
    if attempt.outcome.succeeded:
        return "delivered"
    if (
        recorded is None
        or attempt.delivery.number == MANUAL
        or recorded.state not in (DeliveryState.GONE, DeliveryState.EXHAUSTED)
    ):
        return "failed"
    return recorded.state.value


def _facts(delivery: ClaimedDelivery) -> dict[str, Fact]:
    """For the trace, which gets the origin alone, like the log."""
    receiver = delivery.receiver
    return {
        "job_id": str(delivery.job_id), "delivery_id": str(delivery.delivery_id), "tenant": receiver.tenant,
        "receiver": receiver.origin, "attempt": delivery.number or "manual",
    }  # fmt: skip


def _tell(attempt: Attempt, recorded: Recorded | None) -> None:
    """The log gets the origin alone: the rest of the address may be a secret of the caller's."""
    delivery, receiver = attempt.delivery, attempt.delivery.receiver
    log.info(
        "delivery", delivery_id=str(delivery.delivery_id), job_id=str(delivery.job_id), tenant=receiver.tenant,
        origin=receiver.origin, attempt=delivery.number or "manual", status=attempt.outcome.status, error=attempt.error,
        ms=attempt.milliseconds, state=recorded.state.value if recorded else None,
    )  # fmt: skip
    if recorded is None:
        return
    if recorded.parked:
        log.warning("receiver parked: it failed for five days", tenant=receiver.tenant, origin=receiver.origin)
    if recorded.state is DeliveryState.EXHAUSTED and delivery.number != MANUAL:
        log.warning("delivery exhausted", delivery_id=str(delivery.delivery_id), origin=receiver.origin)
