"""A gateway with a console, and a browser before it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from tests.acceptance.stage import Stage, open_stage
from tests.access.keyring import Keyring
from tests.console.browser import Desk, open_browser, open_desk
from tests.raw_server import serve

__all__ = ["serve"]


@pytest.fixture
async def stage(sqlite_url: str) -> AsyncIterator[Stage]:
    """The pages ask the routes of the API, which are tested on both databases; one walk of the console is, too."""
    async with open_stage(sqlite_url) as opened:
        yield opened


@pytest.fixture
async def keyring(stage: Stage) -> AsyncIterator[Keyring]:
    async with Keyring(stage) as opened:
        yield opened


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_browser() as opened:
        yield opened


@pytest.fixture
async def desk(browser: Browser, stage: Stage) -> AsyncIterator[Desk]:
    """Signed in as an admin."""
    async with open_desk(browser, stage) as opened:
        await opened.sign_in()
        yield opened
