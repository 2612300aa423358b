"""Baseline: routes that do nothing but wait: one answers when an event is set, one is a stream that has nothing to tell yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()


@app.get("/jobs/{job_id}")
async def wait(job_id: str) -> dict[str, str]:
    await asyncio.Event().wait()
    return {"id": job_id}


@app.get("/jobs/{job_id}/events")
async def stream(job_id: str) -> StreamingResponse:
    return StreamingResponse(_nothing_yet(job_id), media_type="text/event-stream")


async def _nothing_yet(job_id: str) -> AsyncIterator[str]:
    yield f": {job_id}\n\n"
    await asyncio.Event().wait()
