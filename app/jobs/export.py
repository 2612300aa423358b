"""`GET /jobs/export`: any number of jobs, streamed in constant memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from app.access.callers import CurrentCaller, Scope
from app.answers import base_url, problem_responses
from app.instants import written
from app.job_query.filters import JobQuery, seen_by
from app.job_query.query import parameters_of, read_query
from app.job_view import JobView, job_view
from app.jobs.cursor import read_cursor, write_cursor
from app.lifecycle.job import Life
from app.storage.history import HistoryStore
from app.storage.job_filter import JobFilter
from app.storage.search import Page, key_of
from app.texts import Text

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=problem_responses(401, 403, 503))

PAGE = 100  #: jobs read, held and written at a time; more would hold up everybody else on the loop

COLUMNS = (
    "id", "state", "tenant", "prompt", "size", "seed", "output_format", "priority", "metadata", "idempotency_key", "task_id",
    "error_code", "error_message", "credits_consumed", "credits_unresolved", "attempts", "completed_via", "created_at",
    "submitted_at", "finished_at", "image_urls", "cursor",
)  # fmt: skip

#: A cell that begins with one of these is a formula to a spreadsheet. Source: OWASP, "CSV Injection".
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class ExportQuery(JobQuery):
    """The query of `GET /jobs/export`."""

    format: Literal["ndjson", "csv"] = Field("ndjson", description="A JSON object a line, or a table (RFC 4180, UTF-8).")
    cursor: Annotated[Text, Field(max_length=200)] | None = Field(
        None, description="`cursor` of the last row that arrived, to go on behind it, with the same filters."
    )


class ExportedJob(JobView):
    """A line of an export: a job, and its place."""

    cursor: str | None = Field(description="To go on behind this row; null on the last row of a complete export.")


@router.get(
    "/export",
    response_class=StreamingResponse,
    summary="Export jobs",
    responses={
        200: {
            "description": "The rows.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}, "text/csv": {"schema": {"type": "string"}}},
        },
        **problem_responses(422),
    },
    openapi_extra={"parameters": parameters_of(ExportQuery)},
)
async def export_jobs(request: Request, caller: CurrentCaller) -> StreamingResponse:
    """All jobs that fit the filters of `GET /jobs`, newest first, however many.

    Every row bears a `cursor`; only the last row of a complete export has none. Where the database goes away on the way, the
    connection is broken off, never ended as if all were there: go on with `cursor=` of the last row that arrived. CSV has its
    header row only when no cursor is given, so that the parts can be put together.

    Each NDJSON line is the job as `GET /jobs/{id}` shows it. The CSV columns are: id, state, tenant, prompt, size, seed,
    output_format, priority, metadata (as JSON), idempotency_key, task_id, error_code, error_message, credits_consumed,
    credits_unresolved, attempts, completed_via, created_at, submitted_at, finished_at, image_urls (blanks between), cursor.
    In CSV, a text that begins with `=`, `+`, `-`, `@`, a tab or a line break gets an apostrophe in front, since spreadsheets
    would run it as a formula; NDJSON has every text as it is.
    """
    caller.require(Scope.JOBS_READ)
    query = read_query(ExportQuery, request.query_params.multi_items())
    wanted = seen_by(caller, query.wanted())
    after = read_cursor(query.cursor, wanted) if query.cursor is not None and wanted is not None else None
    history: HistoryStore = request.state.gateway.history
    # The first page is read before the answer begins: a database that is away is still a 503.
    first = await history.page(wanted, limit=PAGE, after=after) if wanted is not None else Page([], None)
    rows = exported(history, wanted or JobFilter(), first, base_url(request))
    body = _csv(rows, header=query.cursor is None) if query.format == "csv" else _ndjson(rows)
    media_type = "text/csv; charset=utf-8" if query.format == "csv" else "application/x-ndjson"
    headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="jobs.{query.format}"'}
    return StreamingResponse(body, headers=headers, media_type=media_type)


async def exported(history: HistoryStore, wanted: JobFilter, first: Page, base_url: str) -> AsyncIterator[list[ExportedJob]]:
    """Page after page. Each is a short read of its own, and none is under way while the caller takes its time.

    The last row of a page is held back until it is known whether another follows: the last of all has no cursor.

    Raises:
        StorageUnavailableError: the database went out of reach on the way.
    """
    page = first
    held: list[Life] = []
    while True:
        lives = [*held, *page.lives]
        if page.next is None:
            yield [_row(life, wanted, base_url, last=life is lives[-1]) for life in lives]
            return
        held = lives[-1:]
        if len(lives) > 1:
            yield [_row(life, wanted, base_url, last=False) for life in lives[:-1]]
        page = await history.page(wanted, limit=PAGE, after=page.next)


def _row(life: Life, wanted: JobFilter, base_url: str, *, last: bool) -> ExportedJob:
    cursor = None if last else write_cursor(key_of(life), wanted)
    return ExportedJob.model_construct(**dict(job_view(life, base_url)), cursor=cursor)


async def _ndjson(pages: AsyncIterator[list[ExportedJob]]) -> AsyncIterator[str]:
    async for rows in pages:
        yield "".join(f"{row.model_dump_json()}\n" for row in rows)


async def _csv(pages: AsyncIterator[list[ExportedJob]], *, header: bool) -> AsyncIterator[str]:
    if header:
        yield _lines([COLUMNS])
    async for rows in pages:
        yield _lines(_cells(row) for row in rows)


def _lines(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _cells(row: ExportedJob) -> Iterator[Any]:
    values: dict[str, Any] = {
        **dict(row),
        "metadata": json.dumps(row.metadata, ensure_ascii=False),
        "task_id": row.upstream.task_id,
        "error_code": row.error and row.error.code,
        "error_message": row.error and row.error.message,
        "credits_consumed": row.credits.consumed,
        "credits_unresolved": row.credits.unresolved,
        "image_urls": " ".join(image.url for image in row.images),
    }
    for name in COLUMNS:
        yield _cell(values[name])


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return written(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
