"""Callback tokens: what a callback costs with each kind of token, over HTTP, on SQLite: the medians of one run.

The baseline is an unknown token. Bad ones of every kind must cost the same, whatever is wrong with them. A good one costs more,
since it is written down; that tells nothing that its 204 does not say.

Run it alone with: python -m tests.benchmarks.callback_tokens [ROUNDS]
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from app import log
from app.emulator import EmulatorOptions
from app.gateway import Seams
from tests.acceptance.stage import Stage, client, open_stage
from tests.benchmarks.measured import Line, Result, Say, machine, table
from tests.databases import sqlite_url
from tests.storage.factory import HandClock

BODY = b'{"code":200,"data":{"task_id":"task-1","status":"SUCCESS"}}'
SAME = 1.15  #: times an unknown one's, at most
UNKNOWN, GOOD = "unknown", "good"


def run(say: Say, rounds: int = 300) -> list[Result]:
    log.configure(level=logging.ERROR)
    costs = asyncio.run(_costs(rounds))
    say(f"medians: { ({kind: f'{cost:.2f} ms' for kind, cost in costs.items()}) }")
    return [
        Line(
            f"a callback, token: {kind}",
            cost,
            "an unknown one",
            costs[UNKNOWN],
            "ms",
            None if kind == GOOD else SAME,
            at_most=True,
        )
        for kind, cost in costs.items()
        if kind != UNKNOWN
    ]


async def _costs(rounds: int) -> dict[str, float]:
    """Milliseconds of a call, by the kind of token."""
    clock = HandClock(datetime.now(UTC))
    options = EmulatorOptions(run_seconds=(3600, 3600))
    with tempfile.TemporaryDirectory() as folder:
        async with open_stage(sqlite_url(Path(folder) / "gateway.db"), options, Seams(clock=clock)) as stage:
            await stage.run(prompt="A job that is over [[run=0.1]]")
            old = _token_of(stage, 1)
            clock.advance(seconds=timedelta(hours=25).total_seconds())
            await _running(stage)
            good = _token_of(stage, 2)
            tokens = {UNKNOWN: "A" * 43, "short": "x", "long": "A" * 4000, "with slashes": "a/b/c", "old": old, GOOD: good}
            return {kind: median(times) for kind, times in (await _measured(stage, tokens, rounds)).items()}


async def _measured(stage: Stage, tokens: Mapping[str, str], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call, kind by kind; the kinds take turns, in another order each time."""
    spent: dict[str, list[float]] = {kind: [] for kind in tokens}
    kinds = list(tokens)
    async with client(stage.url, None) as upstream:
        for number in range(rounds + 20):
            random.shuffle(kinds)
            for kind in kinds:
                request = upstream.build_request("POST", f"/callbacks/{tokens[kind]}", content=BODY)  # a long one takes longer
                began = time.perf_counter()
                answer = await upstream.send(request)
                took = (time.perf_counter() - began) * 1000
                assert answer.status_code == (204 if kind == GOOD else 404), (kind, answer.text)
                if number >= 20:  # the first ones open connections
                    spent[kind].append(took)
    return spent


async def _running(stage: Stage) -> None:
    job = await stage.accept()
    async with asyncio.timeout(60):
        while (await stage.api.get(f"/jobs/{job['id']}")).json()["state"] != "running":
            pass


def _token_of(stage: Stage, number: int) -> str:
    """The token that the task number `number` calls back with."""
    return str(stage.tasks()[number - 1]["callback_url"]).rpartition("/")[2]


if __name__ == "__main__":
    print(machine())
    print(table(run(lambda text: print(text, file=sys.stderr), *map(int, sys.argv[1:]))))
