"""Receive: a callback is written down and moves the next check forward. Nothing in it is believed."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog

from app.lifecycle.ownership import hash_token
from app.metrics import Metrics
from app.settlement.settle import Settlement
from app.storage.grouped import GroupedWriter
from app.storage.receipts import CallbackOutcome, Receipt, ReceiptStore
from app.traces.spans import Traces
from app.upstream.wire import read_callback

log = structlog.get_logger()

SAMPLE_MAX = 2000  #: characters of a body that an operator may look at


class Receiver:
    """Takes in callbacks; those that arrive together share one commit."""

    def __init__(
        self, store: ReceiptStore, settlement: Settlement, metrics: Metrics | None = None, traces: Traces | None = None
    ) -> None:
        self._store, self._settlement = store, settlement
        self._metrics, self._traces = metrics or Metrics(), traces or Traces()
        self._writer: GroupedWriter[Receipt, tuple[CallbackOutcome, UUID | None]] = GroupedWriter(self._write)

    async def receive(self, token: str, content_type: str | None, body: bytes) -> CallbackOutcome:
        """What became of the callback; it is committed when this returns.

        Any token takes one path: it is hashed and looked up by its hash, together with those that came with it. One that is
        malformed, unknown or old is found out by that lookup and by nothing before it, so the time that its answer takes does
        not tell which of the three it is, nor how near it is to a good one.

        Raises:
            StorageUnavailableError: it was not written down; the sender should come again.
        """
        outcome = await self._written(token, content_type, body)
        self._metrics.callback_received(outcome.value)
        return outcome

    async def drained(self) -> None:
        await self._writer.drained()

    async def _written(self, token: str, content_type: str | None, body: bytes) -> CallbackOutcome:
        receipt = Receipt(
            hash_token(token), read_callback(body), _readable(content_type or "")[:200] or None, len(body), _sample(body)
        )
        outcome, job_id = await self._writer.put(receipt)
        self._traces.current().note(callback=outcome.value, job_id=str(job_id) if job_id else None)
        log.info("callback", outcome=outcome.value, job_id=str(job_id) if job_id else None, bytes=len(body))
        return outcome

    async def _write(self, receipts: Sequence[Receipt]) -> Sequence[tuple[CallbackOutcome, UUID | None]]:
        results = await self._store.receive(receipts, self._settlement.decide, self._settlement.policy.hard_deadline)
        if any(outcome in (CallbackOutcome.POKED, CallbackOutcome.CANDIDATE) for outcome, _ in results):
            self._settlement.wakes.ring("reconcile")
        for job_id in {job_id for _, job_id in results if job_id is not None}:
            self._settlement.happened(job_id)
        return results


def _sample(body: bytes) -> str:
    return _readable(body[: SAMPLE_MAX * 4].decode("utf-8", "replace"))[:SAMPLE_MAX]


def _readable(text: str) -> str:
    return text.translate(dict.fromkeys((*range(9), 11, 12, *range(14, 32)), "�"))
