"""The whole examination: every check, in the order in which things depend on each other."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from app.clock import Clock, system_clock
from app.config import Settings
from app.doctor import (
    books,
    callbacks,
    clocks,
    database,
    deliveries,
    duties,
    gate,
    pictures,
    public_address,
    schema,
    secret_key,
    upstream,
    waiting,
)
from app.doctor.finding import Finding, Verdict, unknown, wrong
from app.doctor.settings import bad_settings, look_at_settings, vault_of
from app.errors import SettingsError, StorageUnavailableError
from app.exits import OUT_OF_REACH
from app.lifecycle.callback_health import HEALTH_WINDOW, judge
from app.storage.balance import BalanceStore
from app.storage.database import Database, database_url
from app.storage.gate_row import GateStore
from app.storage.history import HistoryStore
from app.storage.process_lock import holder
from app.storage.stats import StatsStore

Facts = TypeVar("Facts")

#: What is read from the database, once its schema fits.
STORED = (
    secret_key.CHECK, clocks.CHECK, gate.CHECK, duties.CHECK, waiting.CHECK, books.CHECK, callbacks.CHECK, deliveries.CHECK,
)  # fmt: skip


async def examine(settings: Settings, unknown_names: Sequence[str] = (), clock: Clock = system_clock) -> list[Finding]:
    """All findings. Where the settings are wrong, only that. Nothing is changed, beside a running gateway or without one."""
    first = look_at_settings(settings, unknown_names)
    if first.verdict is Verdict.WRONG or settings.upstream_api_key is None:
        return [first]
    api_key = settings.upstream_api_key.get_secret_value()
    opened = Database(database_url(settings.database_url))
    runs = _runs(opened)
    try:
        parts = await asyncio.gather(
            _looked(database.CHECK, _database(opened, settings, clock, runs)),
            _looked(pictures.CHECK, _one(pictures.look_at_pictures(settings.image_store_url, os.geteuid()))),
            _looked(upstream.CHECK, upstream.look_at_upstream(settings.upstream_base_url, api_key, clock)),
            _looked(public_address.CHECK, _one(public_address.look_at_public_address(settings.public_base_url, runs=runs))),
        )
    finally:
        await opened.dispose()
    return [first, *(finding for part in parts for finding in part)]


async def _database(opened: Database, settings: Settings, clock: Clock, runs: bool | None) -> list[Finding]:
    there = await database.look_at_database(opened)
    if there.verdict is not Verdict.OK:
        why = "there is no database yet" if there.verdict is Verdict.WARNING else "the database is out of reach"
        return [there, *(unknown(check, why) for check in (schema.CHECK, *STORED))]
    auto = opened.is_sqlite if settings.auto_migrate is None else settings.auto_migrate
    fitting = await schema.look_at_schema(opened, upgrades_itself=auto)
    if fitting.verdict is not Verdict.OK:
        return [there, fitting, *(unknown(check, "the schema is not the one that is needed") for check in STORED)]
    return [there, fitting, *await _stored(opened, settings, clock, runs)]


async def _stored(opened: Database, settings: Settings, clock: Clock, runs: bool | None) -> list[Finding]:
    """Each check for itself, so that one that breaks down hides no other. How things stand is read once."""
    policy, keeps_images = settings.policy(), settings.image_store_url != "off"
    now = asyncio.gather(StatsStore(opened).standings(), GateStore(opened).read())
    closed = HistoryStore(opened).recently_read(HEALTH_WINDOW)
    looks = {
        secret_key.CHECK: _one(_secret_key(opened, settings)),
        clocks.CHECK: _one(clocks.look_at_clock(opened, clock)),
        gate.CHECK: _judged(now, lambda found: gate.judge_gate(found[1], found[0].now)),
        duties.CHECK: _judged(now, lambda found: duties.judge_duties(*found, runs=runs)),
        waiting.CHECK: _judged(now, lambda found: waiting.judge_waiting(found[0], keeps_images=keeps_images)),
        books.CHECK: _judged(BalanceStore(opened).difference(), books.judge_books),
        callbacks.CHECK: _judged(closed, lambda found: callbacks.judge_callbacks(judge(*found, policy), policy)),
        deliveries.CHECK: _judged(now, lambda found: deliveries.judge_deliveries(found[0])),
    }
    parts = await asyncio.gather(*(_looked(check, look) for check, look in looks.items()))
    return [finding for part in parts for finding in part]


async def _secret_key(opened: Database, settings: Settings) -> Finding:
    try:
        return await secret_key.look_at_secret_key(opened, vault_of(settings))
    except SettingsError as error:
        return bad_settings(error)


async def _judged(facts: Awaitable[Facts], say: Callable[[Facts], Finding]) -> list[Finding]:
    return [say(await facts)]


async def _one(look: Awaitable[Finding]) -> list[Finding]:
    return [await look]


async def _looked(check: str, look: Awaitable[list[Finding]]) -> list[Finding]:
    """A check that breaks down is a finding too; the others go on."""
    try:
        return await look
    except StorageUnavailableError as error:
        return [wrong(check, str(error), "look again when the database is well", OUT_OF_REACH)]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the doctor was called for
        line = (str(error).splitlines() or [""])[0][:200]
        return [wrong(check, f"the check failed: {type(error).__name__}: {line}", "see docs/operations.md; else report it")]


def _runs(opened: Database) -> bool | None:
    """Whether a gateway runs on the file; on PostgreSQL nobody can say."""
    if not opened.is_sqlite:
        return None
    try:
        return holder(opened.path) is not None
    except OSError:
        return None
