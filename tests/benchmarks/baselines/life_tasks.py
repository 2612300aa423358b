"""The two tasks of the baselines of the whole life on asyncio: submit a job, check it. On aiohttp, its connections kept."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.benchmarks.baselines import life_rows as rows
from tests.benchmarks.baselines.life_routes import URL

UPSTREAM = os.environ["BENCH_UPSTREAM_URL"]
UPSTREAM_KEY = os.environ["BENCH_UPSTREAM_KEY"]
CALLBACKS = os.environ["BENCH_CALLBACK_URL"]  #: ours, to which a token is added
HEADERS = {"Authorization": f"Bearer {UPSTREAM_KEY}", "Content-Type": "application/json"}

AT_ONCE = 64  #: tasks under way in one worker
PAUSES = (0, 1, 2, 4)  #: seconds, before each look for a task id


def generate_body(job: Row[Any]) -> bytes:
    fields = {name: getattr(job, name) for name in ("prompt", "size", "seed", "output_format")}
    return json.dumps({**fields, "callback_url": f"{CALLBACKS}/{job.callback_token}"}).encode()


class Tasks:
    """Open one a worker, with `opened`."""

    def __init__(self, engine: AsyncEngine, http: aiohttp.ClientSession) -> None:
        self._engine, self._http = engine, http

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator[Tasks]:
        engine = create_async_engine(URL, pool_size=20, max_overflow=0)
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=HEADERS) as http:
            yield cls(engine, http)
        await engine.dispose()

    async def submit(self, job_id: uuid.UUID) -> None:
        async with self._engine.begin() as connection:
            job = (await connection.execute(rows.sending(job_id))).first()
        if job is None:
            return
        async with self._http.post(f"{UPSTREAM}/api/generate", data=generate_body(job)) as answer:
            answer.raise_for_status()
            task_id = (await answer.json())["data"]["task_id"]
        async with self._engine.begin() as connection:
            await connection.execute(rows.sent(job_id, task_id))
            await connection.execute(rows.happened(job_id, "submitted", task_id=task_id))

    async def check(self, job_id: uuid.UUID) -> None:
        if (task_id := await self._task_of(job_id)) is None:
            return
        async with self._http.get(f"{UPSTREAM}/api/status", params={"task_id": task_id}) as answer:
            answer.raise_for_status()
            data = (await answer.json())["data"]
        if (state := rows.END_STATES.get(data["status"])) is None:
            return  # a later callback, or a sweep that is not part of this, asks again
        async with self._engine.begin() as connection:
            if (await connection.execute(rows.settled(job_id, state, data))).first():
                await connection.execute(rows.happened(job_id, state, credits=data["consumed_credits"]))

    async def _task_of(self, job_id: uuid.UUID) -> str | None:
        for pause in PAUSES:  # a callback may be faster than our own record of the submit
            await asyncio.sleep(pause)
            async with self._engine.connect() as connection:
                row = (await connection.execute(rows.task_of(job_id))).first()
            if row is None or row.task_id is not None:
                return row and row.task_id
        raise LookupError(f"job {job_id} has no task id yet")
