"""A real Chromium, and whoever sits before it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect

from tests.acceptance.stage import ADMIN_KEY, PATIENCE, Stage

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Nothing but the page: a browser that asks its maker for news finds no way out of a closed network.
FLAGS = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic")

expect.set_options(timeout=PATIENCE * 1000)


@dataclass
class Desk:
    """Somebody before a browser. What the browser complains of, a broken content policy above all, fails the test."""

    stage: Stage
    page: Page
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)  #: words of complaints that the test provokes

    async def open(self, path: str) -> None:
        await self.page.goto(self.stage.url + path)

    async def sign_in(self, key: str = ADMIN_KEY) -> None:
        await self.open("/console/sign-in")
        await self.page.get_by_label("API key").fill(key)
        await self.page.get_by_role("button", name="Sign in").click()
        await expect(self.page).to_have_url(f"{self.stage.url}/console")

    async def faults(self) -> list[str]:
        """What axe finds serious or critical on the page as it is."""
        found: dict[str, Any] = (await Axe().run(self.page)).response
        return [
            f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in found["violations"] if v["impact"] in ("serious", "critical")
        ]

    async def fits(self) -> bool:
        """Whether the page scrolls up and down only."""
        return bool(await self.page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"))


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(playwright.chromium.executable_path), args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_desk(browser: Browser, stage: Stage, **context: Any) -> AsyncIterator[Desk]:
    """A desk with a fresh profile. Raises AssertionError in the end, if the browser complained of anything."""
    profile: BrowserContext = await browser.new_context(**context)
    profile.set_default_timeout(PATIENCE * 1000)
    desk = Desk(stage, await profile.new_page())
    profile.on("console", lambda message: _note(desk, message))
    profile.on("weberror", lambda error: desk.complaints.append(str(error.error)))
    try:
        yield desk
    finally:
        await profile.close()
    assert [c for c in desk.complaints if not any(word in c for word in desk.expected)] == []


def chromium(of_playwright: str) -> str:
    """Where a Chromium is: the system's, or the one that `playwright install chromium` brings."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    found = found or (of_playwright if Path(of_playwright).exists() else None)
    assert found, "no Chromium: install the system's, or run .venv/bin/playwright install chromium"
    return found


def _note(desk: Desk, message: ConsoleMessage) -> None:
    if message.type in ("error", "warning"):
        desk.complaints.append(f"{message.text} ({message.location.get('url', '')})")
