"""The main job through PgBouncer in transaction mode: nothing of a session is relied on but what the docs name."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.crash.processes import running
from tests.databases import Postgres
from tests.replicas.deployment import check_the_books, deployed
from tests.replicas.pgbouncer import SERVER_CONNECTIONS, running_pgbouncer


@pytest.mark.long
async def test_replicas_behind_pgbouncer_in_transaction_mode_settle_every_job(postgres: Postgres, tmp_path: Path) -> None:
    with postgres.fresh(empty=True) as url, running_pgbouncer(url) as pooled_url:
        with running(["-m", "app", "db", "upgrade"], {"GATEWAY_DATABASE_URL": url}, tmp_path) as upgrade:
            assert await asyncio.to_thread(upgrade.ended) == 0, upgrade.stderr
        async with deployed(url, tmp_path, gateway_url=pooled_url) as here:
            await here.start(apis=2, workers=2)
            accepted = await here.accept(f"canal {n}" for n in range(150))
            await here.until_settled()
            jobs = await check_the_books(here, accepted)
            assert {(job["state"], job["attempts"]) for job in jobs} == {("succeeded", 1)}
            here_too = "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            [(connections,)] = here.query(f"SELECT count(*) FROM pg_stat_activity WHERE {here_too}")
            assert 0 < connections <= SERVER_CONNECTIONS
            assert here.complaints() == []
            await here.stop_workers()
