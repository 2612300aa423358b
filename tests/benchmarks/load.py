"""Load of an exact count: posts so many jobs over kept connections, each with a prompt of its own, from a process of its own.

wrk loads for a time; where every job is to be found again at the end, it is the count that must be known.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator

import aiohttp
import uvloop

CONNECTIONS = 64


def post_exactly(jobs: int, url: str, key: str) -> float:
    """Returns when the first was posted, on the clock of `time.monotonic`, which all processes share.

    Raises RuntimeError: one was not accepted.
    """
    words = [sys.executable, "-m", "tests.benchmarks.load", url, key, str(jobs)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"not every job was accepted: {done.stderr[-2000:]}")
    return float(done.stdout)


async def _post_all(url: str, key: str, jobs: int) -> float:
    numbers = iter(range(jobs))
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(url, connector=connector, headers=headers) as http, asyncio.TaskGroup() as group:
        began = time.monotonic()
        for _ in range(CONNECTIONS):
            group.create_task(_post(http, numbers))
    return began


async def _post(http: aiohttp.ClientSession, numbers: Iterator[int]) -> None:
    for n in numbers:
        body = {"prompt": f"A red fox in the snow, number {n}", "metadata": {"order": str(n)}}
        async with http.post("/jobs", data=json.dumps(body)) as answer:
            if answer.status != 202:
                raise RuntimeError(f"HTTP {answer.status}: {await answer.text()}")
            await answer.read()


if __name__ == "__main__":
    print(uvloop.run(_post_all(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
