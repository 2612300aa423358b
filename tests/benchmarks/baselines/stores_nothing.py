"""Baseline (a): a FastAPI route that validates the same body, looks at the key, and stores nothing."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field

KEY = f"Bearer {os.environ['BENCH_KEY']}"


class JobIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompt: Annotated[str, Field(min_length=1, max_length=2000)]
    size: Literal["1024*1024", "1024*1536", "1536*1024", "768*1024", "1024*768"] = "1024*1024"
    seed: Annotated[int, Field(ge=-1)] = -1
    output_format: Literal["jpeg", "png", "webp"] = "jpeg"
    callback_url: str | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16)] = {}
    priority: Literal["high", "normal", "low"] = "normal"
    reuse: Literal["never", "exact"] = "never"


class JobOut(JobIn):
    id: uuid.UUID
    state: str
    created_at: datetime


app = FastAPI()


@app.post("/jobs", status_code=202, response_model=JobOut)
async def accept(job: JobIn, authorization: Annotated[str, Header()] = "") -> Any:
    if authorization != KEY:
        raise HTTPException(401)
    return JobOut(**job.model_dump(), id=uuid.uuid4(), state="queued", created_at=datetime.now(UTC))
