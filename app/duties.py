"""The duties: loops that do what is due, beside the API or in a process of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from app.dispatch.dispatch import Dispatcher
from app.gateway import Gateway
from app.lifecycle.answers import Unproven
from app.lifecycle.news import Answered
from app.loops import Loop
from app.operations.run import OperationRunner
from app.reconcile.housekeeping import Housekeeping
from app.reconcile.reconcile import Reconciler
from app.retention.prune import Pruner
from app.storage.due import DueStore
from app.storage.keys import USE_EVERY
from app.storage.queue import QueueStore
from app.storage.retention import RetentionStore
from app.upstream.client import Timeouts, UpstreamClient

OPERATE_EVERY = 2.0  #: seconds between looks for operations that nobody rang for
POLL_FLOOR = 1.0  #: seconds between sweeps that nobody rang for
HOUSEKEEPING_EVERY = 15.0  #: seconds
ARCHIVE_EVERY = 5.0  #: seconds between looks for pictures that nobody rang for
PRUNE_EVERY = 600.0  #: seconds
STOP_GRACE = 12.0  #: seconds that a stop waits for what is in flight, after the server's own; all of a stop: docs/operations.md


@asynccontextmanager
async def duties(gateway: Gateway, client: UpstreamClient, timeouts: Timeouts) -> AsyncIterator[None]:
    """Sends, checks, delivers, archives and prunes until the block ends; then what is in flight has `STOP_GRACE` to end.

    Raises:
        StorageUnavailableError: the database is out of reach.
    """
    await _end_old_leases(gateway)
    database, settlement = gateway.database, gateway.settlement
    queue = QueueStore(database)
    dispatcher = Dispatcher(
        queue,
        settlement,
        client,
        public_base_url=gateway.settings.public_base_url,
        submit_timeout=timeouts.submit,
        traces=gateway.traces,
    )
    reconciler = Reconciler(DueStore(database), gateway.gate_store, settlement, client, gateway.traces)
    housekeeping = Housekeeping(queue, gateway.history, gateway.usage, settlement)
    runner = OperationRunner(gateway.operations, gateway.lives, gateway.history, settlement, gateway.intake)
    loops = [
        Loop("dispatch", dispatcher.sweep, floor=POLL_FLOOR, wake=settlement.wakes.dispatch),
        Loop("reconcile", reconciler.sweep, floor=POLL_FLOOR, wake=settlement.wakes.reconcile),
        Loop("deliver", gateway.deliverer.sweep, floor=POLL_FLOOR, wake=settlement.wakes.deliver),
        Loop("operate", runner.sweep, floor=OPERATE_EVERY, wake=settlement.wakes.operate),
        Loop("housekeeping", housekeeping.sweep, floor=HOUSEKEEPING_EVERY),
    ]
    stops = [dispatcher.stop, reconciler.stop, gateway.deliverer.stop]
    if gateway.archive is not None:
        loops.append(Loop("archive", gateway.archive.sweep, floor=ARCHIVE_EVERY, wake=settlement.wakes.archive))
        stops.append(gateway.archive.stop)
    if gateway.settings.retention_days:
        let_pictures_go = gateway.archive.let_pictures_go if gateway.archive is not None else None
        pruner = Pruner(RetentionStore(database), timedelta(days=gateway.settings.retention_days), let_pictures_go)
        loops.append(Loop("prune", pruner.sweep, floor=PRUNE_EVERY))
        gateway.on_stop.append(pruner.stop)
    gateway.on_stop.extend([dispatcher.send_no_more, gateway.deliverer.send_no_more])
    try:
        async with _looping(loops):
            yield
    finally:
        await asyncio.gather(*(stop(STOP_GRACE) for stop in stops))


@asynccontextmanager
async def chores(gateway: Gateway) -> AsyncIterator[None]:
    """What every process does for itself until the block ends: tells those who wait for a job, notes which keys were used."""
    async with _looping([_watching(gateway), _noting_use(gateway)]):
        yield


def _watching(gateway: Gateway) -> Loop:
    return Loop("watch", gateway.watchers.sweep, floor=POLL_FLOOR, wake=gateway.settlement.wakes.watch)


def _noting_use(gateway: Gateway) -> Loop:
    last_use = gateway.access.last_use
    return Loop("last use", last_use.sweep, floor=USE_EVERY.total_seconds(), wake=last_use.wake)


@asynccontextmanager
async def _looping(loops: Sequence[Loop]) -> AsyncIterator[None]:
    """Runs the loops until the block ends; a sweep that is under way then is let end."""
    tasks = [asyncio.create_task(loop.run(), name=loop.name) for loop in loops]
    try:
        yield
    finally:
        for loop in loops:
            loop.stop()
        await asyncio.gather(*tasks)


async def _end_old_leases(gateway: Gateway) -> None:
    """On SQLite this process is alone: whoever held a lease is gone, and its answer with it."""
    if gateway.database.is_sqlite:
        for job_id, number in await DueStore(gateway.database).leased():
            gone = Unproven("the process ended before the answer came")
            await gateway.settlement.record(job_id, Answered(number, gone))
