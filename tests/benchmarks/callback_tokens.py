"""What a callback costs with each kind of token, over HTTP: the medians of one run, and their ratio to an unknown token's.

Bad ones of every kind must cost the same, whatever is wrong with them. A good one costs more, since it is written down; that
tells nothing that its 204 does not say. Run it with: python -m tests.benchmarks.callback_tokens [ROUNDS]
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from app import log
from app.emulator import EmulatorOptions
from app.main import Seams
from tests.acceptance.stage import Stage, client, open_stage
from tests.databases import sqlite_url
from tests.storage.factory import HandClock

BODY = b'{"code":200,"data":{"task_id":"task-1","status":"SUCCESS"}}'


async def main(rounds: int) -> None:
    log.configure(level=logging.ERROR)
    clock = HandClock(datetime.now(UTC))
    options = EmulatorOptions(run_seconds=(3600, 3600))
    with tempfile.TemporaryDirectory() as folder:
        async with open_stage(sqlite_url(Path(folder) / "gateway.db"), options, Seams(clock=clock)) as stage:
            old = await token_of(stage, 1)
            clock.advance(seconds=timedelta(hours=25).total_seconds())
            good = await token_of(stage, 2)
            tokens = {"unknown": "A" * 43, "short": "x", "long": "A" * 4000, "with slashes": "a/b/c", "old": old, "good": good}
            tell(await measured(stage, tokens, rounds))


async def measured(stage: Stage, tokens: dict[str, str], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call, kind by kind; the kinds take turns, in another order each time."""
    spent: dict[str, list[float]] = {kind: [] for kind in tokens}
    kinds = list(tokens)
    async with client(stage.url, None) as upstream:
        for number in range(rounds + 20):
            random.shuffle(kinds)
            for kind in kinds:
                began = time.perf_counter()
                answer = await upstream.post(f"/callbacks/{tokens[kind]}", content=BODY)
                took = (time.perf_counter() - began) * 1000
                assert answer.status_code == (204 if kind == "good" else 404), (kind, answer.text)
                if number >= 20:  # the first ones open connections
                    spent[kind].append(took)
    return spent


def tell(spent: dict[str, list[float]]) -> None:
    usual = median(spent["unknown"])
    for kind, times in spent.items():
        print(
            f"{kind:>14}: median {median(times):6.2f} ms, {median(times) / usual:5.2f} of an unknown one's, {len(times)} calls"
        )


async def token_of(stage: Stage, number: int) -> str:
    """The token that the task number `number` calls back with."""
    job = await stage.accept()
    async with asyncio.timeout(60):
        while (await stage.api.get(f"/jobs/{job['id']}")).json()["state"] != "running":
            pass
    return str(stage.tasks()[number - 1]["callback_url"]).rpartition("/")[2]


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
