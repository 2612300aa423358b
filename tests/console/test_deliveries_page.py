"""What was not delivered, who does not take it, and what to press."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.stage import ADMIN_KEY, Stage, client, open_stage
from tests.access.keyring import Keyring
from tests.console.browser import Desk, open_desk
from tests.console.test_signing_in import FROM_US, session_of
from tests.deliveries.rig import answering
from tests.deliveries.test_deliveries_over_http import attempted, deliveries
from tests.raw_server import Serve
from tests.replicas.deployment import wait_for

HERE = "/console/deliveries"


@pytest.fixture
async def stage(sqlite_url: str) -> AsyncIterator[Stage]:
    async with open_stage(sqlite_url, delivery_allow="127.0.0.1") as opened:
        yield opened


@pytest.fixture
async def admin(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with client(stage.url, None) as browser:
        await session_of(browser, ADMIN_KEY)
        yield browser


async def delivered(stage: Stage, serve: Serve, *statuses: str, times: int = 1) -> dict[str, Any]:
    """A delivery to a receiver of its own, after so many attempts."""
    server = await serve(answering(*statuses))
    job = await stage.run(callback_url=f"{server.url}/hook")
    return await attempted(stage.api, job, times)


async def test_deliveries_are_shown_by_outcome_tenant_and_receiver(
    stage: Stage, admin: httpx.AsyncClient, serve: Serve
) -> None:
    well, gone = await delivered(stage, serve, "204 No Content"), await delivered(stage, serve, "410 Gone")
    failing = await delivered(stage, serve, "500 Oops")
    searches: list[tuple[dict[str, str], set[str]]] = [
        ({}, {well["id"], gone["id"], failing["id"]}),
        ({"state": "delivered"}, {well["id"]}),
        ({"state": "gone"}, {gone["id"]}),
        ({"state": "pending", "tenant": "admin"}, {failing["id"]}),
        ({"tenant": "nobody"}, set()),
        ({"origin": f" {well['origin']} ", "state": ""}, {well["id"]}),
    ]
    for query, wanted in searches:
        text = (await admin.get(HERE, params=query)).text
        assert {d["id"] for d in (well, gone, failing) if f"{HERE}/{d['id']}/redeliver" in text} == wanted, query
    assert "No delivery fits." in (await admin.get(HERE, params={"tenant": "nobody"})).text


async def test_a_filter_that_fits_nothing_is_said_and_kept(admin: httpx.AsyncClient) -> None:
    for query, said in (({"origin": "hooks<b>"}, "origin: "), ({"state": "lost"}, "state: "), ({"cursor": "!"}, "cursor: ")):
        answer = await admin.get(HERE, params=query)
        assert answer.status_code == 422, query
        assert said in answer.text
        assert 'data-every="0"' in answer.text, "what is wrong does not mend itself"
    assert 'value="hooks&lt;b&gt;"' in (await admin.get(HERE, params={"origin": "hooks<b>"})).text


async def test_deliveries_and_what_is_done_to_them_are_for_admins(stage: Stage, serve: Serve, keyring: Keyring) -> None:
    failing = await delivered(stage, serve, "500 Oops")
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M")
    async with client(stage.url, None) as browser:
        await session_of(browser, (await keyring.make("jobs:read", "jobs:write"))["key"])
        assert (await browser.get(HERE)).status_code == 403
        fields = {"tenant": "admin", "origin": failing["origin"], "since": since}
        for path, status in ((f"{HERE}/resume", 403), (f"{HERE}/{failing['id']}/redeliver", 404), (f"{HERE}/recover", 404)):
            assert (await browser.post(path, headers=FROM_US, data=fields)).status_code == status, path


async def test_recovering_wants_a_time_of_the_last_days(stage: Stage, admin: httpx.AsyncClient) -> None:
    long_ago = (datetime.now(UTC) - timedelta(days=20)).strftime("%Y-%m-%dT%H:%M")
    for since, said in ((long_ago, "the last 14 days"), ("soon", "since: "), ("", "since: ")):
        answer = await admin.post(f"{HERE}/recover", headers=FROM_US, data={"tenant": "admin", "since": since})
        assert answer.headers["location"] == HERE
        assert said in (await admin.get(HERE)).text


async def test_a_button_leads_nowhere_else(stage: Stage, admin: httpx.AsyncClient, serve: Serve) -> None:
    well = await delivered(stage, serve, "204 No Content")
    path = f"{HERE}/{well['id']}/redeliver"
    answer = await admin.post(path, headers=FROM_US, data={"back": "https://evil.example/console"})
    assert answer.headers["location"] == "/console"


async def test_a_receiver_in_trouble_is_seen_resumed_and_takes_what_waited(desk: Desk, serve: Serve) -> None:
    page, failing = desk.page, await delivered(desk.stage, serve, "500 Oops", "204 No Content")
    await desk.open(HERE)
    await expect(page.get_by_role("heading", name="Receivers in trouble")).to_be_visible()
    await expect(page.get_by_role("row", name="failing")).to_contain_text(failing["origin"])
    await page.get_by_role("button", name=f"Resume {failing['origin']} of admin").click()
    await expect(page.get_by_text(f"{failing['origin']} is resumed")).to_be_visible()
    await expect(page.get_by_role("heading", name="Receivers in trouble")).to_have_count(0)


async def test_a_delivery_is_sent_again_and_a_tenants_are_recovered(desk: Desk, serve: Serve) -> None:
    page, gone = desk.page, await delivered(desk.stage, serve, "410 Gone", "500 Oops", "204 No Content")
    await desk.open(f"{HERE}?state=gone")
    await page.get_by_role("button", name=f"Redeliver {gone['id']}").click()
    await expect(page.get_by_text("Not delivered: HTTP 500")).to_be_visible()
    assert page.url.endswith("?state=gone"), "back to where the button was"
    await page.get_by_label("Since (UTC)").fill((datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M"))
    await page.get_by_role("button", name="Recover").click()
    await expect(page.get_by_text("Due again for admin: 1 delivery.")).to_be_visible()

    async def is_delivered() -> bool:
        return (await deliveries(desk.stage.api, {"id": gone["job_id"]}))[0]["state"] == "delivered"

    await wait_for(is_delivered)
    await expect(page.get_by_role("cell", name="delivered"), "the list is live").to_be_visible()
    await page.locator("[data-row] a").first.click()
    await expect(page.get_by_role("heading", name="Deliveries")).to_be_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
async def test_the_deliveries_are_for_everybody(browser: Browser, stage: Stage, serve: Serve, scheme: str, width: int) -> None:
    async with open_desk(browser, stage, color_scheme=scheme, viewport={"width": width, "height": 900}) as desk:
        await desk.sign_in()
        await desk.open(HERE)
        await expect(desk.page.get_by_text("Nothing was delivered yet.")).to_be_visible()
        assert await desk.faults() == []
        await delivered(stage, serve, "500 Oops")
        await expect(desk.page.get_by_role("row", name="pending")).to_be_visible()
        assert await desk.faults() == []
        assert await desk.fits(), "it scrolls sideways"
