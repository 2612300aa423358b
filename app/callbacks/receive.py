"""Receive: a callback is written down and moves the next check forward. Nothing in it is believed, nor read for a stranger."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import structlog

from app.callbacks.bodies_in_hand import BodiesInHand
from app.lifecycle.ownership import hash_token
from app.metrics import Metrics
from app.settlement.settle import Settlement
from app.storage.grouped import GroupedWriter
from app.storage.receipts import CallbackOutcome, Receipt, ReceiptStore
from app.traces.spans import Traces
from app.upstream.wire import read_callback

log = structlog.get_logger(__name__)

SAMPLE_MAX = 2000  #: characters of a body that an operator may look at
READ_AT_ONCE_MAX = 16 * 1024  #: bytes of a body that is read between other work; a larger one is read beside it


class CallbackReceiver:
    """Takes in callbacks; those that arrive together share one commit."""

    def __init__(
        self, store: ReceiptStore, settlement: Settlement, metrics: Metrics | None = None, traces: Traces | None = None
    ) -> None:
        self._store, self._settlement = store, settlement
        self._metrics, self._traces = metrics or Metrics(), traces or Traces()
        self.bodies = BodiesInHand()
        self._lookups: GroupedWriter[bytes, bool] = GroupedWriter(self._look_up)  # it groups what reads as well
        self._writer: GroupedWriter[Receipt, tuple[CallbackOutcome, UUID | None]] = GroupedWriter(self._write)

    async def knows(self, token: str) -> bool:
        """Whether the token is good: what comes with one that is not is to be `turned_away`, unread.

        Any token takes one path: it is hashed and looked up by its hash, together with those that came with it. One that is
        malformed, unknown or old is found out by that lookup and by nothing before it, so the time that its answer takes does
        not tell which of the three it is, nor how near it is to a good one.

        Raises:
            StorageUnavailableError: nobody can tell; the sender should come again.
        """
        return await self._lookups.put(hash_token(token))

    async def receive(self, token: str, content_type: str | None, body: bytes) -> CallbackOutcome:
        """What became of the callback; it is committed when this returns. The token is looked up again in its transaction.

        Raises:
            StorageUnavailableError: it was not written down; the sender should come again.
        """
        receipt = await _receipt(token, content_type, body)
        del body  # what waits for the database is the receipt
        outcome, job_id = await self._writer.put(receipt)
        self._note(outcome, job_id, receipt.body_bytes)
        return outcome

    def turned_away(self, body_bytes: int) -> None:
        """A callback with a token that is not good has come, and was not kept."""
        self._note(CallbackOutcome.UNKNOWN, None, body_bytes)

    async def drained(self) -> None:
        await self._lookups.drained()
        await self._writer.drained()

    def _note(self, outcome: CallbackOutcome, job_id: UUID | None, body_bytes: int) -> None:
        job = str(job_id) if job_id else None
        self._traces.current().note(callback=outcome.value, job_id=job)
        log.info("callback", outcome=outcome.value, job_id=job, bytes=body_bytes)
        self._metrics.callback_received(outcome.value)

    async def _look_up(self, token_hashes: Sequence[bytes]) -> Sequence[bool]:
        return await self._store.known(token_hashes, self._settlement.policy.hard_deadline)

    async def _write(self, receipts: Sequence[Receipt]) -> Sequence[tuple[CallbackOutcome, UUID | None]]:
        results = await self._store.receive(receipts, self._settlement.decide, self._settlement.policy.hard_deadline)
        if any(outcome in (CallbackOutcome.POKED, CallbackOutcome.CANDIDATE) for outcome, _ in results):
            self._settlement.wakes.ring("reconcile")
        for job_id in {job_id for _, job_id in results if job_id is not None}:
            self._settlement.happened(job_id)
        return results


async def _receipt(token: str, content_type: str | None, body: bytes) -> Receipt:
    """What is kept of a callback: never its token, which is stored as a hash alone, and which the upstream may echo."""
    size, body = len(body), body.replace(token.encode("utf-8", "surrogatepass"), b"[hidden]")  # before a cut leaves half of it
    task_id = read_callback(body) if size <= READ_AT_ONCE_MAX else await asyncio.to_thread(read_callback, body)
    kind = _readable((content_type or "").replace(token, "[hidden]"))[:200]
    return Receipt(hash_token(token), task_id, kind or None, size, _sample(body))


def _sample(body: bytes) -> str:
    return _readable(body[: SAMPLE_MAX * 4].decode("utf-8", "replace"))[:SAMPLE_MAX]


def _readable(text: str) -> str:
    return text.translate(dict.fromkeys((*range(9), 11, 12, *range(14, 32)), "�"))
