"""Baseline (a): a FastAPI route that checks the same body by the same rules, looks at the key, and stores nothing.

The rules are in patterns and bounds, which pydantic tests in Rust; it refuses lone surrogates wherever there is one of these.
"""

from __future__ import annotations

import json
import os
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt

KEY = f"Bearer {os.environ['BENCH_KEY']}"
SEED_MAX = 2**63 - 1
EXACT_MAX = 2**53  #: a float beyond it may have been another number

_NO_NUL = r"^[^\x00]*$"
_NOT_BLANK = r"^[^\x00]*[^\s\x00\x1c-\x1f][^\x00]*$"  #: nor a NUL


def _star_for_x(value: object) -> object:
    return value.replace("x", "*") if isinstance(value, str) else value


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT_MAX else value


Prompt = Annotated[str, Field(min_length=1, max_length=2000, pattern=_NOT_BLANK)]
Size = Literal["1024*1024", "1024*1536", "1536*1024", "768*1024", "1024*768"]
Seed = Annotated[StrictInt, Field(ge=-1, le=SEED_MAX), BeforeValidator(_whole)]
OutputFormat = Literal["jpeg", "png", "webp"]
MetadataKey = Annotated[str, Field(min_length=1, max_length=40, pattern=_NO_NUL)]
MetadataValue = Annotated[str, Field(max_length=500, pattern=_NO_NUL)]
CallbackUrl = Annotated[str, Field(min_length=1, max_length=2000, pattern=_NO_NUL)]
Priority = Literal["high", "normal", "low"]
Reuse = Literal["never", "exact"]


class JobIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompt: Prompt
    size: Annotated[Size, BeforeValidator(_star_for_x)] = "1024*1024"
    seed: Seed = -1
    output_format: OutputFormat = "jpeg"
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] = {}
    priority: Priority = "normal"
    callback_url: CallbackUrl | None = None
    reuse: Reuse = "never"


class JobOut(BaseModel):
    """What was checked when it came in is not checked again."""

    id: uuid.UUID
    state: str
    created_at: datetime
    prompt: str
    size: Size
    seed: int
    output_format: OutputFormat
    metadata: dict[str, str]
    priority: Priority
    callback_url: str | None
    reuse: Reuse


async def refused(_: Request, error: RequestValidationError) -> Response:
    """Says what is wrong without saying the value again, and in ASCII: it may hold what is no character."""
    wrong = [{"at": part["loc"], "message": part["msg"]} for part in error.errors()]
    return Response(json.dumps(wrong), 422, media_type="application/json")


app = FastAPI(exception_handlers={RequestValidationError: refused})


@app.post("/jobs", status_code=202, response_model=JobOut)
async def accept(job: JobIn, authorization: Annotated[str, Header()] = "") -> Any:
    if authorization != KEY:
        raise HTTPException(401)
    return JobOut(**job.model_dump(), id=uuid.uuid4(), state="queued", created_at=datetime.now(UTC))
