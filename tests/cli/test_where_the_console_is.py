"""Whoever starts a gateway reads where its console is."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from tests.client.command import ROOT


@asynccontextmanager
async def running(*arguments: str, folder: Path) -> AsyncIterator[asyncio.StreamReader]:
    """What `gateway …` prints while it runs; it is ended with SIGTERM."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("GATEWAY_")}
    given = {"GATEWAY_DATABASE_URL": f"sqlite:///{folder}/gateway.db", "GATEWAY_UPSTREAM_API_KEY": "sk-nobody",
             "GATEWAY_IMAGE_STORE_URL": "off", "PYTHONPATH": str(ROOT)}  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", *arguments, cwd=folder, env={**kept, **given},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.send_signal(signal.SIGTERM)
        await process.communicate()


async def console_in(lines: asyncio.StreamReader) -> str:
    """The first address of a console that is printed."""
    async with asyncio.timeout(120):
        async for line in lines:
            if found := re.search(r"http://\S+/console\b", line.decode()):
                return found[0]
    raise AssertionError("no console is named")


async def test_serve_and_demo_name_a_console_that_is_there(tmp_path: Path) -> None:
    for arguments in (["serve", "--port", "0"], ["demo", "--jobs", "1", "--serve", "--folder", str(tmp_path / "demo")]):
        async with running(*arguments, folder=tmp_path) as lines, httpx.AsyncClient(trust_env=False) as browser:
            answer = await browser.get(await console_in(lines), follow_redirects=True, timeout=60)
            assert (answer.status_code, "Sign in" in answer.text) == (200, True), arguments
