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
async def stage(postgres_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """With jobs in several states, and a gate that lets no more through. On PostgreSQL, which is the stricter of the two."""
    changes = {"delivery_allow": "127.0.0.1", "image_allow": "127.0.0.1", "image_store_url": f"file://{tmp_path}/images"}
    async with open_stage(postgres_url, **changes) as opened:
        yield opened


@pytest.mark.timeout(300)
async def test_the_served_document_is_true(stage: Stage, tmp_path: Path) -> None:
    job = await stage.run(callback_url=f"{stage.emulator_url}/hooks/1")
    await stage.run("A fox [[content-failure]]")
    await stage.api.post("/dispatch/pause")
    await stage.accept()
    environment = {
        **os.environ,
        "NO_PROXY": "*",
        "PYTHONPATH": str(HERE.parents[1]),
        "JOB_ID": job["id"],
        "KEY_ID": (await stage.api.get("/keys")).json()["keys"][0]["id"],
        "RECEIVER_URL": stage.emulator_url,
        "SCHEMATHESIS_HOOKS": "tests.acceptance.schemathesis_hooks",
    }
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(HERE / "schemathesis.toml"),
        "run", f"{stage.url}/openapi.json", "--header", f"Authorization: Bearer {ADMIN_KEY}", "--no-color",
    ]  # fmt: skip
    run = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        out, _ = await run.communicate()
    finally:
        if run.returncode is None:
            run.kill()
    assert run.returncode == 0, out.decode()
