"""Stores under a clock that only the tests move, and a whole gateway, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.callbacks.receive import CallbackReceiver
from app.emulator import EmulatorOptions
from app.lifecycle.gate import GatePolicy
from app.metrics import Metrics
from app.settlement.settle import Settlement
from app.settlement.wakes import Wakes
from app.settlement.watchers import Watchers
from app.storage.gate_row import GateStore
from app.storage.lives import LifeStore
from app.storage.receipts import ReceiptStore
from tests.acceptance.stage import Stage, open_stage
from tests.storage.factory import Factory
from tests.timed import clock, database, factory

__all__ = ["clock", "database", "factory"]


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    """Its tasks run until the test ends, unless their prompt says otherwise."""
    async with open_stage(database_url, EmulatorOptions(run_seconds=(3600, 3600), pending_seconds=0.02)) as opened:
        yield opened


@pytest.fixture
def receiver(factory: Factory) -> CallbackReceiver:
    lives = LifeStore(factory.database)
    gate, watchers = GateStore(factory.database), Watchers(lives)
    settlement = Settlement(lives, gate, factory.policy, GatePolicy(), Wakes(), watchers, Metrics())
    return CallbackReceiver(ReceiptStore(factory.database), settlement)
