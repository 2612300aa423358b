"""The whole life with FastAPI and Procrastinate, its tasks on the same PostgreSQL, deferred in the transaction of their cause.

The API: uvicorn tests.benchmarks.baselines.procrastinate_life:app
The worker: python -c "from tests.benchmarks.baselines.procrastinate_life import work; work()", for uvloop
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import procrastinate
import uvloop
from procrastinate.tasks import Task
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.benchmarks.baselines.life_routes import URL, Queue, make_app
from tests.benchmarks.baselines.life_tasks import AT_ONCE, Tasks

queue = procrastinate.App(
    connector=procrastinate.PsycopgConnector(
        conninfo=URL.set(drivername="postgresql").render_as_string(hide_password=False), min_size=4, max_size=20
    )
)


@queue.task(name="submit", pass_context=True)
async def submit(context: procrastinate.JobContext, job_id: str) -> None:
    await context.additional_context["tasks"].submit(uuid.UUID(job_id))


@queue.task(name="check", pass_context=True)
async def check(context: procrastinate.JobContext, job_id: str) -> None:
    await context.additional_context["tasks"].check(uuid.UUID(job_id))


async def defer(task: Task, connection: AsyncConnection, job_id: uuid.UUID) -> None:
    raw = (await connection.get_raw_connection()).driver_connection
    await task.configure(connection=raw).defer_async(job_id=str(job_id))


@asynccontextmanager
async def with_schema() -> AsyncIterator[None]:
    async with queue.open_async():
        await queue.schema_manager.apply_schema_async()
        yield


def work() -> None:
    uvloop.run(_work())


async def _work() -> None:
    async with queue.open_async(), Tasks.opened() as tasks:
        await queue.run_worker_async(concurrency=AT_ONCE, delete_jobs="successful", additional_context={"tasks": tasks})


app = make_app(
    Queue(
        with_schema,
        submit=lambda connection, job_id: defer(submit, connection, job_id),
        check=lambda connection, job_id: defer(check, connection, job_id),
        transactional=True,
    )
)
