"""The real gateway on a real SQLite file, under a clock that only the test moves, in front of the emulator's world."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from app.access.callers import Caller
from app.callbacks.receive import CallbackReceiver
from app.dispatch.dispatch import CALLBACK_PATH, Dispatcher
from app.intake import Intake
from app.jobs.job_request import JobRequest
from app.lifecycle.gate import GatePolicy
from app.lifecycle.job import Life
from app.lifecycle.policy import Policy
from app.reconcile.housekeeping import Housekeeping
from app.reconcile.reconcile import Reconciler
from app.settlement.settle import Settlement
from app.settlement.wakes import Wakes
from app.storage import schema
from app.storage.database import Database, database_url
from app.storage.due import DueStore
from app.storage.gate_row import GateStore
from app.storage.history import HistoryStore
from app.storage.intake import IntakeStore, Taken
from app.storage.lives import LifeStore
from app.storage.receipts import CallbackOutcome, ReceiptStore
from app.storage.usage import UsageStore
from app.upstream.client import UpstreamClient
from tests.machine.straight_transport import StraightTransport
from tests.storage.factory import queue_of

API_KEY = "sk-simulated"
PUBLIC = "http://gateway.invalid"
CALLER = Caller("design", "key-1", frozenset({"jobs:write", "jobs:read"}))


@dataclass
class SimulatedClock:
    """Time that passes only when it is told to."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def unix(self) -> float:
        return self.now.timestamp()

    def advance(self, step: timedelta) -> None:
        self.now += step


@dataclass
class SimulatedGateway:
    """One process's worth of the gateway; `crash` drops it and starts another on the same file."""

    path: Path
    clock: SimulatedClock
    transport: StraightTransport
    policy: Policy
    gate_policy: GatePolicy
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.database = Database(database_url(f"sqlite:///{self.path}"), clock=self.clock)
        self.lives, self.gate_store = LifeStore(self.database), GateStore(self.database)
        self.history, queue = HistoryStore(self.database), queue_of(self.database)
        self.settlement = Settlement(self.lives, self.gate_store, self.policy, self.gate_policy, Wakes())
        self.intake = Intake(IntakeStore(self.database), self.settlement.wakes)
        client = UpstreamClient("http://emulator.invalid", API_KEY, transport=self.transport)
        self.dispatcher = Dispatcher(
            queue,
            self.settlement,
            client,
            public_base_url=PUBLIC,
            submit_timeout=timedelta(seconds=30),
            monotonic=self.clock.unix,
        )
        self.reconciler = Reconciler(DueStore(self.database), self.gate_store, self.settlement, client, patience=0)
        self.housekeeping = Housekeeping(queue, self.history, UsageStore(self.database), self.settlement)
        self.receiver = CallbackReceiver(ReceiptStore(self.database), self.settlement)

    async def crash(self) -> None:
        """What was in memory is gone, what was under way with it; the file stays as it is."""
        self.transport.kill_parked()
        await asyncio.gather(*self.at_work(), return_exceptions=True)
        await self.database.dispose()
        self.start()

    def at_work(self) -> set[asyncio.Task[Any]]:
        """The senders and checkers under way."""
        return {*self.dispatcher._sending, *self.reconciler._looking}

    async def accept(self, prompt: str, idempotency_key: str | None = None) -> Taken:
        return await self.intake.accept([JobRequest(prompt=prompt)], CALLER, idempotency_key)

    async def call_back(self, url: str, body: bytes) -> CallbackOutcome:
        return await self.receiver.receive(url.rpartition(CALLBACK_PATH)[2], "application/json", body)

    async def all_lives(self) -> dict[UUID, Life]:
        found = (await self.history.page(limit=1000)).lives
        return {life.job.job_id: life for life in found}


@contextmanager
def fresh_database() -> Iterator[Path]:
    """A database file of the newest schema, gone at the end."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "gateway.db"
        path.write_bytes(_template())
        yield path


@cache
def _template() -> bytes:
    """The schema is made once: an upgrade takes longer than most tests."""

    async def make(path: Path) -> None:
        database = Database(database_url(f"sqlite:///{path}"))
        await schema.upgrade(database)
        await database.dispose()

    directory = tempfile.mkdtemp()
    try:
        path = Path(directory) / "template.db"
        asyncio.run(make(path))
        return path.read_bytes()
    finally:
        shutil.rmtree(directory)
