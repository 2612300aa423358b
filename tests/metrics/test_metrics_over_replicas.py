"""Several processes on one PostgreSQL: counters add up to the truth, gauges are the same from each."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from tests.acceptance.stage import ADMIN_KEY, client, open_stage
from tests.crash.processes import SECRET_KEY, UPSTREAM_KEY, running
from tests.metrics.scraped import scrape

JOBS = 12


async def test_counters_of_replicas_add_up_and_gauges_are_the_same(postgres_url: str) -> None:
    async with AsyncExitStack() as stack:
        stages = [await stack.enter_async_context(open_stage(postgres_url)) for _ in range(2)]
        for n in range(JOBS):
            await stages[n % 2].run(f"job {n}")
        found = [await scrape(stage.api) for stage in stages]

    def total(name: str, **labels: str) -> float:
        return sum(one.value(name, **labels) or 0 for one in found)

    assert [one.value("gateway_jobs_accepted_total") for one in found] == [JOBS / 2, JOBS / 2]
    assert total("gateway_jobs_settled_total", state="succeeded") == JOBS
    assert total("gateway_job_seconds_count", phase="total") == JOBS
    assert total("gateway_credits_total", kind="consumed") == 5 * JOBS
    assert total("gateway_upstream_requests_total", operation="submit", outcome="accepted") == JOBS
    assert [one.value("gateway_jobs", state="succeeded") for one in found] == [JOBS, JOBS]
    assert [one.value("gateway_books_difference", figure="held") for one in found] == [0, 0]


async def test_a_worker_tells_its_metrics_on_a_port_of_its_own(postgres_url: str, tmp_path: Path) -> None:
    environment = {
        "GATEWAY_DATABASE_URL": postgres_url,
        "GATEWAY_UPSTREAM_API_KEY": UPSTREAM_KEY,
        "GATEWAY_UPSTREAM_BASE_URL": "http://127.0.0.1:9",
        "GATEWAY_SECRET_KEY": SECRET_KEY,
        "GATEWAY_BOOTSTRAP_ADMIN_KEY": ADMIN_KEY,
        "GATEWAY_IMAGE_STORE_URL": "off",
    }
    with running(["-m", "app", "worker", "--metrics-port", "0"], environment, tmp_path) as worker:
        line = await asyncio.to_thread(worker.said, worker.stderr, "gateway: metrics at ")
        await asyncio.to_thread(worker.said, worker.stderr, "gateway: working")
        url = line.split()[3].removesuffix("/metrics")
        async with client(url) as operator, client(url, None) as stranger:
            assert (await scrape(operator)).value("gateway_database_up") == 1
            assert (await stranger.get("/metrics")).status_code == 401
            assert (await stranger.get("/healthz")).json() == {"status": "ok"}
            assert (await stranger.get("/readyz")).status_code == 200
            assert (await operator.get("/jobs")).status_code == 404, "the API is not served"
        worker.terminate()
        assert await asyncio.to_thread(worker.ended) == 0
