"""`gateway worker`, as a deployment stops it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import psycopg

from tests.acceptance.stage import client
from tests.crash.processes import running
from tests.replicas.deployment import Deployment, deployed, wait_for

CLAIM = "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
LOOK = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'images'::regclass"


async def test_a_worker_that_was_told_to_stop_sends_nothing_more(postgres_url: str, tmp_path: Path) -> None:
    """A look at its metrics that the database holds up keeps the process there for a moment; that is not for new work."""
    worker_of_metrics = ["-m", "app", "worker", "--metrics-port", "0"]
    async with deployed(postgres_url, tmp_path) as deployment:
        await deployment.start(apis=1)
        with (
            running(worker_of_metrics, deployment.environment, tmp_path) as worker,
            psycopg.connect(postgres_url) as claims,
            psycopg.connect(postgres_url) as looks,
        ):
            line = await asyncio.to_thread(worker.said, worker.stderr, "gateway: metrics at ")
            await asyncio.to_thread(worker.said, worker.stderr, "gateway: working")
            claims.execute("SELECT * FROM gate FOR UPDATE")
            [job] = await deployment.accept(["a red fox"])
            await wait_for(lambda: _is_held_up(deployment, CLAIM))
            looks.execute("LOCK TABLE images IN ACCESS EXCLUSIVE MODE")
            async with client(line.split()[3].removesuffix("/metrics")) as operator:
                look = asyncio.create_task(operator.get("/metrics"))
                await wait_for(lambda: _is_held_up(deployment, LOOK))
                worker.terminate()
                await wait_for(lambda: _listens_no_more(operator))
                claims.rollback()
                assert await asyncio.to_thread(worker.ended) == 0
                await asyncio.wait([look])
            looks.rollback()
        found = (await deployment.http.get(f"{deployment.apis[0]}/jobs/{job['id']}")).json()
        assert (found["state"], deployment.world.account()["tasks"]) == ("queued", [])


async def _is_held_up(deployment: Deployment, which: str) -> bool:
    return bool(deployment.query(which))


async def _listens_no_more(operator: httpx.AsyncClient) -> bool:
    try:
        await operator.get("/healthz", headers={"Connection": "close"})
    except httpx.ConnectError:
        return True
    except httpx.TransportError:  # it was just closed; the next one is refused
        return False
    return False
