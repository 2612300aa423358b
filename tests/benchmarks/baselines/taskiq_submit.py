"""taskiq on Redis, submit and record alone: the result backend keeps the id of the task.

No job is accepted over HTTP, called back or checked, and there is no other database.

The worker: taskiq worker --workers 1 --max-async-tasks 64 tests.benchmarks.baselines.taskiq_submit:broker
Its tasks: python -m tests.benchmarks.baselines.taskiq_submit JOBS

That prints the processor seconds that handing them over took, without the program's start.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Annotated

import aiohttp
import uvloop
from taskiq import Context, TaskiqDepends, TaskiqEvents, TaskiqState
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

REDIS, UPSTREAM = os.environ["BENCH_REDIS_URL"], os.environ["BENCH_UPSTREAM_URL"]
HEADERS = {"Authorization": f"Bearer {os.environ['BENCH_UPSTREAM_KEY']}", "Content-Type": "application/json"}

broker = RedisStreamBroker(REDIS, consumer_id="0").with_result_backend(RedisAsyncResultBackend(REDIS, prefix_str="result"))


@broker.task(task_name="submit")
async def submit(prompt: str, worker: Annotated[Context, TaskiqDepends()]) -> str:
    body = {"prompt": prompt, "size": "1024*1024", "seed": -1, "output_format": "jpeg"}
    async with worker.state.http.post(f"{UPSTREAM}/api/generate", data=json.dumps(body)) as answer:
        answer.raise_for_status()
        task_id: str = (await answer.json())["data"]["task_id"]
        return task_id


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_http(state: TaskiqState) -> None:
    state.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64), headers=HEADERS)


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def close_http(state: TaskiqState) -> None:
    await state.http.close()


async def enqueue(count: int) -> float:
    await broker.startup()
    began = time.process_time()
    for n in range(count):
        await submit.kiq(f"A red fox in the snow, number {n}")
    took = time.process_time() - began
    await broker.shutdown()
    return took


if __name__ == "__main__":
    print(uvloop.run(enqueue(int(sys.argv[1]))))
