"""Deliveries under test: real receivers on loopback, a clock that only the test moves, both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from app.deliveries.deliver import Deliverer, PayloadWriter
from app.deliveries.payload import signed_body
from app.deliveries.send import Sender
from app.lifecycle.delivery import AttemptOutcome
from app.lifecycle.job import CallbackFormat, Life
from app.lifecycle.receiver import Receiver
from app.lifecycle.senders import Room, SenderLimits
from app.lifecycle.states import JobState
from app.loops import Wake
from app.outbound.allow import AllowList
from app.outbound.client import OutboundClient
from app.outbound.guard import Guard
from app.storage import tables as t
from app.storage.audit import AuditStore
from app.storage.database import Database
from app.storage.deliveries import Attempt, ClaimedDelivery, DeliveryStore
from app.storage.delivery_list import DeliveryList, StoredDelivery
from app.storage.receivers import ReceiverStore
from app.storage.tenants import TenantStore
from app.vault import Vault
from tests.outbound.conftest import http
from tests.raw_server import Conversation, RawServer
from tests.storage.factory import Factory, HandClock

BASE_URL = "https://gateway.example"
DEADLINE = timedelta(seconds=30)  #: where it must not run out
ROOMY = SenderLimits(all=1000, tenant=1000, receiver=1000, failing_receiver=1000, failing=1000)
FAILED, DELIVERED = AttemptOutcome(500), AttemptOutcome(204)


@dataclass
class Rig:
    database: Database
    clock: HandClock
    rung: Wake = field(default_factory=Wake)

    def __post_init__(self) -> None:
        self.factory = Factory(self.database)
        self.store = DeliveryStore(self.database)
        self.list = DeliveryList(self.database)
        self.receivers = ReceiverStore(self.database)
        self.audit = AuditStore(self.database)
        self.tenants = TenantStore(self.database, Vault(["k" * 32]))

    async def tenant(self, name: str = "acme") -> None:
        await self.tenants.change_limits(name, lambda limits: limits, by="test")

    async def settled(self, url: str, *, state: JobState = JobState.SUCCEEDED, **job: Any) -> Life:
        """A settled job whose delivery waits."""
        fields = {"callback_url": url, "callback_format": CallbackFormat.SIGNED, **job}
        return await self.factory.in_state(state, **fields)

    async def delivery(self, job: Life) -> StoredDelivery:
        [found] = await self.list.of_job(job.job.job_id)
        return found

    async def body(self, job: Life) -> bytes | None:
        d = t.deliveries.c
        async with self.database.reading() as connection:
            return (await connection.execute(select(d.body).where(d.job_id == job.job.job_id))).scalar_one()

    async def claim(
        self, limits: SenderLimits = ROOMY, under_way: list[tuple[Receiver, bool]] | None = None
    ) -> list[ClaimedDelivery]:
        return list((await self.store.claim_due(Room(limits, under_way or []), write)).taken)

    async def fail(self, delivery: ClaimedDelivery, outcome: AttemptOutcome = FAILED) -> None:
        await self.store.record([Attempt(delivery, outcome, 1)])

    async def due(self, job: Life) -> StoredDelivery:
        """The delivery, with the clock moved to its next attempt."""
        found = await self.delivery(job)
        assert found.due_at is not None
        self.clock.now = max(self.clock.now, found.due_at)
        return found

    async def every_delivery(self, **values: Any) -> None:
        async with self.database.writing() as connection:
            await connection.execute(update(t.deliveries).values(values))

    def deliverer(
        self,
        *,
        allow: str = "127.0.0.1",
        deadline: timedelta = DEADLINE,
        limits: SenderLimits = SenderLimits(),
        writers: Mapping[CallbackFormat, PayloadWriter] | None = None,
        **more: Any,
    ) -> Deliverer:
        sender = Sender(OutboundClient(Guard(AllowList.parse(allow))), self.tenants.live_secrets, deadline=deadline)
        writers = WRITERS if writers is None else writers
        return Deliverer(self.store, sender, writers, wake=self.rung, limits=limits, **more)


def write(_format: CallbackFormat, life: Life) -> bytes:
    return signed_body(life, BASE_URL)


def drop_in(life: Life) -> bytes:
    return json.dumps({"task_id": str(life.job.job_id)}).encode()


WRITERS: Mapping[CallbackFormat, PayloadWriter] = {
    CallbackFormat.SIGNED: lambda life: signed_body(life, BASE_URL),
    CallbackFormat.DROP_IN: drop_in,
}


async def swept(deliverer: Deliverer) -> None:
    """One pass, to the end of what it sent."""
    async with asyncio.timeout(60):
        await deliverer.sweep()
        await deliverer.idle()


def answering(*statuses: str, headers: tuple[str, ...] = (), body: bytes = b"") -> Callable[[Conversation], Awaitable[None]]:
    """Answers the first request with the first of these, and so on; the last one again and again."""
    left = list(statuses)

    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(http(left.pop(0) if len(left) > 1 else left[0], body, *headers))

    return script


def received(server: RawServer) -> list[tuple[dict[str, str], bytes]]:
    """Every request: headers in lower case, and the body."""
    found = []
    for request in server.requests:
        head, _, body = request.partition(b"\r\n\r\n")
        lines = [line.partition(": ") for line in head.decode("latin-1").split("\r\n")[1:]]
        found.append(({name.lower(): value for name, _, value in lines}, body))
    return found


def webhook_ids(server: RawServer) -> list[UUID]:
    return [UUID(headers["webhook-id"]) for headers, _ in received(server)]
