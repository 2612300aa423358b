"""Opening a gateway: the database, its schema, the secrets, the duties; and in the end all of it back again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import structlog

from app.access.first_key import ensure_admin_key, first_admin_key
from app.config import Settings, unknown_names
from app.duties import STOP_GRACE, chores, duties
from app.errors import SchemaError, SettingsError
from app.gateway import Gateway, Seams, assembled
from app.lifecycle import gate as gates
from app.storage import schema
from app.storage.database import Database, database_url
from app.storage.process_lock import only_process
from app.storage.wakeups import Wakeups
from app.traces.environment import open_traces
from app.upstream.client import UpstreamClient
from app.vault import NoKeyFitsError, Vault, key_beside

log = structlog.get_logger(__name__)

DRAIN_GRACE = 3.0  #: seconds that a stop waits for what was handed to the database last


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
        gateway = assembled(settings, database, vault, traces, seams)
        stack.push_async_callback(_end, gateway)
        if gateway.archive is not None:
            stack.push_async_callback(gateway.archive.stop, STOP_GRACE)
        await _ready_secrets(gateway)
        await gateway.gate_store.change(lambda gate, _now: gates.with_key(gate, _fingerprint(settings, upstream_key)))
        if names := unknown_names():
            log.warning("these are no settings of this version, and change nothing", names=names)
        if database.is_sqlite and not with_duties:
            log.warning("nothing is sent, checked or settled: on SQLite no other process can do it")
        if settings.public_base_url is None:
            log.warning("GATEWAY_PUBLIC_BASE_URL is not set: the upstream cannot call back, results are found by checks alone")
        if with_duties:
            client = UpstreamClient(
                settings.upstream_base_url,
                upstream_key,
                timeouts=seams.timeouts,
                transport=seams.upstream_transport,
                metrics=gateway.metrics,
            )
            stack.push_async_callback(client.aclose)
            await stack.enter_async_context(duties(gateway, client, seams.timeouts))
        await stack.enter_async_context(chores(gateway))
        if not database.is_sqlite:
            wakeups = Wakeups(database, gateway.settlement.wakes.heard)
            gateway.settlement.wakes.tell_others = wakeups.send
            await stack.enter_async_context(wakeups.running())
        # Last of all: a key that is shown only once must not be made by a start that then fails.
        yield replace(gateway, first_key=await _first_key(gateway))


@contextmanager
def alone_on(setting: str) -> Iterator[None]:
    """Holds the lock of a SQLite database; nothing to hold on PostgreSQL.

    Raises:
        AlreadyRunningError: another process holds it.
    """
    url = database_url(setting)
    with only_process(Path(url.database or "")) if url.get_backend_name() == "sqlite" else nullcontext():
        yield


async def _end(gateway: Gateway) -> None:
    """What is under way when the duties have ended has `DRAIN_GRACE` to end: it needs the database, which is left last."""
    ends = (
        gateway.access.drained, gateway.intake.drained, gateway.callbacks.drained, gateway.settlement.drained,
        gateway.deliverer.drained, gateway.forecaster.drained, gateway.figures.stop, gateway.health.stop,
    )  # fmt: skip
    _, late = await asyncio.wait([asyncio.create_task(end()) for end in ends], timeout=DRAIN_GRACE)
    for task in late:
        task.cancel()
    if late:
        log.error("gave up waiting for the database; what it was handed last is not written down")


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
        log.warning("GATEWAY_BOOTSTRAP_ADMIN_KEY was revoked, has expired or is no admin key; set another one, or none")
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


def _required_key(settings: Settings) -> str:
    if settings.upstream_api_key is None:
        raise SettingsError("GATEWAY_UPSTREAM_API_KEY is required: the key of the upstream account")
    return settings.upstream_api_key.get_secret_value()


def _fingerprint(settings: Settings, upstream_key: str) -> str:
    """Tells a changed key or address from the one that the gate learned with; says nothing about the key."""
    return hashlib.sha256(f"{settings.upstream_base_url} {upstream_key}".encode()).hexdigest()[:16]
