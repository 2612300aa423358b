"""The figures that operators watch, read from the database at most every few seconds, however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from app.lifecycle.callback_health import HEALTH_WINDOW, CallbackHealth, judge
from app.lifecycle.gate import Gate
from app.lifecycle.policy import Policy
from app.stats.pace import Quantiles, Window, edges_of, quantiles
from app.stats.recent import Recent
from app.stats.series import Bucket, buckets_of
from app.storage.balance import BalanceStore, Difference
from app.storage.database import Database
from app.storage.gate_row import GateStore
from app.storage.history import HistoryStore
from app.storage.pace import PaceStore, Stretch
from app.storage.stats import Standings, StatsStore
from app.storage.usage import TenantCredits, UsageStore

STANDINGS_KEPT = timedelta(seconds=5)
BALANCE_KEPT = timedelta(minutes=1)  #: it reads all days of all tenants
CREDITS_KEPT = timedelta(seconds=30)
PACE_KEPT = {Window.HOUR: timedelta(seconds=10), Window.DAY: timedelta(minutes=1), Window.WEEK: timedelta(minutes=5)}


@dataclass(frozen=True, slots=True)
class CallbackFigures:
    health: CallbackHealth
    lag: Quantiles  #: from a callback's arrival to the end of its submission's books


@dataclass(frozen=True, slots=True)
class Vitals:
    """How the gateway stands, whoever looks."""

    standings: Standings
    gate: Gate
    callbacks: CallbackFigures
    keeps_images: bool  #: if not, pictures that are pending stay so


class Figures:
    """Remembers what it read.

    Args:
        policy: as the settings have it; callbacks are judged by it.
        keeps_images: whether pictures are archived at all; if not, none is waited for.
    """

    def __init__(self, database: Database, policy: Policy, *, keeps_images: bool = True) -> None:
        self._keeps_images = keeps_images
        self._stats, self._pace, self._balance = StatsStore(database), PaceStore(database), BalanceStore(database)
        self._gate, self._history, self._usage, self._policy = (
            GateStore(database), HistoryStore(database), UsageStore(database), policy,
        )  # fmt: skip
        self._vitals: Recent[None, Vitals] = Recent(self._read_vitals, STANDINGS_KEPT)
        self._standings: Recent[str, Standings] = Recent(self._stats.standings, STANDINGS_KEPT)
        self._differences: Recent[None, Difference | None] = Recent(lambda _: self._balance.difference(), BALANCE_KEPT)
        self._credits: Recent[str | None, list[TenantCredits]] = Recent(self._usage.credits_this_month, CREDITS_KEPT)
        self._windows = {w: Recent(self._reader_of(w), PACE_KEPT[w]) for w in Window}

    async def vitals(self) -> Vitals:
        """Raises StorageUnavailableError, as do all of these."""
        return await self._vitals.of(None)

    async def standings(self, tenant: str) -> Standings:
        return await self._standings.of(tenant)

    async def difference(self) -> Difference | None:
        """How far the books are out of balance; see `BalanceStore`."""
        return await self._differences.of(None)

    async def stretches(self, window: Window, tenant: str | None) -> Sequence[Stretch]:
        """What `slices_of` and `pace_of` tell of: of all tenants, or of one."""
        return await self._windows[window].of(tenant)

    async def series(self, window: Window, tenant: str | None) -> list[Bucket]:
        """What charts are drawn from; as old as `PACE_KEPT` at most."""
        return buckets_of(window, await self.stretches(window, tenant))

    async def credits_this_month(self, tenant: str | None) -> list[TenantCredits]:
        """By tenant, those that consumed most first."""
        return await self._credits.of(tenant)

    async def stop(self) -> None:
        """Ends the looks that are under way."""
        kept: tuple[Recent[Any, Any], ...] = (
            self._vitals, self._standings, self._differences, self._credits, *self._windows.values(),
        )  # fmt: skip
        await asyncio.gather(*(recent.stop() for recent in kept))

    async def _read_vitals(self, _: None) -> Vitals:
        standings, gate = await self._stats.standings(), await self._gate.read()
        lags = await self._stats.callback_lags(HEALTH_WINDOW)
        lag = quantiles([(lag.total_seconds(), 1) for lag in lags])
        return Vitals(standings, gate, CallbackFigures(await self._callback_health(), lag), self._keeps_images)

    async def _callback_health(self) -> CallbackHealth:
        """Where none are asked for, none are lost."""
        read, now = await self._history.recently_read(HEALTH_WINDOW)
        health = judge(read, now, self._policy)
        return health if self._policy.callbacks_expected else replace(health, loss_ratio=None)

    def _reader_of(self, window: Window) -> Callable[[str | None], Awaitable[list[Stretch]]]:
        async def read(tenant: str | None) -> list[Stretch]:
            return await self._pace.stretches(edges_of(window, await self._stats.now()), tenant)

        return read
