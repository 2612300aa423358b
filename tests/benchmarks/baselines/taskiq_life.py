"""The whole life with FastAPI and taskiq, its tasks in a stream of Redis, acknowledged when they are done.

The API: uvicorn tests.benchmarks.baselines.taskiq_life:app
The worker: taskiq worker --workers 1 --max-async-tasks 64 tests.benchmarks.baselines.taskiq_life:broker
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from taskiq import Context, TaskiqDepends, TaskiqEvents, TaskiqState
from taskiq_redis import RedisStreamBroker

from tests.benchmarks.baselines.life_routes import Queue, make_app
from tests.benchmarks.baselines.life_tasks import Tasks

broker = RedisStreamBroker(os.environ["BENCH_REDIS_URL"], consumer_id="0")

Worker = Annotated[Context, TaskiqDepends()]


@broker.task
async def submit(job_id: uuid.UUID, worker: Worker) -> None:
    await worker.state.tasks.submit(job_id)


@broker.task
async def check(job_id: uuid.UUID, worker: Worker) -> None:
    await worker.state.tasks.check(job_id)


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_tasks(state: TaskiqState) -> None:
    state.opened = Tasks.opened()
    state.tasks = await state.opened.__aenter__()


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def close_tasks(state: TaskiqState) -> None:
    await state.opened.__aexit__(None, None, None)


@asynccontextmanager
async def started() -> AsyncIterator[None]:
    await broker.startup()
    yield
    await broker.shutdown()


app = make_app(Queue(started, submit=lambda _, job_id: submit.kiq(job_id), check=lambda _, job_id: check.kiq(job_id)))
