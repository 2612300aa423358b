"""One walk over all pages, with data on each, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.acceptance.stage import ADMIN_KEY, Stage, client, open_stage
from tests.access.keyring import TENANT, Keyring
from tests.console.test_signing_in import session_of
from tests.deliveries.rig import answering
from tests.deliveries.test_deliveries_over_http import attempted
from tests.raw_server import Serve


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with open_stage(database_url, delivery_allow="127.0.0.1") as opened:
        yield opened


async def test_every_page_shows_its_data(stage: Stage, keyring: Keyring, serve: Serve) -> None:
    receiver = await serve(answering("500 Oops"))
    job = await stage.run("A red fox", callback_url=f"{receiver.url}/hook")
    delivery = await attempted(stage.api, job, 1)
    key = await keyring.make("jobs:read", name="shop")
    await stage.api.post("/dispatch/pause")
    waiting = await stage.accept("A white hen")
    made = await stage.api.post("/operations", json={"kind": "cancel", "jobs": [waiting["id"]]})
    operation = made.json()["id"]
    await stage.settled(waiting)
    pages = {
        "/console": [
            "Sending is paused by",
            " settled, 1 canceled",
            "Jobs settled over time: 2",
            'href="/console/jobs?tenant=admin"',
        ],
        "/console?window=7d": ["Jobs settled over time: 2"],
        "/console/jobs": [job["id"], waiting["id"], "A white hen"],
        "/console/jobs?state=succeeded": [job["id"], "A red fox"],
        f"/console/jobs/{job['id']}": ["A red fox", f"/console/deliveries/{delivery['id']}/redeliver", "succeeded"],
        f"/console/jobs/{waiting['id']}": ["A white hen", operation],
        "/console/deliveries": [delivery["id"], receiver.url],
        "/console/operations": [operation],
        f"/console/operations/{operation}": [operation],
        "/console/tenants": ["admin", TENANT],
        f"/console/tenants/{TENANT}": [TENANT],
        "/console/keys": [key["id"], "shop"],
        "/console/audit": ["Paused sending", "Began to cancel 1 job", "Made a key “shop”"],
    }
    async with client(stage.url, None) as browser:
        assert (await session_of(browser, ADMIN_KEY)).status_code == 303
        for path, shown in pages.items():
            await assert_shows(browser, path, shown)


async def assert_shows(browser: httpx.AsyncClient, path: str, shown: list[str]) -> None:
    answer = await browser.get(path)
    assert answer.status_code == 200, path
    assert [words for words in shown if words not in answer.text] == [], path
