"""A process that dies between a call and its record leaves a delivery that is made again: the same id, the same body."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from pathlib import Path

from tests.crash.processes import running
from tests.deliveries.rig import Rig, answering, received, swept
from tests.raw_server import Serve


async def test_a_delivery_that_was_sent_and_not_recorded_is_sent_again(
    rig: Rig, serve: Serve, database_url: str, tmp_path: Path
) -> None:
    server = await serve(answering("200 OK"))
    job = await rig.settled(server.url)
    with running(["-m", "tests.deliveries.dying_sender"], {"DATABASE_URL": database_url}, tmp_path) as process:
        assert await asyncio.to_thread(process.ended) == -signal.SIGKILL, "".join(process.stderr)
    assert len(server.requests) == 1
    lost = await rig.delivery(job)
    assert (lost.state, lost.tries, lost.attempts) == ("pending", 0, ())
    assert lost.due_at is not None

    rig.clock.now = lost.due_at - timedelta(microseconds=1)
    await swept(rig.deliverer())
    assert len(server.requests) == 1, "its lease has not ended"
    rig.clock.now = lost.due_at
    await swept(rig.deliverer())

    (first, body), (second, again) = received(server)
    assert (first["webhook-id"], body) == (second["webhook-id"], again)
    assert b"https://died.example" in again
    made = await rig.delivery(job)
    assert (made.state, made.tries, len(made.attempts)) == ("delivered", 1, 1)
