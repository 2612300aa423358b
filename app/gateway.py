"""A running gateway: its stores and what works on them, made from the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import httpx

from app.access.callers import Access
from app.callbacks.receive import CallbackReceiver
from app.clock import Clock, system_clock
from app.config import Settings
from app.console.session import Sessions
from app.deliveries.deliver import Deliverer, PayloadWriter
from app.deliveries.payload import signed_body
from app.deliveries.send import Sender
from app.drop_in.envelope import status_body
from app.drop_in.picture_link import picture_link
from app.errors import SettingsError
from app.health import Health
from app.images.archive import ImageArchive
from app.images.links import PictureLinks
from app.images.store import open_image_store
from app.intake import Intake
from app.jobs.forecaster import Forecaster
from app.lifecycle.job import CallbackFormat
from app.metrics import Metrics
from app.outbound.allow import AllowList
from app.outbound.client import OutboundClient
from app.outbound.guard import Guard
from app.settlement.settle import Settlement
from app.settlement.wakes import Wakes
from app.settlement.watchers import Watchers
from app.stats.figures import Figures
from app.stats.scrape import Scrapers
from app.storage.audit import AuditStore
from app.storage.database import Database
from app.storage.deliveries import DeliveryStore
from app.storage.delivery_list import DeliveryList
from app.storage.forecast import ForecastStore
from app.storage.gate_row import GateStore
from app.storage.history import HistoryStore
from app.storage.images import PictureRows
from app.storage.intake import IntakeStore
from app.storage.keys import KeyStore
from app.storage.lives import LifeStore
from app.storage.operations import PAUSE as OPERATION_PAUSE
from app.storage.operations import OperationStore
from app.storage.receipts import ReceiptStore
from app.storage.receivers import ReceiverStore
from app.storage.tenants import TenantStore
from app.storage.usage import UsageStore
from app.traces.spans import Traces
from app.upstream.client import Timeouts
from app.vault import Vault

PICTURE_URL_MAX = 4096  #: characters; the upstream signs its addresses


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway: what the routes use."""

    settings: Settings
    database: Database
    lives: LifeStore
    history: HistoryStore
    gate_store: GateStore
    receipts: ReceiptStore
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
    callbacks: CallbackReceiver
    archive: ImageArchive | None  #: None where no pictures are kept
    picture_links: PictureLinks
    metrics: Metrics
    traces: Traces
    figures: Figures
    health: Health
    scrapers: Scrapers
    on_stop: list[Callable[[], None]] = field(default_factory=list)  #: called when the process is told to stop
    first_key: str | None = None  #: an admin key made just now, to be shown once

    def let_go(self) -> None:
        """The process was told to stop: whoever waits gets the job as it is, and nothing more is sent."""
        for stop in self.on_stop:
            stop()


@dataclass(frozen=True, slots=True)
class Seams:
    """What tests may put in the place of the world."""

    clock: Clock | None = None
    upstream_transport: httpx.AsyncBaseTransport | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    traces: Traces | None = None
    operation_pause: timedelta = OPERATION_PAUSE


def assembled(settings: Settings, database: Database, vault: Vault, traces: Traces, seams: Seams) -> Gateway:
    """Every part in its place; nothing has begun, and the database was not asked.

    Raises:
        SettingsError: a list of allowed hosts, or the picture store, is none.
    """
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
        callbacks=CallbackReceiver(receipts, settlement, metrics, traces),
        archive=archive,
        picture_links=picture_links,
        metrics=metrics,
        traces=traces,
        figures=Figures(database, settings.policy(), keeps_images=archive is not None),
        health=Health(database, gate_store, has_address=settings.public_base_url is not None, archive=archive),
        scrapers=Scrapers(access),
        on_stop=[watchers.stop],
    )


def _archive(settings: Settings, database: Database, wakes: Wakes, metrics: Metrics, traces: Traces) -> ImageArchive | None:
    guard = Guard(_allowed("GATEWAY_IMAGE_ALLOW", settings.image_allow), url_max=PICTURE_URL_MAX)
    store = open_image_store(settings.image_store_url)
    if store is None:
        return None
    return ImageArchive(PictureRows(database), store, OutboundClient(guard), wakes.archive, metrics=metrics, traces=traces)


def _payload_writers(settings: Settings, links: PictureLinks, clock: Clock) -> Mapping[CallbackFormat, PayloadWriter]:
    """Without a public address of ours, links in signed bodies are paths, and drop-in callbacks hold none to us."""
    here = settings.public_base_url
    return {
        CallbackFormat.SIGNED: lambda life: signed_body(life, here or ""),
        CallbackFormat.DROP_IN: lambda life: status_body(life, picture_link(links.signed_url, here, clock())),
    }


def _allowed(name: str, text: str | None) -> AllowList:
    try:
        return AllowList.parse(text or "")
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None
