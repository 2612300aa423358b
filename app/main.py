"""Wires everything together. Imported by nothing but the command line and the tests."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TypedDict

import httpx
import structlog
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from app import __version__, health, openapi, problems
from app.access.callers import Access
from app.access.first_key import ensure_admin_key, first_admin_key
from app.access.keys import router as keys_router
from app.access.tenants import router as tenants_router
from app.callbacks.receive import Receiver
from app.callbacks.router import router as callbacks_router
from app.clock import Clock, system_clock
from app.config import Settings, unknown_names
from app.console.router import routers as console_routers
from app.console.session import Sessions
from app.deliveries.deliver import Deliverer, PayloadWriter
from app.deliveries.operators import router as receivers_router
from app.deliveries.payload import signed_body
from app.deliveries.router import router as deliveries_router
from app.deliveries.send import Sender
from app.dispatch.dispatch import Dispatcher
from app.dispatch.router import router as dispatch_router
from app.drop_in.envelope import status_body
from app.drop_in.picture_link import picture_link
from app.drop_in.router import router as drop_in_router
from app.errors import SchemaError, SettingsError
from app.images.archive import ImageArchive
from app.images.links import PictureLinks
from app.images.router import router as images_router
from app.images.store import open_image_store
from app.intake import Intake
from app.jobs.batch import router as batch_router
from app.jobs.export import router as export_router
from app.jobs.forecaster import Forecaster
from app.jobs.listing import router as listing_router
from app.jobs.quote import router as quote_router
from app.jobs.router import accept_router
from app.jobs.router import router as jobs_router
from app.jobs.timeline import router as timeline_router
from app.lifecycle import gate as gates
from app.lifecycle.answers import Unproven
from app.lifecycle.job import CallbackFormat
from app.lifecycle.news import Answered
from app.loops import Loop
from app.metrics import Metrics
from app.operations.acts import router as acts_router
from app.operations.router import router as operations_router
from app.operations.run import OperationRunner
from app.operations.trail import router as audit_router
from app.outbound.allow import AllowList
from app.outbound.client import OutboundClient
from app.outbound.guard import Guard
from app.reconcile.housekeeping import Housekeeping
from app.reconcile.reconcile import Reconciler
from app.requests import RequestLog
from app.retention.prune import Pruner
from app.settlement.settle import Settlement
from app.settlement.wakes import Wakes
from app.settlement.watchers import Watchers
from app.stats.figures import Figures
from app.stats.router import router as stats_router
from app.stats.scrape import Scrapers
from app.stats.scrape import router as metrics_router
from app.storage import schema
from app.storage.audit import AuditStore
from app.storage.database import Database, database_url
from app.storage.deliveries import DeliveryStore
from app.storage.delivery_list import DeliveryList
from app.storage.due import DueStore
from app.storage.forecast import ForecastStore
from app.storage.gate_row import GateStore
from app.storage.history import HistoryStore
from app.storage.images import PictureStore
from app.storage.intake import IntakeStore
from app.storage.keys import USE_EVERY, KeyStore
from app.storage.lives import LifeStore
from app.storage.operations import PAUSE as OPERATION_PAUSE
from app.storage.operations import OperationStore
from app.storage.process_lock import only_process
from app.storage.queue import QueueStore
from app.storage.receipts import ReceiptStore
from app.storage.receivers import ReceiverStore
from app.storage.retention import RetentionStore
from app.storage.tenants import TenantStore
from app.storage.usage import UsageStore
from app.storage.wakeups import Wakeups
from app.traces.environment import open_traces
from app.traces.spans import Traces
from app.upstream.client import Timeouts, UpstreamClient
from app.usage.router import router as usage_router
from app.vault import NoKeyFitsError, Vault, key_beside

log = structlog.get_logger(__name__)

#: Their order matters where one path could be taken for another: /jobs/export before /jobs/{job_id}. First is what comes most.
ROUTERS = (
    accept_router, callbacks_router, batch_router, quote_router, export_router, listing_router, timeline_router,
    jobs_router, images_router, usage_router, deliveries_router, dispatch_router, drop_in_router, keys_router,
    tenants_router, receivers_router, operations_router, acts_router, audit_router, stats_router, metrics_router,
    health.router, *console_routers,
)  # fmt: skip

OPERATE_EVERY = 2.0  #: seconds between looks for operations that nobody rang for
POLL_FLOOR = 1.0  #: seconds between sweeps that nobody rang for
HOUSEKEEPING_EVERY = 15.0  #: seconds
ARCHIVE_EVERY = 5.0  #: seconds between looks for pictures that nobody rang for
PICTURE_URL_MAX = 4096  #: characters; the upstream signs its addresses
PRUNE_EVERY = 600.0  #: seconds
STOP_GRACE = 12.0  #: seconds that a stop waits for what is in flight, after the server's own; in sum below the usual 30 s
#: FastAPI's own spans and logs hold raw paths, and a callback's path holds its token; `app.traces` makes ours.
_NO_TELEMETRY = TelemetryConfig(tracing=False, metrics=False, logs=False, operation_spans=False, auto_configure=False)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway: what the routes use."""

    settings: Settings
    database: Database
    lives: LifeStore
    history: HistoryStore
    gate_store: GateStore
    receipts: ReceiptStore
    vault: Vault
    access: Access
    sessions: Sessions
    tenants: TenantStore
    audit: AuditStore
    operations: OperationStore
    settlement: Settlement
    watchers: Watchers
    intake: Intake
    intake_store: IntakeStore
    usage: UsageStore
    forecaster: Forecaster
    delivery_guard: Guard
    deliveries: DeliveryStore
    delivery_list: DeliveryList
    receivers: ReceiverStore
    deliverer: Deliverer
    receiver: Receiver
    archive: ImageArchive | None  #: None where no pictures are kept
    picture_links: PictureLinks
    metrics: Metrics
    traces: Traces
    figures: Figures
    scrapers: Scrapers
    on_stop: list[Callable[[], None]] = field(default_factory=list)  #: called when the process is told to stop
    first_key: str | None = None  #: an admin key made just now, to be shown once

    def let_go(self) -> None:
        """The process was told to stop: whoever waits gets the job as it is, and nothing more is sent."""
        for stop in self.on_stop:
            stop()


