"""Load that wrk does not make: jobs of an exact count or at a steady rate, with prompts of their own, from a separate process.

wrk loads for a time, as fast as it can. Where every job is to be found again at the end, it is the count that must be known.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import aiohttp
import uvloop

from tests.benchmarks.servers import running

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


@contextmanager
def posting_steadily(per_second: int, url: str, key: str, folder: Path) -> Iterator[None]:
    """So many jobs a second are posted meanwhile, however long the answers take; who refuses one is told of on stderr."""
    words = [sys.executable, "-m", "tests.benchmarks.load", url, key, f"{per_second}/s"]
    with running(words, {}, folder):
        yield


async def _post_all(url: str, key: str, jobs: int) -> float:
    numbers = iter(range(jobs))
    async with _session(url, key) as http, asyncio.TaskGroup() as group:
        began = time.monotonic()
        for _ in range(CONNECTIONS):
            group.create_task(_post_each(http, numbers))
    return began


async def _post_steadily(url: str, key: str, per_second: int) -> None:
    async with _session(url, key) as http, asyncio.TaskGroup() as group:
        began = time.monotonic()
        for n in count():
            await asyncio.sleep(max(0.0, began + n / per_second - time.monotonic()))
            group.create_task(_post(http, n))


def _session(url: str, key: str) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=CONNECTIONS), headers=headers)


async def _post_each(http: aiohttp.ClientSession, numbers: Iterator[int]) -> None:
    for n in numbers:
        await _post(http, n)


async def _post(http: aiohttp.ClientSession, n: int) -> None:
    body = {"prompt": f"A red fox in the snow, number {n}", "metadata": {"order": str(n)}}
    async with http.post("/jobs", data=json.dumps(body)) as answer:
        if answer.status != 202:
            raise RuntimeError(f"HTTP {answer.status}: {await answer.text()}")
        await answer.read()


async def _main(url: str, key: str, wanted: str) -> None:
    if wanted.endswith("/s"):
        await _post_steadily(url, key, int(wanted.removesuffix("/s")))
    else:
        print(await _post_all(url, key, int(wanted)))


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
