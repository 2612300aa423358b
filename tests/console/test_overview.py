"""The first page: what is stuck, why, and what to press."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.stage import Stage, client, open_stage
from tests.access.keyring import Keyring
from tests.console.browser import Desk, open_desk
from tests.console.test_signing_in import FROM_US, session_of


async def test_an_empty_gateway_says_that_nothing_needs_you(desk: Desk) -> None:
    await expect(desk.page.get_by_text("Nothing needs you.")).to_be_visible()
    await expect(desk.page.get_by_text("No credits were used this month.")).to_be_visible()


async def test_a_job_shows_by_itself_while_the_page_is_open(desk: Desk) -> None:
    tab = desk.page.get_by_role("link", name="succeeded")
    await expect(tab.locator("b")).to_have_text("0")
    await desk.stage.run()
    await expect(tab.locator("b")).to_have_text("1")


async def test_a_hidden_page_asks_for_nothing(desk: Desk) -> None:
    await desk.page.evaluate("() => Object.defineProperty(document, 'hidden', {get: () => window.asleep, configurable: true})")
    assert await desk.page.evaluate("() => { window.asleep = true; looked = 0; return look(); }") is False
    async with desk.page.expect_request("**/console"):
        await desk.page.evaluate("() => { window.asleep = false; document.dispatchEvent(new Event('visibilitychange')); }")


async def test_pause_asks_first_and_the_page_says_who_and_how_to_go_on(desk: Desk) -> None:
    page = desk.page
    await page.get_by_role("button", name="Pause", exact=True).click()
    await page.get_by_role("button", name="Pause sending").click()
    await expect(page.get_by_text("Sending is paused.", exact=True)).to_be_visible()
    await expect(page.get_by_label("What needs you")).to_contain_text("Sending is paused by bootstrap-")
    assert not (await desk.stage.api.get("/dispatch")).json()["submits"]["open"]
    await page.get_by_label("What needs you").get_by_role("button", name="Resume").click()
    await expect(page.get_by_text("Sending goes on.")).to_be_visible()
    assert (await desk.stage.api.get("/dispatch")).json()["submits"]["open"]


async def test_a_tenant_sees_its_own_figures_and_no_button(browser: Browser, stage: Stage, keyring: Keyring) -> None:
    await stage.run()
    key = (await keyring.make("jobs:read"))["key"]
    async with open_desk(browser, stage) as desk:
        await desk.sign_in(key)
        await expect(desk.page.get_by_role("link", name="succeeded").locator("b")).to_have_text("0")
        await expect(desk.page.get_by_role("button", name="Pause")).to_have_count(0)
        await expect(desk.page.get_by_label("What needs you")).to_have_count(0)
        await expect(desk.page.get_by_role("navigation", name="Pages").get_by_role("link")).to_have_text(["Overview", "Jobs"])
    async with client(stage.url, None) as forger:
        await session_of(forger, key)
        assert (await forger.post("/console/pause", headers=FROM_US)).status_code == 403


async def test_a_gateway_that_goes_away_leaves_the_page_and_says_so(browser: Browser, sqlite_url: str) -> None:
    async with open_stage(sqlite_url) as stage, open_desk(browser, stage) as desk:
        desk.expected.extend(["ERR_CONNECTION_REFUSED", "ERR_ABORTED", "Failed to fetch", "net::"])
        await desk.sign_in()
        await desk.page.route("**/console", lambda route: route.abort())
        await expect(desk.page.get_by_text("The gateway does not answer")).to_be_visible()
        await expect(desk.page.get_by_role("link", name="succeeded")).to_be_visible()
        await desk.page.unroute("**/console")
        await expect(desk.page.get_by_text("The gateway does not answer")).to_be_hidden()


async def test_a_page_that_cannot_be_renewed_says_since_when_it_is_old(browser: Browser, stage: Stage) -> None:
    async with open_desk(browser, stage) as desk:
        desk.expected.append("503")
        await desk.page.clock.install(time=datetime(2026, 11, 8, 12, 0, 0, tzinfo=UTC))
        await desk.sign_in()
        async with renewing(desk):
            await desk.page.clock.pause_at(datetime(2026, 11, 8, 12, 1, 0, tzinfo=UTC))
        async with renewing(desk):
            await desk.page.clock.run_for(6000)
        note = desk.page.locator("#away")
        await expect(note).to_be_hidden()
        shown = await desk.page.evaluate("() => new Date(Date.now()).toISOString().slice(11, 19)")
        await desk.page.route("**/console", lambda route: route.fulfill(status=503, body=""))
        for _ in range(3):
            async with desk.page.expect_response("**/console"):
                await desk.page.clock.run_for(6000)
            await expect(note).to_contain_text(f"The gateway answers 503; what you see is of before {shown} UTC")
            await desk.page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")


@asynccontextmanager
async def renewing(desk: Desk) -> AsyncIterator[None]:
    """What is done within brings the page up to date; that is over when this ends."""
    await desk.page.evaluate(
        "() => { renewal = new Promise(done => document.addEventListener('htmx:after:swap', done, {once: true})); }"
    )
    yield
    await desk.page.evaluate("() => renewal")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_the_overview_is_for_everybody(browser: Browser, stage: Stage, scheme: str, width: int) -> None:
    await stage.run()
    async with open_desk(browser, stage, color_scheme=scheme, viewport={"width": width, "height": 900}) as desk:
        await desk.sign_in()
        assert await desk.faults() == []
        assert await desk.page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"), (
            "it scrolls sideways"
        )


async def test_the_overview_is_readable_without_scripts(browser: Browser, stage: Stage) -> None:
    await stage.run()
    async with open_desk(browser, stage, java_script_enabled=False) as desk:
        await desk.sign_in()
        await expect(desk.page.get_by_role("link", name="succeeded").locator("b")).to_have_text("1")
        await desk.page.get_by_role("link", name="24h").click()
        await expect(desk.page.locator("svg .settled")).to_have_count(24)
