"""The README's curl examples, run as they stand."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path

from PIL import Image

from tests.acceptance.stage import ADMIN_KEY, Stage

README = Path(__file__).parents[2] / "README.md"


async def test_the_curl_examples_work_as_they_stand(stage: Stage, tmp_path: Path) -> None:
    [block] = re.findall(r"<!-- A test runs this block. -->\n```bash\n(.*?)```", README.read_text(), re.DOTALL)
    environment = {**os.environ, "GATEWAY_URL": stage.url, "GATEWAY_API_KEY": ADMIN_KEY, "no_proxy": "*"}
    shell = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", block, cwd=tmp_path, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await shell.communicate()
    assert shell.returncode == 0, err.decode() + out.decode()
    job = json.loads((tmp_path / "job.json").read_text())
    assert (job["state"], job["idempotency_key"], job["metadata"]) == ("queued", "order-17", {"order": "17"})
    with Image.open(tmp_path / "picture.png") as picture:
        assert (picture.size, picture.format) == ((1024, 768), "PNG")
    assert b'"state":"succeeded"' in out
    assert b'"type":"succeeded"' in out
