"""Where news becomes fact: decided by the pure core, applied under guard, many at once; then whoever waits is woken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from app.lifecycle import gate as gates
from app.lifecycle.answers import Accepted, NoAnswer, NotFound, Reading, SubmitAnswer
from app.lifecycle.gate import Gate, GatePolicy
from app.lifecycle.job import Life, Submission
from app.lifecycle.news import News
from app.lifecycle.policy import Policy
from app.lifecycle.states import JobState
from app.lifecycle.transitions import Change, Effect, decide
from app.metrics import Metrics
from app.settlement.tally import tally
from app.settlement.wakes import Wakes
from app.settlement.watchers import Watchers
from app.storage.gate_row import GateStore
from app.storage.grouped import GroupedWriter
from app.storage.lives import LifeStore
from app.storage.until_stored import until_stored

log = structlog.get_logger(__name__)

#: The gate remembers when a task was last found; more often than this it need not be told.
_FOUND_EVERY = timedelta(seconds=10)
_SWEPT_EVERY = timedelta(seconds=1)  #: by the loop of checks, whoever rings


class Settlement:
    """Applies news to jobs and to the gate. `policy` may be replaced while it runs, as callbacks prove good or bad."""

    def __init__(
        self,
        lives: LifeStore,
        gate_store: GateStore,
        policy: Policy,
        gate_policy: GatePolicy,
        wakes: Wakes,
        watchers: Watchers | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.policy, self.gate_policy, self.wakes = policy, gate_policy, wakes
        self._lives, self._gate_store = lives, gate_store
        self._watchers = watchers or Watchers(lives)
        self._metrics = metrics or Metrics()
        self._gate = Gate(misses=1)  # as if troubled, until the row has been seen
        self.room_is_wanted = True  #: whether the queue waits for a submission to close, as far as its last claim saw
        self._writer: GroupedWriter[tuple[UUID, News], Change | None] = GroupedWriter(self._write)

    async def record(self, job_id: UUID, news: News, *, patience: float = 0.0) -> Change | None:
        """Applies the news; returns what it changed, or None where there is no such job.

        Args:
            patience: for news that nobody waits for, how many seconds it may wait for more, to be written together.

        Raises:
            StorageUnavailableError: the database is out of reach.
        """
        return await self._writer.put((job_id, news), patience=patience)

    async def record_surely(self, job_id: UUID, news: News) -> Change | None:
        """Like `record`, but waits for the database to come back: for news that nobody could learn again."""
        return await until_stored(lambda: self.record(job_id, news))

    async def drained(self) -> None:
        await self._writer.drained()

    def decide(self, life: Life, news: News, now: datetime) -> Change:
        return decide(life, news, now, self.policy)

    def announce(self, changes: Sequence[Change | None]) -> None:
        """Tells the log and the metrics, and wakes the duties that these changes made work for."""
        for change in changes:
            if change is None or change.effect in (Effect.STALE, Effect.REFUSED):
                continue
            tally(self._metrics, change)
            job = change.after.job
            for event in change.events:
                log.info(event.type, job_id=str(job.job_id), tenant=job.tenant, state=job.state.value, **event.data)
            self._watchers.happened(job.job_id)
            if job.is_settled:
                self._watchers.ring(job.job_id)
                self.wakes.tell_others("watch")
                if job.images and not change.before.job.is_settled:
                    self.wakes.ring("archive")
                if job.callback_url is not None and not change.before.job.is_settled:
                    self.wakes.ring("deliver")
            if (self.room_is_wanted and _makes_room(change)) or job.state is JobState.QUEUED:
                self.wakes.ring("dispatch")
            if _wants_a_look(change):
                self.wakes.ring("reconcile")

    def happened(self, job_id: UUID) -> None:
        """Tells those who watch the job that its timeline has grown."""
        self._watchers.happened(job_id)

    # --- the gate ---

    def saw_gate(self, gate: Gate) -> None:
        """Keeps the latest sight of the gate, which saves writes that would change nothing."""
        self._gate = gate

    async def report_submit(self, answer: SubmitAnswer | None) -> None:
        """Tells the gate how a submit went; None stands for one that was given back unsent."""
        seen = self._gate
        untroubled = seen.shut is None and not seen.failures and seen.probe_until is None
        if untroubled and (answer is None or isinstance(answer, Accepted)):
            return
        await self._change_gate(lambda gate, now: gates.after_submit(gate, answer, now, self.gate_policy))

    async def report_check(self, reading: Reading, *, counts: bool, now: datetime) -> None:
        """Tells the gate how a check of a task that we were told of went."""
        seen = self._gate
        if isinstance(reading, NoAnswer) and not reading.unauthorized:
            return
        if isinstance(reading, NotFound) and not counts:
            return
        told = seen.found_at is not None and now - seen.found_at < _FOUND_EVERY
        if not isinstance(reading, NotFound | NoAnswer) and told and not seen.misses and seen.checks_possible:
            return
        await self._change_gate(
            lambda gate, at: gates.after_check(gate, reading, counts=counts, now=at, policy=self.gate_policy)
        )

    async def report_key_probe(self, reading: Reading) -> None:
        await self._change_gate(lambda gate, _now: gates.after_key_probe(gate, reading))

    async def _change_gate(self, how: Callable[[Gate, datetime], Gate]) -> None:
        before, after = await until_stored(lambda: self._gate_store.change(how))
        self.saw_gate(after)
        if (before.shut, before.checks_shut) != (after.shut, after.checks_shut):
            log.warning(
                "gate", submits=after.shut or "open", checks=after.checks_shut or "open", detail=after.shut_detail,
                until=after.shut_until.isoformat() if after.shut_until else None,
            )  # fmt: skip
            self.wakes.ring("dispatch")
            self.wakes.ring("reconcile")

    async def _write(self, items: Sequence[tuple[UUID, News]]) -> Sequence[Change | None]:
        changes = await self._lives.apply(items, self.decide)
        self.announce(changes)
        return changes


def _makes_room(change: Change) -> bool:
    """A submission closed, so a permit is free."""
    before = sum(s.is_open for s in change.before.submissions)
    return sum(s.is_open for s in change.after.submissions) < before


def _wants_a_look(change: Change) -> bool:
    """A check was brought forward, to before the next sweep that comes anyway."""
    before = {s.number: s.due_at for s in change.before.submissions}
    return any(
        s.due_at is not None and s.can_be_checked and ((was := before.get(s.number)) is None or s.due_at < was) and _is_soon(s)
        for s in change.after.submissions
    )


def _is_soon(s: Submission) -> bool:
    known = max(filter(None, (s.sent_at, s.answered_at, s.checked_at, s.poked_at, s.asked_at)))
    return s.due_at is not None and s.due_at - known < _SWEPT_EVERY
