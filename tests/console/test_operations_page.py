"""Many jobs at once: counted and asked first, watched, stopped, and told what became of each."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect

from app.gateway import Seams
from app.lifecycle.states import ErrorCode, JobState
from app.operations.router import COUNTED_MAX
from app.operations.run import BATCH
from app.storage.database import Database
from tests.acceptance.stage import ADMIN_KEY, PATIENCE, Stage, client, open_stage
from tests.console.browser import Desk, open_desk
from tests.console.test_signing_in import FROM_US, session_of
from tests.databases import OpenDatabase
from tests.listing.rows import START, JobRow, add

MANY = BATCH + 10  #: jobs of an operation that is not done after its first batch


@pytest.fixture
async def rows(stage: Stage, sqlite_url: str, open_database: OpenDatabase) -> Database:
    """The gateway's database, for rows; nothing is sent upstream meanwhile."""
    await stage.api.post("/dispatch/pause")
    return open_database(sqlite_url)


@pytest.fixture
async def admin(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """A browser without a screen, signed in."""
    async with client(
        stage.url,
        None,
    ) as opened:
        await session_of(opened, ADMIN_KEY)
        opened.headers.update(FROM_US)
        yield opened


async def ended(stage: Stage, operation_id: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        while True:  # each look is a request: the operation goes on meanwhile
            found = (await stage.api.get(f"/operations/{operation_id}")).json()
            if found["finished_at"]:
                return found


def question(answer: httpx.Response) -> dict[str, list[str]]:
    """The fields that the question's button would send."""
    assert answer.status_code == 200, answer.text
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', answer.text):
        fields.setdefault(name, []).append(html.unescape(value))
    return fields


def heading(answer: httpx.Response) -> str:
    found = re.search(r"<h1>(.*?)</h1>", answer.text, re.DOTALL)
    assert found is not None
    return html.unescape(re.sub(r"<[^>]+>", "", found[1])).strip()


async def operations(stage: Stage) -> list[dict[str, Any]]:
    return list((await stage.api.get("/operations")).json()["operations"])


# --- the question ----------------------------------------------------------------------------------------------------------


async def test_asking_counts_and_changes_nothing(admin: httpx.AsyncClient, stage: Stage, rows: Database) -> None:
    await add(rows, *(JobRow(state=JobState.QUEUED, prompt=f"fox {n}") for n in range(3)), JobRow(prompt="a done fox"))
    answer = await admin.get("/console/operations/ask?kind=cancel&q=fox")
    assert heading(answer) == "Cancel 3 jobs?"
    assert "counted are those that are queued or running or submitting or unconfirmed" in answer.text
    assert await operations(stage) == []
    assert (await stage.api.get("/stats")).json()["jobs"]["queued"]["count"] == 3


async def test_a_count_that_stops_at_its_limit_says_so(admin: httpx.AsyncClient, rows: Database) -> None:
    await add(rows, *(JobRow(state=JobState.FAILED) for _ in range(COUNTED_MAX + 1)))
    answer = await admin.get("/console/operations/ask?kind=retry&state=failed")
    assert heading(answer) == "Retry at least 10\u202f000 jobs?"
    assert "there may be many more" in answer.text
    await admin.post("/console/operations", headers=FROM_US, data=question(answer))
    assert "Began to retry at least 10\u202f000 jobs" in html.unescape((await admin.get("/console/audit")).text)


async def test_nothing_to_do_is_said_and_offers_no_button(admin: httpx.AsyncClient, rows: Database) -> None:
    await add(rows, JobRow(prompt="a done fox"))
    answer = await admin.get("/console/operations/ask?kind=retry&q=fox")
    assert heading(answer) == "There is nothing to retry"
    assert question(answer) == {}


@pytest.mark.parametrize(
    ("query", "back", "said"),
    [
        ("kind=cancel&state=failed", "/console/jobs?state=failed", "There is nothing to cancel in these states"),
        ("kind=cancel", "/console/jobs", "Name at least one filter"),
        ("kind=cancel&state=lost", "/console/jobs?state=lost", "Input should be"),
    ],
)
async def test_what_cannot_be_asked_leads_back_to_the_search(
    admin: httpx.AsyncClient, query: str, back: str, said: str
) -> None:
    answer = await admin.get(f"/console/operations/ask?{query}")
    assert answer.status_code == 303
    assert answer.headers["location"] == back
    assert said in html.unescape((await admin.get(back)).text)


async def test_a_selection_of_none_leads_back(admin: httpx.AsyncClient) -> None:
    for back, there in (("/console/jobs?q=fox", "/console/jobs?q=fox"), ("https://evil.example", "/console/jobs")):
        answer = await admin.post("/console/operations/ask", data={"kind": "retry", "back": back})
        assert answer.headers["location"] == there
        assert "Check at least one job first." in (await admin.get("/console/jobs")).text


async def test_a_form_that_was_made_up_makes_nothing(admin: httpx.AsyncClient, stage: Stage) -> None:
    made_up: list[dict[str, str]] = [
        {"kind": "delete"},
        {"kind": "retry"},
        {"kind": "retry", "query": "x=1"},
        {"kind": "retry", "job": "7"},
    ]
    for form in made_up:
        assert (await admin.post("/console/operations", data=form)).status_code == 422, form
    assert await operations(stage) == []


async def test_a_question_answered_twice_makes_one_operation(admin: httpx.AsyncClient, stage: Stage, rows: Database) -> None:
    await add(rows, JobRow(state=JobState.QUEUED))
    form = question(await admin.get("/console/operations/ask?kind=cancel&state=queued"))
    first, second = [await admin.post("/console/operations", data=form) for _ in range(2)]
    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"]
    assert len(await operations(stage)) == 1


# --- what became of it -----------------------------------------------------------------------------------------------------


async def test_every_job_that_was_not_done_is_shown_with_its_reason(
    admin: httpx.AsyncClient, stage: Stage, rows: Database
) -> None:
    failed = JobRow(state=JobState.FAILED, error_code=ErrorCode.GENERATION_FAILED)
    doubtful = JobRow(state=JobState.FAILED, error_code=ErrorCode.SUBMISSION_UNCONFIRMED)
    again = JobRow(state=JobState.FAILED, error_code=ErrorCode.TASK_LOST)
    await add(rows, failed, doubtful, again)
    await stage.api.post(f"/jobs/{again.job_id}/retry")
    chosen = {"kind": "retry", "job": [str(job.job_id) for job in (failed, doubtful, again)], "back": "/console/jobs"}
    asked = await admin.post("/console/operations/ask", data=chosen)
    assert heading(asked) == "Retry 3 jobs?"
    made = await admin.post("/console/operations", data=question(asked))
    operation = await ended(stage, made.headers["location"].rpartition("/")[2])
    assert operation["progress"] == {"seen": 3, "done": 1, "skipped": 1, "failed": 1}
    answer = await admin.get(made.headers["location"])
    for result, job, code in (
        ("failed", doubtful, "may_be_billed_twice"), ("skipped", again, "already_retried"),
    ):  # fmt: skip
        section = answer.text.partition(f'<section id="{result}">')[2].partition("</section>")[0]
        assert f'href="/console/jobs/{job.job_id}"' in section
        assert code in section
        assert f'href="#{result}"' in answer.text
    assert "3 jobs looked at" in answer.text
    billed = {**question(asked), "key": ["another"], "accept_double_billing": "on"}
    operation = await ended(
        stage, (await admin.post("/console/operations", data=billed)).headers["location"].rpartition("/")[2]
    )
    assert operation["codes"] == {"already_retried": 2}
    assert operation["progress"]["done"] == 1


async def test_the_list_is_newest_first_and_has_pages(admin: httpx.AsyncClient, stage: Stage, rows: Database) -> None:
    assert "No operations yet." in (await admin.get("/console/operations")).text
    await add(rows, JobRow(state=JobState.QUEUED))
    made = []
    for n in range(51):
        body = {"kind": "cancel", "filter": {"state": ["queued"], "q": f"fox {n}"}}
        made.append((await stage.api.post("/operations", json=body)).json()["id"])
    first = await admin.get("/console/operations")
    listed = re.findall(r'href="/console/operations/([0-9a-f-]{36})"', first.text)
    assert listed == made[:0:-1]
    older = re.search(r'rel="next" href="([^"]+)"', first.text)
    assert older is not None
    last = await admin.get(html.unescape(older[1]))
    assert re.findall(r'href="/console/operations/([0-9a-f-]{36})"', last.text) == made[:1]
    assert "Newest" in last.text


async def test_a_place_in_the_list_that_is_none_is_refused(admin: httpx.AsyncClient) -> None:
    for cursor in ("!", "x" * 101):
        answer = await admin.get("/console/operations", params={"cursor": cursor})
        assert answer.status_code == 422
        assert "<code>cursor</code>: " in answer.text


async def test_an_operation_that_is_none_is_a_page_that_says_so(admin: httpx.AsyncClient) -> None:
    for path in ("/console/operations/none", "/console/operations/01a205af-04a2-7289-a0bd-9b69238914a1"):
        answer = await admin.get(path)
        assert answer.status_code == 404
        assert "There is no such operation." in answer.text


# --- before a browser ------------------------------------------------------------------------------------------------------


async def test_somebody_retries_what_failed_on_the_page_and_watches_it_end(desk: Desk) -> None:
    page = desk.page
    for n in range(3):
        await desk.stage.run(f"A fox {n} [[content-failure]]")
    await desk.open("/console/jobs?state=failed")
    await page.get_by_role("button", name="Retry selected").click()
    await expect(page.get_by_text("Check at least one job first.")).to_be_visible()
    await page.get_by_label("This page").check()
    await page.get_by_label("Select job").first.uncheck()
    await expect(page.get_by_text("2 selected")).to_be_visible()
    await page.get_by_role("button", name="Retry selected").click()
    await expect(page.get_by_role("heading", name="Retry 2 jobs?")).to_be_visible()
    assert await desk.faults() == []
    await page.get_by_label("Also jobs that may then be billed twice").check()
    await page.get_by_role("button", name="Retry 2 jobs").click()
    await expect(page.get_by_role("heading", name="Retry 2 jobs chosen by hand")).to_be_visible()
    await expect(page.locator(".state")).to_have_text("done")
    await expect(page.get_by_label("What became of the jobs").locator(".big")).to_have_text(["2", "0", "0"])
    await expect(page.get_by_text("allowed", exact=True)).to_be_visible()
    assert (await operations(desk.stage))[0]["accept_double_billing"] is True
    await page.get_by_role("link", name="All operations").click()
    await expect(page.locator("[data-row]")).to_have_text([re.compile("Retry 2 jobs chosen by hand")])


@pytest.fixture
async def midway(browser: Browser, sqlite_url: str) -> AsyncIterator[Desk]:
    """Before a gateway whose operations wait after their first batch; nothing is sent upstream meanwhile."""
    seams = Seams(operation_pause=timedelta(hours=1))
    async with open_stage(sqlite_url, seams=seams) as stage, open_desk(browser, stage) as desk:
        await stage.api.post("/dispatch/pause")
        await desk.sign_in()
        yield desk


async def test_somebody_cancels_all_that_match_and_stops_on_the_way(
    midway: Desk, sqlite_url: str, open_database: OpenDatabase
) -> None:
    desk, page = midway, midway.page
    jobs = [JobRow(state=JobState.QUEUED, prompt="a fox") for _ in range(MANY)]
    await add(open_database(sqlite_url), *jobs, JobRow(prompt="a boat"))
    await desk.open("/console/jobs?q=fox&limit=1")
    await page.get_by_text("All that match:").get_by_role("link", name="cancel").click()
    await expect(page.get_by_role("heading", name=f"Cancel {MANY} jobs?")).to_be_visible()
    await page.get_by_role("button", name=f"Cancel {MANY} jobs").click()
    progress = page.get_by_role("progressbar")
    await expect(progress).to_have_attribute("max", str(MANY))
    await expect(progress).to_have_attribute("value", str(BATCH))
    assert await desk.faults() == []
    await page.get_by_role("button", name="Stop", exact=True).click()
    await page.get_by_role("button", name="Stop it").click()
    await expect(page.get_by_text("Stopped: no further job is touched.")).to_be_visible()
    await expect(page.locator(".state")).to_have_text("stopped")
    await expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    stopped = (await operations(desk.stage))[0]
    assert stopped["progress"]["done"] == BATCH
    await page.get_by_role("heading").get_by_role("link", name="fox").click()
    await expect(page).to_have_url(f"{desk.stage.url}/console/jobs?q=fox")


async def test_stopping_what_is_done_says_so(admin: httpx.AsyncClient, stage: Stage, rows: Database) -> None:
    await add(rows, JobRow(state=JobState.QUEUED))
    made = (await stage.api.post("/operations", json={"kind": "cancel", "filter": {"state": ["queued"]}})).json()
    await ended(stage, made["id"])
    answer = await admin.post(f"/console/operations/{made['id']}/stop")
    assert answer.status_code == 303
    text = (await admin.get(answer.headers["location"])).text
    assert "The operation is done" in text
    assert 'data-every="0"' in text, "nothing is to come any more"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_the_operations_pages_are_for_everybody(
    browser: Browser, stage: Stage, rows: Database, scheme: str, width: int
) -> None:
    jobs = [
        JobRow(state=JobState.FAILED, created_at=START + timedelta(seconds=n), error_code=code)
        for n, code in enumerate(ErrorCode)
    ]
    await add(rows, *jobs)
    asked = {"kind": "retry", "jobs": [str(job.job_id) for job in jobs]}
    made = (await stage.api.post("/operations", json=asked)).json()
    await stage.api.post("/operations", json={"kind": "retry", "filter": {"state": ["failed"], "q": "x" * 100}})
    await ended(stage, made["id"])
    async with open_desk(browser, stage, color_scheme=scheme, viewport={"width": width, "height": 900}) as desk:
        await desk.sign_in()
        for path in ("", f"/{made['id']}", "/ask?kind=retry&state=failed"):
            await desk.open(f"/console/operations{path}")
            assert await desk.faults() == [], path
            assert await desk.fits(), path