class AppState(TypedDict):
    gateway: Gateway


@dataclass(frozen=True, slots=True)
class Seams:
    """What tests may put in the place of the world."""

    clock: Clock | None = None
    upstream_transport: httpx.AsyncBaseTransport | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    traces: Traces | None = None
    operation_pause: timedelta = OPERATION_PAUSE


def create_app(settings: Settings, *, with_duties: bool = True, seams: Seams = Seams()) -> FastAPI:
    """The gateway as an ASGI app; it opens and closes with the app's lifespan.

    Args:
        with_duties: also dispatch, check and settle in this process; without, only the API is served.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[AppState]:
        async with open_gateway(settings, with_duties=with_duties, seams=seams) as gateway:
            app.state.first_key, app.state.let_go = gateway.first_key, gateway.let_go
            yield {"gateway": gateway}

    app = FastAPI(
        title="Qwen-Image job gateway",
        version=__version__,
        summary="Accepts image jobs, forwards them to a paid asynchronous API, and always knows what became of them.",
        lifespan=lifespan,
        strict_content_type=False,
        generate_unique_id_function=openapi.operation_id,
        telemetry=_NO_TELEMETRY,
    )
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(RequestLog)
    openapi.install(app)
    return app


def monitor_app(gateway: Gateway) -> FastAPI:
    """What a process without the API serves all the same, of a gateway that is open: `/healthz`, `/readyz` and `/metrics`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[AppState]:
        yield {"gateway": gateway}

    app = FastAPI(lifespan=lifespan, openapi_url=None, telemetry=_NO_TELEMETRY)
    problems.install(app)
    for router in (health.router, metrics_router):
        app.include_router(router)
    app.add_middleware(RequestLog)
    return app


@contextmanager
def alone_on(setting: str) -> Iterator[None]:
    """Holds the lock of a SQLite database; nothing to hold on PostgreSQL.

    Raises:
        AlreadyRunningError: another process holds it.
    """
    url = database_url(setting)
    with only_process(Path(url.database or "")) if url.get_backend_name() == "sqlite" else nullcontext():
        yield


