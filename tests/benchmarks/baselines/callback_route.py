"""Baseline: the usual webhook endpoint: FastAPI, the body read, one row and one commit a request.

`BENCH_POOL_SIZE` says how many connections it keeps.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from sqlalchemy import DateTime, String
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

POOL_SIZE = int(os.environ.get("BENCH_POOL_SIZE", "20"))

engine = create_async_engine(os.environ["BENCH_DATABASE_URL"], pool_size=POOL_SIZE, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Callback(Base):
    __tablename__ = "bench_callbacks"

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(String(200), index=True)
    content_type: Mapped[str | None]
    body: Mapped[str]
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


@app.post("/callbacks/{token}", status_code=204)
async def receive(request: Request, token: str, db: Annotated[AsyncSession, Depends(session)]) -> Response:
    body = (await request.body()).decode("utf-8", "replace")
    content_type = request.headers.get("content-type")
    db.add(Callback(token=token, content_type=content_type, body=body, received_at=datetime.now(UTC)))
    await db.commit()
    return Response(status_code=204)
