"""docs/api.md, run as it stands: every block, and what is shown under it."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stage import ADMIN_KEY, Stage

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text()
STEPS = re.findall(r"```bash\n(.*?)```\n(?:\n```(json|http|text)\n(.*?)```)?", PAGE, re.DOTALL)
NEXT = "--- the next block ---"


async def test_the_tour_works_as_it_stands(stage: Stage, tmp_path: Path) -> None:
    outputs = (await run(stage, tmp_path, f"\necho '{NEXT}'\n".join(block for block, _, _ in STEPS))).split(f"{NEXT}\n")
    assert len(outputs) == len(STEPS) > 20
    for (block, kind, shown), output in zip(STEPS, outputs, strict=True):
        try:
            compare(kind, shown, output.removesuffix("\n"))
        except AssertionError as error:
            pytest.fail(f"{block}\n{output}\n{error}")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_every_block_is_run_and_most_show_what_comes_back() -> None:
    assert PAGE.count("```bash") == len(STEPS)
    assert PAGE.count("```") == 2 * (len(STEPS) + sum(bool(kind) for _, kind, _ in STEPS))
    assert {kind for _, kind, _ in STEPS} == {"json", "http", "text", ""}


@pytest.mark.parametrize(
    ("kind", "shown", "output"),
    [
        ("json", '{"state": "queued"}', '{"state": "failed"}'),
        ("json", '{"state": "queued"}', "{}"),
        ("json", '{"jobs": [{}]}', '{"jobs": []}'),
        ("json", '{"key": "gw_…"}', '{"key": "sk_1"}'),
        ("http", "HTTP/1.1 200 OK\n\n{}", "HTTP/1.1 202 Accepted\r\n\r\n{}"),
        ("http", "HTTP/1.1 200 OK\netag: …\n\n{}", "HTTP/1.1 200 OK\r\ndate: x\r\n\r\n{}"),
        ("text", "event: running\nevent: end", "event: end\nevent: running"),
    ],
)
def test_what_differs_is_found(kind: str, shown: str, output: str) -> None:
    with pytest.raises(AssertionError):
        compare(kind, shown, output)


async def run(stage: Stage, folder: Path, script: str) -> str:
    environment = {**os.environ, "GATEWAY_URL": stage.url, "GATEWAY_API_KEY": ADMIN_KEY, "no_proxy": "*"}
    shell = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script, cwd=folder, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(90):
        out, err = await shell.communicate()
    assert shell.returncode == 0, err.decode() + out.decode()
    return out.decode()


def compare(kind: str, shown: str, output: str) -> None:
    """What is shown must have come back; more may have."""
    if kind == "json":
        assert_within(json.loads(shown), json.loads(output))
    elif kind == "http":
        compare_http(shown, output.replace("\r\n", "\n"))
    elif kind == "text":
        assert_lines(shown, output)


def compare_http(shown: str, output: str) -> None:
    (head, _, body), (real_head, _, real_body) = shown.partition("\n\n"), output.partition("\n\n")
    status, *headers = head.strip().splitlines()
    real_status, *real_headers = real_head.splitlines()
    assert real_status.split()[1] == status.split()[1], real_status
    for header in headers:
        assert any(like(header, real) for real in real_headers), header
    if body:
        assert_within(json.loads(body), json.loads(real_body))


def assert_within(shown: Any, real: Any) -> None:
    if isinstance(shown, dict):
        assert isinstance(real, dict), real
        for name, value in shown.items():
            assert name in real, name
            assert_within(value, real[name])
    elif isinstance(shown, list):
        known = [item for item in shown if item != "…"]
        assert len(real) == len(shown) or len(known) < len(shown) <= len(real), real
        for value, found in zip(known, real, strict=False):
            assert_within(value, found)
    elif isinstance(shown, str) and "…" in shown:
        assert like(shown, str(real)), (shown, real)
    else:
        assert (type(real), real) == (type(shown), shown)


def assert_lines(shown: str, output: str) -> None:
    """Each line that is shown, in this order, with any others between."""
    real = iter(output.splitlines())
    for line in shown.splitlines():
        assert any(like(line, found) for found in real), line


def like(shown: str, real: str) -> bool:
    return re.fullmatch(".+".join(map(re.escape, shown.split("…"))), real, re.IGNORECASE) is not None