@asynccontextmanager
async def open_gateway(settings: Settings, *, with_duties: bool, seams: Seams = Seams()) -> AsyncIterator[Gateway]:
    """Opens the database, prepares the first key, and runs the duties until the block ends.

    Raises:
        SettingsError: a setting that is needed is missing.
        AlreadyRunningError: another process holds the SQLite database.
        SchemaError: the schema must be upgraded first.
        StorageUnavailableError: the database is out of reach.
    """
    upstream_key = _required_key(settings)
    async with AsyncExitStack() as stack:
        traces = seams.traces or open_traces()
        stack.push_async_callback(traces.aclose)
        database = Database(database_url(settings.database_url), clock=seams.clock)
        stack.enter_context(alone_on(settings.database_url))
        stack.push_async_callback(database.dispose)
        vault = _vault(settings)
        await _ready_schema(settings, database)
        gateway = _assemble(settings, database, vault, traces, seams)
        if gateway.archive is not None:
            stack.push_async_callback(gateway.archive.stop, STOP_GRACE)
        await _ready_secrets(gateway)
        await gateway.gate_store.change(lambda gate, _now: gates.with_key(gate, _fingerprint(settings, upstream_key)))
        if names := unknown_names():
            log.warning("these are no settings of this version, and change nothing", names=names)
        if database.is_sqlite and not with_duties:
            log.warning("nothing is sent, checked or settled: on SQLite no other process can do it")
        if settings.public_base_url is None:
            log.warning("GATEWAY_PUBLIC_BASE_URL is not set: the upstream cannot call back, results are polled for")
        if with_duties:
            client = UpstreamClient(
                settings.upstream_base_url,
                upstream_key,
                timeouts=seams.timeouts,
                transport=seams.upstream_transport,
                metrics=gateway.metrics,
            )
            stack.push_async_callback(client.aclose)
            await _end_old_leases(gateway)
            await stack.enter_async_context(_duties(gateway, client, seams.timeouts))
        await stack.enter_async_context(_looping([_watching(gateway), _noting_use(gateway)]))
        if not database.is_sqlite:
            wakeups = Wakeups(database, gateway.settlement.wakes.heard)
            gateway.settlement.wakes.tell_others = wakeups.send
            await stack.enter_async_context(wakeups.running())
        # Last of all: a key that is shown only once must not be made by a start that then fails.
        yield replace(gateway, first_key=await _first_key(gateway))
        await gateway.access.drained()
        await gateway.intake.drained()
        await gateway.receiver.drained()
        await gateway.settlement.drained()
        await gateway.deliverer.drained()


@asynccontextmanager
async def _duties(gateway: Gateway, client: UpstreamClient, timeouts: Timeouts) -> AsyncIterator[None]:
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
        release = gateway.archive.release if gateway.archive is not None else None
        pruner = Pruner(RetentionStore(database), timedelta(days=gateway.settings.retention_days), release)
        loops.append(Loop("prune", pruner.sweep, floor=PRUNE_EVERY))
    gateway.on_stop.extend([dispatcher.send_no_more, gateway.deliverer.send_no_more])
    try:
        async with _looping(loops):
            yield
    finally:
        await asyncio.gather(*(stop(STOP_GRACE) for stop in stops))


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


def _assemble(settings: Settings, database: Database, vault: Vault, traces: Traces, seams: Seams) -> Gateway:
    clock = seams.clock or system_clock
    lives, gate_store = LifeStore(database), GateStore(database)
    watchers, metrics, access = Watchers(lives), Metrics(), Access(KeyStore(database))
    settlement = Settlement(lives, gate_store, settings.policy(), settings.gate_policy(), Wakes(), watchers, metrics)
    receipts, intake_store = ReceiptStore(database), IntakeStore(database)
    tenants, deliveries = TenantStore(database, vault), DeliveryStore(database)
    delivery_guard = Guard(_allowed("GATEWAY_DELIVERY_ALLOW", settings.delivery_allow))
    sender = Sender(OutboundClient(delivery_guard), tenants.live_secrets, traces=traces)
    archive = _archive(settings, database, settlement.wakes, metrics, traces)
    picture_links = PictureLinks(vault.derive("signed-links"), clock)
    return Gateway(
        settings=settings,
        database=database,
        lives=lives,
        history=HistoryStore(database),
        gate_store=gate_store,
        receipts=receipts,
        vault=vault,
        access=access,
        sessions=Sessions(access, vault.derive("console-sessions")),
        tenants=tenants,
        audit=AuditStore(database),
        operations=OperationStore(database, pause=seams.operation_pause),
        settlement=settlement,
        watchers=watchers,
        intake=Intake(intake_store, settlement.wakes, metrics, traces),
        intake_store=intake_store,
        usage=UsageStore(database),
        forecaster=Forecaster(ForecastStore(database)),
        delivery_guard=delivery_guard,
        deliveries=deliveries,
        delivery_list=DeliveryList(database),
        receivers=ReceiverStore(database),
        deliverer=Deliverer(
            deliveries,
            sender,
            _payload_writers(settings, picture_links, clock),
            wake=settlement.wakes.deliver,
            metrics=metrics,
            traces=traces,
        ),
        receiver=Receiver(receipts, settlement, metrics, traces),
        archive=archive,
        picture_links=picture_links,
        metrics=metrics,
        traces=traces,
        figures=Figures(database, settings.policy(), keeps_images=archive is not None),
        scrapers=Scrapers(access),
        on_stop=[watchers.stop],
    )


