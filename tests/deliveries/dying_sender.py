"""One sweep of a deliverer whose process kills itself once its receiver has answered, before anything of it is recorded.

Run as a module, by a test; DATABASE_URL names the database.
"""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta

from app.deliveries.deliver import Deliverer
from app.deliveries.payload import signed_body
from app.deliveries.send import Sender
from app.lifecycle.job import CallbackFormat
from app.loops import Wake
from app.outbound.allow import AllowList
from app.outbound.client import OutboundClient
from app.outbound.guard import Guard
from app.storage.database import Database, database_url
from app.storage.deliveries import Attempt, ClaimedDelivery, DeliveryStore
from app.storage.tenants import TenantStore
from app.vault import Vault


class DyingSender(Sender):
    async def attempt(self, delivery: ClaimedDelivery) -> Attempt:
        made = await super().attempt(delivery)
        assert made.outcome.succeeded
        os.kill(os.getpid(), signal.SIGKILL)
        return made


async def main() -> None:
    database = Database(database_url(os.environ["DATABASE_URL"]))
    client = OutboundClient(Guard(AllowList.parse("127.0.0.1")))
    secrets = TenantStore(database, Vault(["k" * 32])).live_secrets
    writers = {CallbackFormat.SIGNED: lambda life: signed_body(life, "https://died.example")}
    sender = DyingSender(client, secrets, deadline=timedelta(seconds=30))
    deliverer = Deliverer(DeliveryStore(database), sender, writers, wake=Wake())
    await deliverer.sweep()
    await deliverer.idle()


if __name__ == "__main__":
    asyncio.run(main())
