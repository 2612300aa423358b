"""schemathesis against a running gateway: what the served OpenAPI document says is so, and nothing else happens."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.stage import ADMIN_KEY, Stage, open_stage

HERE = Path(__file__).parent


@pytest.fixture
async def lived_in(database_url: str) -> AsyncIterator[Stage]:
    """A stage with jobs in several states, on which nothing more is sent upstream."""
    async with open_stage(database_url, delivery_allow="127.0.0.1") as stage:
        await stage.run(callback_url=f"{stage.emulator_url}/hooks/1")
        await stage.run("A red fox [fail]")
        await stage.api.post("/dispatch/pause")
        await stage.accept()
        yield stage


@pytest.mark.timeout(300)
async def test_the_served_document_is_true(lived_in: Stage, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "NO_PROXY": "*",
        "PYTHONPATH": str(HERE.parents[1]),
        "KEY_ID": (await lived_in.api.get("/keys")).json()["keys"][0]["id"],
        "RECEIVER_URL": lived_in.emulator_url,
        "SCHEMATHESIS_HOOKS": "tests.acceptance.schemathesis_hooks",
    }
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(HERE / "schemathesis.toml"),
        "run", f"{lived_in.url}/openapi.json", "--header", f"Authorization: Bearer {ADMIN_KEY}", "--no-color",
    ]  # fmt: skip
    run = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await run.communicate()
    Path("/tmp/schemathesis.out").write_bytes(out)
    assert run.returncode == 0, out.decode()
