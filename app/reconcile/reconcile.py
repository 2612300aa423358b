"""Due checks → settle: look at every submission whose time has come, by a check or by its timer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime

import structlog

from app.errors import StorageUnavailableError
from app.lifecycle import gate as gates
from app.lifecycle import news as n
from app.lifecycle.answers import NoAnswer, NotFound, Reading, StillGoing
from app.lifecycle.gate import Gate
from app.lifecycle.job import Submission
from app.lifecycle.ownership import is_ours
from app.lifecycle.schedule import is_young
from app.settlement.settle import Settlement
from app.storage.due import DueClaim, DueStore, DueSubmission
from app.storage.gate_row import GateStore
from app.traces.spans import Span, Traces
from app.upstream.client import UpstreamClient, outcome_of

log = structlog.get_logger(__name__)

CHECKERS = 100  #: checks under way at once in one process
PATIENCE = 0.2  #: seconds that a reading which tells nothing new may wait for others, to be written down with them


class Reconciler:
    """The poller. `sweep` is one pass; what it claims is looked at by tasks of their own."""

    def __init__(
        self,
        due: DueStore,
        gate_store: GateStore,
        settlement: Settlement,
        client: UpstreamClient,
        traces: Traces | None = None,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._due, self._gate_store, self._settlement, self._client = due, gate_store, settlement, client
        self._traces, self._patience = traces or Traces(), patience
        self._looking: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def sweep(self) -> float | None:
        """Claims what is due, as many as there are permits and free checkers; returns when to come again, in seconds."""
        free = CHECKERS - len(self._looking)
        if free <= 0 or self._stopping:
            return None
        claim = await self._due.claim_due(free, self._settlement.gate_policy, self._settlement.policy)
        self._settlement.saw_gate(claim.gate)
        for due in claim.taken:
            self._spawn(self._look(due, claim))
        if gates.take_key_probe(claim.gate, claim.now, self._settlement.gate_policy) is not None:
            self._spawn(self._probe_key())
        return claim.again_in

    async def idle(self) -> None:
        """Returns when nothing is being looked at."""
        while self._looking:
            await asyncio.gather(*self._looking, return_exceptions=True)

    async def stop(self, grace: float) -> None:
        """Waits up to `grace` seconds for the checks under way. One that is cut off is repeated: a check changes nothing."""
        self._stopping = True
        if self._looking:
            _, late = await asyncio.wait(self._looking, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _spawn(self, look: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(look)
        self._looking.add(task)
        task.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        was_full = len(self._looking) >= CHECKERS
        self._looking.discard(task)
        if was_full:
            self._settlement.wakes.reconcile.ring()
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, StorageUnavailableError):
            log.warning("a reading was not written down; it is read again", reason=str(error))
        else:
            log.error("a check failed", exc_info=error)

    async def _look(self, due: DueSubmission, claim: DueClaim) -> None:
        if due.timer is not None:
            await self._settlement.record(due.life.job.job_id, due.timer)
        elif due.task_id is not None:
            job = due.life.job
            with self._traces.work(
                "check", caused_by=job.traceparent, job_id=str(job.job_id), submission=due.number, tenant=job.tenant
            ) as span:
                await self._check(span, due, due.task_id, claim.gate, claim.now)

    async def _check(self, span: Span, due: DueSubmission, task_id: str, gate: Gate, now: datetime) -> None:
        s = due.life.submission(due.number)
        reading = await self._client.status(task_id)
        span.ended(outcome_of(reading), failed=isinstance(reading, NoAnswer))
        news = n.Checked(
            s.number,
            task_id,
            now,
            reading,
            matches=isinstance(reading, NoAnswer | NotFound) or is_ours(reading, due.life.job.request, s.token_hash),
            poked=due.poked,
            asked=due.asked,
            others_answer=gate.found_at is not None and gate.found_at >= (s.not_found_since or now),
        )
        await self._settlement.record(due.life.job.job_id, news, patience=self._patience_with(s, reading))
        if s.task_id is not None or isinstance(reading, NoAnswer):
            counts = not s.not_found_count and not due.life.job.is_settled and not is_young(s, now, self._settlement.policy)
            await self._settlement.report_check(reading, counts=counts, now=now)

    def _patience_with(self, s: Submission, reading: Reading) -> float:
        """Nobody waits to hear that a task is still going on. But each that is held back is a checker fewer."""
        nothing_new = s.task_id is not None and isinstance(reading, StillGoing)
        return self._patience if nothing_new and len(self._looking) <= CHECKERS // 2 and not self._stopping else 0.0

    async def _probe_key(self) -> None:
        """A made-up id costs nothing, and its 404 says that the key is good again."""
        taken = False

        def take(gate: Gate, now: datetime) -> Gate:
            nonlocal taken
            probe = gates.take_key_probe(gate, now, self._settlement.gate_policy)
            taken = probe is not None
            return probe or gate

        await self._gate_store.change(take)
        if taken:
            probe = await self._client.probe()
            await self._settlement.report_key_probe(probe.reading)