def _archive(settings: Settings, database: Database, wakes: Wakes, metrics: Metrics, traces: Traces) -> ImageArchive | None:
    guard = Guard(_allowed("GATEWAY_IMAGE_ALLOW", settings.image_allow), url_max=PICTURE_URL_MAX)
    store = open_image_store(settings.image_store_url)
    if store is None:
        return None
    return ImageArchive(PictureStore(database), store, OutboundClient(guard), wakes.archive, metrics=metrics, traces=traces)


def _payload_writers(settings: Settings, links: PictureLinks, clock: Clock) -> Mapping[CallbackFormat, PayloadWriter]:
    """Without a public address of ours, links in signed bodies are paths, and drop-in callbacks hold none to us."""
    here = settings.public_base_url
    return {
        CallbackFormat.SIGNED: lambda life: signed_body(life, here or ""),
        CallbackFormat.DROP_IN: lambda life: status_body(life, picture_link(links.signed_url, here, clock())),
    }


async def _ready_schema(settings: Settings, database: Database) -> None:
    auto = database.is_sqlite if settings.auto_migrate is None else settings.auto_migrate
    if auto:
        await schema.upgrade(database)
    if why := await schema.unfit(database):
        raise SchemaError(why)
    if schema.is_later(found := await schema.current(database)):
        log.warning("the schema is of a later release, which this one can work on", found=found, own=schema.newest())


async def _first_key(gateway: Gateway) -> str | None:
    given, keys = gateway.settings.bootstrap_admin_key, gateway.access.keys
    if given is None:
        return await first_admin_key(keys) if gateway.database.is_sqlite else None
    if not await ensure_admin_key(keys, given.get_secret_value()):
        log.warning("GATEWAY_BOOTSTRAP_ADMIN_KEY was revoked, and opens nothing; set another one, or none")
    return None


async def _ready_secrets(gateway: Gateway) -> None:
    """What an older key of GATEWAY_SECRET_KEY had encrypted is encrypted with the current one."""
    try:
        anew = await gateway.tenants.seal_anew()
    except NoKeyFitsError:
        given = gateway.settings.secret_key is not None
        which = "GATEWAY_SECRET_KEY holds no key" if given else f"{gateway.database.path}.key is not the key"
        raise SettingsError(f"{which} that opens the stored delivery secrets: restore the one that encrypted them") from None
    if anew:
        log.info("delivery secrets were encrypted anew, with the current key", count=anew)


def _vault(settings: Settings) -> Vault:
    if settings.secret_key is not None:
        return Vault.from_setting(settings.secret_key.get_secret_value())
    url = database_url(settings.database_url)
    if url.get_backend_name() != "sqlite":
        raise SettingsError(
            "GATEWAY_SECRET_KEY is required on PostgreSQL, the same for all processes (openssl rand -base64 32)"
        )
    return Vault.from_setting(key_beside(Path(url.database or "")))


def _allowed(name: str, text: str | None) -> AllowList:
    try:
        return AllowList.parse(text or "")
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None


def _required_key(settings: Settings) -> str:
    if settings.upstream_api_key is None:
        raise SettingsError("GATEWAY_UPSTREAM_API_KEY is required: the key of the upstream account")
    return settings.upstream_api_key.get_secret_value()


def _fingerprint(settings: Settings, upstream_key: str) -> str:
    """Tells a changed key or address from the one that the gate learned with; says nothing about the key."""
    return hashlib.sha256(f"{settings.upstream_base_url} {upstream_key}".encode()).hexdigest()[:16]
