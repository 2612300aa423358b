"""Exports are complete, can be gone on with, break off visibly, and hold neither memory nor connections."""

from __future__ import annotations

import csv
import gc
import io
import json
import tracemalloc
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.errors import StorageUnavailableError
from app.jobs import export
from app.jobs.export import COLUMNS, exported
from app.lifecycle.states import ErrorCode, JobState
from app.storage.database import Database
from app.storage.database import database_url as parse_url
from app.storage.history import HistoryStore
from app.storage.job_filter import JobFilter
from app.storage.search import Page
from tests.acceptance.stage import Stage, open_stage
from tests.databases import Postgres
from tests.listing.rows import START, JobRow, add, in_order


def jobs_over(count: int, prompt: str = "a lighthouse") -> list[JobRow]:
    return [JobRow(created_at=START + timedelta(seconds=n // 3), prompt=prompt) for n in range(count)]


async def lines(api: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    answer = await api.get(f"/jobs/export?{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_an_export_holds_every_job_once_in_the_order_of_the_list(stage: Stage, database: Database) -> None:
    jobs = jobs_over(2 * export.PAGE + 7)
    await add(database, *jobs)
    rows = await lines(stage.api)
    assert [row["id"] for row in rows] == [str(job_id) for job_id in in_order(jobs)]


async def test_a_line_is_the_job_as_it_is_shown_and_its_cursor(stage: Stage, database: Database) -> None:
    await add(database, JobRow(task_id="task-1", metadata={"a": "b"}, images=("https://images.example/1.png",)))
    (row,) = await lines(stage.api)
    assert row.pop("cursor") is None
    assert row == (await stage.api.get(f"/jobs/{row['id']}")).json()


async def test_only_the_last_row_of_all_has_no_cursor(stage: Stage, database: Database) -> None:
    count = 0
    for more in (1, export.PAGE - 1, 1, export.PAGE - 1):
        await add(database, *jobs_over(more))
        count += more
        rows = await lines(stage.api)
        assert [row["cursor"] is None for row in rows] == [False] * (count - 1) + [True]


async def test_an_export_goes_on_behind_any_row(stage: Stage, database: Database) -> None:
    await add(database, *jobs_over(10, "a fox"), *jobs_over(10, "a hen"))
    rows = await lines(stage.api, "q=fox")
    for n in (0, 4, 8):
        assert await lines(stage.api, f"q=fox&cursor={rows[n]['cursor']}") == rows[n + 1 :]


async def test_an_export_goes_through_all_that_a_page_may_not_look_at(database: Database) -> None:
    await add(database, *jobs_over(40, "a hen"), JobRow(prompt="a fox", created_at=START - timedelta(days=1)))

    class ShortOfSight(HistoryStore):
        async def page(self, *asked: Any, **limits: Any) -> Page:
            return await super().page(*asked, **limits, look_at=7)

    history, wanted = ShortOfSight(database), JobFilter(words=("fox",))
    first = await history.page(wanted, limit=5)
    assert (first.lives, first.next is not None) == ([], True)
    rows = [row async for page in exported(history, wanted, first, "http://here") for row in page]
    assert [(row.prompt, row.cursor) for row in rows] == [("a fox", None)]


async def test_the_table_has_its_columns_and_a_header_only_at_its_beginning(stage: Stage, database: Database) -> None:
    job = JobRow(
        state=JobState.FAILED,
        prompt='one, "two"\nand 雨',
        task_id="task-1",
        idempotency_key="order-1",
        error_code=ErrorCode.GENERATION_FAILED,
        metadata={"order": "42"},
        images=("https://images.example/1.png", "https://images.example/2.png"),
    )
    await add(database, job, JobRow(created_at=START - timedelta(days=1)))
    answer = await stage.api.get("/jobs/export?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="jobs.csv"'
    header, row, last = csv.reader(io.StringIO(answer.text, newline=""))
    assert tuple(header) == COLUMNS
    cells = dict(zip(header, row, strict=True))
    here = f"{stage.url}/jobs/{job.job_id}/images"
    cursor = cells.pop("cursor")
    assert cells == {
        "id": str(job.job_id), "state": "failed", "tenant": "acme", "prompt": job.prompt, "size": "1024*1024", "seed": "-1",
        "output_format": "jpeg", "priority": "normal", "metadata": '{"order": "42"}', "idempotency_key": "order-1",
        "task_id": "task-1", "error_code": "generation_failed", "error_message": "'=no luck", "credits_consumed": "0",
        "credits_unresolved": "0", "attempts": "1", "completed_via": "", "created_at": "2026-01-02T03:04:05.678901Z",
        "submitted_at": "", "finished_at": "2026-01-02T03:04:14.678901Z", "image_urls": f"{here}/0 {here}/1",
    }  # fmt: skip
    rest = await stage.api.get(f"/jobs/export?format=csv&cursor={cursor}")
    assert list(csv.reader(io.StringIO(rest.text))) == [last]


async def test_no_cell_is_a_formula_and_no_line_is_changed(stage: Stage, database: Database) -> None:
    formulas = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "＝1"]
    await add(database, *(JobRow(prompt=formula, idempotency_key=formula) for formula in formulas))
    answer = await stage.api.get("/jobs/export?format=csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert sorted(row["prompt"] for row in rows) == sorted(f"'{formula}" for formula in formulas)
    assert all(row["idempotency_key"] == row["prompt"] and row["seed"] == "-1" for row in rows)
    assert sorted(line["prompt"] for line in await lines(stage.api)) == sorted(formulas)


async def test_what_does_not_fit_is_refused_before_anything_is_sent(stage: Stage) -> None:
    for query in ("format=xlsx", "format=", "colour=red", "cursor=x", "limit=5", "format=csv&format=ndjson"):
        answer = await stage.api.get(f"/jobs/export?{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


async def test_an_empty_export_is_empty(stage: Stage) -> None:
    assert (await stage.api.get("/jobs/export")).content == b""
    assert (await stage.api.get("/jobs/export?format=csv")).text == ",".join(COLUMNS) + "\r\n"


async def test_no_connection_is_held_while_the_reader_takes_its_time(database: Database) -> None:
    await add(database, *jobs_over(3 * export.PAGE))
    history = HistoryStore(database)
    pages = exported(history, JobFilter(), await history.page(limit=export.PAGE), "http://here")
    seen = 0
    async for _rows in pages:
        assert database._reader.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        seen += 1
    assert seen == 3


async def test_an_export_of_ten_times_as_much_needs_no_more_memory(database: Database) -> None:
    async def peak(pages: int) -> int:
        before = START + timedelta(seconds=pages * export.PAGE // 3)
        wanted, history = JobFilter(created_before=before), HistoryStore(database)
        gc.collect()
        tracemalloc.start()
        try:
            first = await history.page(wanted, limit=export.PAGE)
            sizes = [len(rows) async for rows in exported(history, wanted, first, "http://here")]
            assert sum(sizes) >= (pages - 1) * export.PAGE
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    await add(database, *jobs_over(20 * export.PAGE, "a long prompt " * 100))
    await peak(2)  # statements are compiled and kept once
    assert await peak(20) < 1.5 * await peak(2)


async def test_a_database_that_goes_away_on_the_way_breaks_the_connection(database: Database) -> None:
    """The error comes out of the stream: the server can only break the connection off, which no reader takes for an end."""

    class Failing(HistoryStore):
        async def page(self, *asked: Any, **limits: Any) -> Page:
            raise StorageUnavailableError("gone")

    await add(database, *jobs_over(2 * export.PAGE))
    first = await HistoryStore(database).page(limit=export.PAGE)
    pages: AsyncIterator[Any] = exported(Failing(database), JobFilter(), first, "http://here")
    rows = await anext(pages)
    assert all(row.cursor for row in rows)
    with pytest.raises(StorageUnavailableError):
        await anext(pages)


async def test_a_reader_sees_that_an_export_broke_off_and_goes_on(postgres: Postgres) -> None:
    jobs = jobs_over(40 * export.PAGE, "a long prompt " * 140)
    with postgres.fresh() as url:
        database = Database(parse_url(url))
        await add(database, *jobs)
        async with open_stage(url) as stage:
            got: list[str] = []
            with pytest.raises(httpx.RemoteProtocolError):
                async with stage.api.stream("GET", "/jobs/export", timeout=90) as answer:
                    async for line in answer.aiter_lines():
                        if not got:
                            await rename_jobs(database, "jobs", "jobs_away")
                        got.append(line)
            rows = [json.loads(line) for line in got]
            assert 0 < len(rows) < len(jobs)
            assert all(row["cursor"] for row in rows)
            await rename_jobs(database, "jobs_away", "jobs")
            rows += await lines(stage.api, f"cursor={rows[-1]['cursor']}")
        await database.dispose()
    assert [row["id"] for row in rows] == [str(job_id) for job_id in in_order(jobs)]


async def rename_jobs(database: Database, old: str, new: str) -> None:
    async with database.writing() as connection:
        await connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))
