"""Baseline (b): the usual route: FastAPI, an ORM session a request, one commit; the key is looked up in memory.

`BENCH_POOL_SIZE` says how many connections it keeps: what is best depends on the database, and on SQLite, where one writes at
a time, may be a single one.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.exceptions import RequestValidationError
from sqlalchemy import JSON, BigInteger, DateTime, String, event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.benchmarks.baselines.stores_nothing import KEY, JobIn, JobOut, refused

URL = os.environ["BENCH_DATABASE_URL"]
POOL_SIZE = int(os.environ.get("BENCH_POOL_SIZE", "20"))
SQLITE = URL.startswith("sqlite")

engine = create_async_engine(URL, pool_size=POOL_SIZE, max_overflow=0, **({"connect_args": {"timeout": 30}} if SQLITE else {}))
sessions = async_sessionmaker(engine, expire_on_commit=False)

if SQLITE:

    @event.listens_for(engine.sync_engine, "connect")
    def _as_durable_as_the_gateway(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")


class Base(DeclarativeBase):
    pass


class Job(Base):
    __tablename__ = "bench_jobs"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    tenant: Mapped[str] = mapped_column(String(63), index=True)
    state: Mapped[str] = mapped_column(String(20), index=True, default="queued")
    prompt: Mapped[str]
    size: Mapped[str]
    seed: Mapped[int] = mapped_column(BigInteger)
    output_format: Mapped[str]
    callback_url: Mapped[str | None]
    job_metadata: Mapped[dict[str, str]] = mapped_column(JSON)
    priority: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan, exception_handlers={RequestValidationError: refused})


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


@app.post("/jobs", status_code=202, response_model=JobOut)
async def accept(
    job: JobIn, db: Annotated[AsyncSession, Depends(session)], authorization: Annotated[str, Header()] = ""
) -> Any:
    if authorization != KEY:
        raise HTTPException(401)
    row = Job(
        tenant="bench", prompt=job.prompt, size=job.size, seed=job.seed, output_format=job.output_format,
        callback_url=job.callback_url, job_metadata=job.metadata, priority=job.priority, created_at=datetime.now(UTC),
    )  # fmt: skip
    db.add(row)
    await db.commit()
    return JobOut(**job.model_dump(), id=row.id, state=row.state, created_at=row.created_at)
