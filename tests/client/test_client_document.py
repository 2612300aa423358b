"""docs/client.md, taken at its word: its code is run against a gateway, its tables are those of the code."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

import app.client
from app.client import AsyncClient, Client, ClientError
from app.deliveries.signing import sign
from tests.acceptance.stage import ADMIN_KEY, Stage
from tests.client.stand_in import job

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/client.md").read_text()
BLOCKS = re.findall(r"<!-- A test runs this block\. -->\n```([a-z]+)\n(.*?)```", PAGE, re.DOTALL)
SYNC, ASYNC, ITERATORS, ERRORS, DELIVERIES = (code for language, code in BLOCKS if language == "python")
[SHELL] = (code for language, code in BLOCKS if language == "bash")


async def run(stage: Stage, folder: Path, *command: str) -> str:
    environment = {**os.environ, "GATEWAY_URL": stage.url, "GATEWAY_API_KEY": ADMIN_KEY, "PYTHONPATH": str(ROOT)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def python(stage: Stage, folder: Path, code: str) -> str:
    return await run(stage, folder, sys.executable, "-c", code)


async def test_the_first_example_ends_with_a_picture(stage: Stage, tmp_path: Path) -> None:
    assert await python(stage, tmp_path, SYNC) == "succeeded 5\n"
    with Image.open(tmp_path / "fox.png") as picture:
        assert (picture.size, picture.format) == ((1024, 768), "PNG")


async def test_the_example_with_asyncio_ends_with_two_jobs(stage: Stage, tmp_path: Path) -> None:
    assert await python(stage, tmp_path, ASYNC) == "A red fox succeeded\nA white hen succeeded\n"


async def test_the_iterators_tell_of_events_jobs_and_a_file(stage: Stage, tmp_path: Path) -> None:
    await stage.run("Another fox", metadata={"order": "17"})
    out = await python(stage, tmp_path, ITERATORS)
    assert out.splitlines()[-1].split()[1] == "succeeded"
    assert any(line.endswith(" running") for line in out.splitlines())
    rows = list(csv.DictReader(io.StringIO((tmp_path / "jobs.csv").read_text(), newline="")))
    assert [row["prompt"] for row in rows] == ["A red fox in the snow", "Another fox"]


async def test_the_errors_are_caught_as_the_page_says(stage: Stage, tmp_path: Path) -> None:
    first, second = (await python(stage, tmp_path, ERRORS)).splitlines()
    assert first.startswith("422 invalid_request ")
    assert "('size', " in first
    assert second == "There is no such job."


def test_the_receiver_takes_genuine_deliveries_only() -> None:
    page: dict[str, object] = {}
    exec(DELIVERIES, page)  # the page's own code
    receive, secret = page["receive"], "whsec_" + base64.b64encode(b"k" * 32).decode()
    assert callable(receive)
    body = json.dumps({"type": "job.failed", "timestamp": "2026-11-05T12:00:00Z", "data": job("failed")}).encode()
    headers = sign([secret], "msg_1", datetime.now(UTC), body)
    assert (receive(secret, headers, body), receive(secret, headers, body + b" ")) == (204, 400)


async def test_the_commands_work_as_they_stand(stage: Stage, tmp_path: Path) -> None:
    command = tmp_path / "gateway"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m app "$@"\n')
    command.chmod(0o755)
    out = await run(stage, tmp_path, "bash", "-euo", "pipefail", "-c", f'PATH="{tmp_path}:$PATH"\n{SHELL}')
    assert "\tsucceeded\n" in out
    assert "submits\topen\n" in out
    assert (tmp_path / "jobs.csv").read_text().startswith("id,state,")


@pytest.mark.parametrize("face", [Client, AsyncClient])
def test_the_page_names_every_method_and_no_other(face: type[Client] | type[AsyncClient]) -> None:
    table = PAGE.partition("## The methods")[2].partition("\n\nWhere")[0]
    named = set(re.findall(r"`([a-z_]+)\(", table))
    assert named == {name for name in vars(face) if not name.startswith("_")} - {"close", "aclose"}


def test_the_page_and_the_tree_name_every_error() -> None:
    public = [getattr(app.client, name) for name in app.client.__all__]
    errors = {one.__name__ for one in public if isinstance(one, type) and issubclass(one, ClientError)}
    table = PAGE.partition("## Errors")[2].partition("## Deliveries")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == errors
    assert errors <= set(re.findall(r"\w+Error", app.client.errors.__doc__ or ""))
