"""The routes of the baselines of the whole life: accept a job, and be called back. What differs is who is handed the rest."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Body, FastAPI, Header, HTTPException, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy import Executable, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests.benchmarks.baselines import life_rows as rows
from tests.benchmarks.baselines.stores_nothing import KEY, JobIn, JobOut, refused

URL = make_url(os.environ["BENCH_DATABASE_URL"]).set(drivername="postgresql+psycopg")

Enqueue = Callable[[AsyncConnection, uuid.UUID], Awaitable[object]]


@dataclass(frozen=True)
class Queue:
    """Who is handed a job: within its transaction where the tasks are in the same database, else after it."""

    opened: Callable[[], AbstractAsyncContextManager[object]]
    submit: Enqueue
    check: Enqueue
    transactional: bool = False


def make_app(queue: Queue) -> FastAPI:
    engine = create_async_engine(URL, pool_size=20, max_overflow=0)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(rows.metadata.create_all)
        async with queue.opened():
            yield
        await engine.dispose()

    async def write(connection: AsyncConnection, job_id: uuid.UUID, enqueue: Enqueue, *statements: Executable) -> None:
        for statement in statements:
            await connection.execute(statement)
        if queue.transactional:
            await enqueue(connection, job_id)
        await connection.commit()
        if not queue.transactional:
            await enqueue(connection, job_id)

    app = FastAPI(lifespan=lifespan, exception_handlers={RequestValidationError: refused})

    @app.post("/jobs", status_code=202, response_model=JobOut)
    async def accept(job: JobIn, authorization: Annotated[str, Header()] = "") -> Any:
        if authorization != KEY:
            raise HTTPException(401)
        job_id, now = uuid.uuid4(), datetime.now(UTC)
        async with engine.connect() as connection:
            event = rows.happened(job_id, "accepted")
            await write(connection, job_id, queue.submit, rows.accepted(job_id, job, now), event)
        return JobOut(**job.model_dump(), id=job_id, state="queued", created_at=now)

    @app.post("/callbacks/{token}", status_code=204)
    async def called_back(token: str, body: Annotated[dict[str, Any], Body()]) -> Response:
        async with engine.connect() as connection:
            job_id = (await connection.execute(rows.called_back(token))).scalar()
            if job_id is None:
                raise HTTPException(404)
            event = rows.happened(job_id, "called_back", task_id=(body.get("data") or {}).get("task_id"))
            await write(connection, job_id, queue.check, event)
        return Response(status_code=204)

    return app
