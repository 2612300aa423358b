"""`GET /metrics` over HTTP: what is told, to whom, and while the database is away."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.errors import StorageUnavailableError
from app.stats.gauges import GAUGES
from app.stats.scrape import REMEMBERED, Scrapers
from tests.acceptance.stage import ADMIN_KEY, Stage, client, open_stage
from tests.databases import PostgresServer, migrate, throwaway_server
from tests.metrics.scraped import scrape

#: Every name of the public contract with its labels.
CONTRACT = {
    "gateway_jobs_accepted_total": {"tenant"},
    "gateway_jobs_settled_total": {"state", "via", "code"},
    "gateway_jobs": {"state"},
    "gateway_oldest_job_age_seconds": {"state"},
    "gateway_job_seconds_count": {"phase"},
    "gateway_upstream_requests_total": {"operation", "outcome"},
    "gateway_upstream_request_seconds_count": {"operation"},
    "gateway_callbacks_total": {"outcome"},
    "gateway_callback_loss_ratio": set(),
    "gateway_deliveries_total": {"outcome"},
    "gateway_deliveries_pending": set(),
    "gateway_credits_total": {"tenant", "kind"},
    "gateway_gate_open": {"for"},
    "gateway_images_total": {"outcome"},
}
PROMPT = "zzz a prompt that nobody else writes"


async def test_every_name_of_the_contract_is_told_with_its_labels(stage: Stage) -> None:
    await stage.run(PROMPT)
    await stage.api.post("/dispatch/pause")
    await stage.accept(PROMPT)
    found = await scrape(stage.api)
    for name, labels in CONTRACT.items():
        assert found.labels(name) == {frozenset(labels)}, name


async def test_a_job_is_counted_from_its_acceptance_to_its_end(stage: Stage) -> None:
    await stage.run(f"{PROMPT} [[content-failure]]")
    await stage.run(PROMPT)
    found = await scrape(stage.api)
    assert found.value("gateway_jobs_accepted_total", tenant="admin") == 2
    assert found.value("gateway_jobs_settled_total", via="callback") == 2
    assert found.value("gateway_upstream_requests_total", operation="submit", outcome="accepted") == 2
    assert found.value("gateway_upstream_request_seconds_count", operation="submit") == 2
    assert found.value("gateway_upstream_requests_total", operation="status") >= 2
    assert found.value("gateway_callbacks_total", outcome="poked") >= 2
    account = stage.world.account()
    assert found.value("gateway_credits_total", kind="consumed") == sum(task["consumed_credits"] for task in account["tasks"])
    assert found.value("gateway_jobs", state="succeeded") == found.value("gateway_jobs_settled_total", state="succeeded")


async def test_a_picture_and_a_job_that_is_settled_by_it_at_once_are_counted(database_url: str) -> None:
    async with open_stage(database_url, image_store_url="memory://", image_allow="127.0.0.0/8") as stage:
        await stage.run(PROMPT, seed=7)
        async with asyncio.timeout(60):
            while not (await scrape(stage.api)).value("gateway_images_total", outcome="stored"):
                await asyncio.sleep(0.02)
        answer = await stage.accept(PROMPT, seed=7, reuse="exact")
        found = await scrape(stage.api)
    assert answer["completed_via"] == "reuse"
    assert found.value("gateway_jobs_accepted_total") == 2
    assert found.value("gateway_jobs_settled_total", state="succeeded", via="reuse", code="none") == 1
    assert found.value("gateway_job_seconds_count", phase="total") == 1, "the second was never sent"
    assert found.value("gateway_images_pending") is not None


async def test_what_is_canceled_before_it_is_sent_gives_its_credits_back(stage: Stage) -> None:
    await stage.api.post("/dispatch/pause")
    job = await stage.accept(PROMPT)
    assert (await stage.api.post(f"/jobs/{job['id']}/cancel")).status_code == 200
    found = await scrape(stage.api)
    assert found.value("gateway_jobs_settled_total", state="canceled") == 1
    assert found.value("gateway_credits_total", kind="released") == 5


async def test_a_callback_of_nobody_is_counted_as_unknown(stage: Stage) -> None:
    assert (await stage.api.post(f"/callbacks/{'x' * 43}", content=b"{}")).status_code == 404
    assert (await stage.api.post("/callbacks/short", content=b"{}")).status_code == 404
    assert (await scrape(stage.api)).value("gateway_callbacks_total", outcome="unknown") == 2


async def test_a_shut_gate_is_told_with_its_reason(stage: Stage) -> None:
    await stage.api.post("/dispatch/pause")
    found = await scrape(stage.api)
    assert found.value("gateway_gate_open", **{"for": "submit"}) == 0
    assert found.value("gateway_gate_open", **{"for": "check"}) == 1
    assert found.value("gateway_gate_shut_seconds", **{"for": "submit", "reason": "paused"}) is not None


async def test_the_page_holds_no_id_token_key_or_prompt(stage: Stage) -> None:
    job = await stage.run(PROMPT, metadata={"order": "order-of-a-caller"})
    page = (await scrape(stage.api)).page
    [task] = stage.tasks()
    token = task["callback_url"].rpartition("/")[2]
    for secret in (job["id"], task["task_id"], token, ADMIN_KEY, "zzz", "order-of-a-caller", "127.0.0.1"):
        assert secret not in page, secret


async def test_strangers_see_nothing_unless_the_settings_say_so(database_url: str) -> None:
    async with open_stage(database_url, metrics_open=True) as stage, client(stage.url, None) as stranger:
        assert (await scrape(stranger)).value("gateway_database_up") == 1
        assert (await stranger.get("/stats")).status_code == 401


async def test_pictures_that_nobody_keeps_are_not_waited_for(stage: Stage) -> None:
    await stage.run(PROMPT)
    found = await scrape(stage.api)
    assert found.value("gateway_images_pending") is None
    assert (await stage.api.get("/stats")).json()["images"] is None


async def test_no_callbacks_are_lost_where_none_are_asked_for(database_url: str) -> None:
    async with open_stage(database_url, public_base_url=None) as stage:
        await stage.run(PROMPT)
        assert (await scrape(stage.api)).value("gateway_callback_loss_ratio") is None


@pytest.fixture
async def mortal(tmp_path: Path) -> AsyncIterator[tuple[Stage, PostgresServer]]:
    """A stage whose database can be taken away."""
    with throwaway_server() as server:
        url = server.url.render_as_string(hide_password=False)
        await asyncio.to_thread(migrate, url)
        async with open_stage(url) as stage:
            yield stage, server
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)


async def test_while_the_database_is_away_a_scrape_tells_what_the_process_knows(mortal: tuple[Stage, PostgresServer]) -> None:
    stage, server = mortal
    await stage.run(PROMPT)
    before = await scrape(stage.api)
    assert before.value("gateway_database_up") == 1
    await asyncio.to_thread(server.stop)
    async with asyncio.timeout(60):
        while (during := await scrape(stage.api)).value("gateway_database_up"):
            pass  # for up to five seconds the last reading is as good as a new one
    assert during.value("gateway_jobs_accepted_total", tenant="admin") == 1
    assert not (set(GAUGES) - {"gateway_database_up"}) & during.names, "old figures are not told as new ones"
    async with client(stage.url, "gw_00000000_" + "x" * 43) as impostor:
        assert (await impostor.get("/metrics")).status_code == 503, "nobody can say who it is"
    assert (await stage.api.get("/stats")).status_code == 503


class Keys:
    """Stands in for the access: one admin key, and a database that may be away."""

    def __init__(self) -> None:
        self.away = self.revoked = False

    async def caller(self, _api_key: str) -> Any:
        if self.away:
            raise StorageUnavailableError("away")
        return None if self.revoked else Admin()


class Admin:
    def require(self, _scope: str) -> None:
        return None


async def test_a_key_is_remembered_for_an_hour_and_forgotten_when_it_is_refused() -> None:
    keys, now = Keys(), 0.0
    scrapers = Scrapers(keys, monotonic=lambda: now)  # type: ignore[arg-type]
    keys.away = True
    with pytest.raises(StorageUnavailableError):
        await scrapers.admit("never seen")
    keys.away = False
    await scrapers.admit("key")
    keys.away, now = True, REMEMBERED - 1
    await scrapers.admit("key")
    now = REMEMBERED
    with pytest.raises(StorageUnavailableError):
        await scrapers.admit("key")
    keys.away = False
    await scrapers.admit("key")
    keys.revoked = True
    with pytest.raises(Exception, match=re.compile("key", re.IGNORECASE)):
        await scrapers.admit("key")
    keys.away = True
    with pytest.raises(StorageUnavailableError):
        await scrapers.admit("key")


async def test_books_that_take_long_to_compare_do_not_make_the_database_look_away(postgres_url: str) -> None:
    async with open_stage(postgres_url) as stage, asyncio.timeout(90):
        with psycopg.connect(postgres_url, autocommit=False) as elsewhere:
            elsewhere.execute("LOCK TABLE usage_entries IN ACCESS EXCLUSIVE MODE")
            while not (during := await scrape(stage.api)).value("gateway_database_up"):
                pass  # a reading that comes late is there for the next scrape
        assert during.value("gateway_gate_open", **{"for": "check"}) == 1
        assert during.value("gateway_books_difference", figure="open") is None
        while (await scrape(stage.api)).value("gateway_books_difference", figure="open") != 0:
            pass
