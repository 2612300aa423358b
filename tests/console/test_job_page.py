"""One job: everything that is known of it, and what can be done about it."""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect
from sqlalchemy import insert, update

from app.callbacks.receive import SAMPLE_MAX
from app.console.curl import curl_of
from app.console.job import REST, SETTLED_EVERY, _every
from app.console.timeline import READ_MAX, SHOWN_MAX
from app.job_view import JobView
from app.lifecycle.news import CancelAsked, CandidateNamed
from app.lifecycle.states import JobState
from app.storage import tables as t
from app.storage.audit import COMMAND_LINE
from app.storage.database import Database
from app.storage.receipts import CallbackOutcome
from tests.acceptance.stage import ADMIN_KEY, Stage, client, open_stage
from tests.access.keyring import Keyring
from tests.console.browser import Desk, open_desk
from tests.console.test_signing_in import FROM_US, session_of
from tests.databases import OpenDatabase
from tests.deliveries.rig import answering
from tests.deliveries.test_deliveries_over_http import attempted
from tests.lifecycle.lives import after, queued_again
from tests.listing.rows import START, JobRow, add
from tests.raw_server import Serve
from tests.replicas.deployment import wait_for

SCRIPT = "<script>alert('x')</script>"
PRESSED = {"pressed": ""}  #: a form without fields; httpx would not say that it is one
POEM = "江南水乡\n\n小桥流水人家"


@pytest.fixture
async def stage(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    images = {"image_store_url": f"file://{tmp_path}/images", "image_allow": "127.0.0.1"}
    async with open_stage(sqlite_url, delivery_allow="127.0.0.1", unconfirmed_wait="1s", **images) as opened:
        yield opened


@pytest.fixture
async def admin(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with client(stage.url, None) as browser:
        await session_of(browser, stage.api.headers["authorization"].removeprefix("Bearer "))
        yield browser


@pytest.fixture
async def rows(stage: Stage, sqlite_url: str, open_database: OpenDatabase) -> Database:
    """The gateway's database, for rows; nothing is sent upstream meanwhile."""
    await stage.api.post("/dispatch/pause")
    return open_database(sqlite_url)


def page_of(job: dict[str, Any]) -> str:
    return f"/console/jobs/{job['id']}"


async def stored(stage: Stage, job: dict[str, Any]) -> dict[str, Any]:
    """The job once its picture is archived."""

    async def look() -> dict[str, Any] | None:
        found = (await stage.api.get(f"/jobs/{job['id']}")).json()
        return found if found["images"] and found["images"][0]["stored"] else None

    return await wait_for(look)  # type: ignore[return-value]


# --- without a browser ---------------------------------------------------------------------------------------------------


async def test_the_page_holds_all_that_is_known(stage: Stage, admin: httpx.AsyncClient, serve: Serve) -> None:
    server = await serve(answering("500 Oops"))
    job = await stage.run(f"{SCRIPT} in the snow", metadata={"客户": "李雷"}, callback_url=f"{server.url}/hook", seed=42)
    delivery = await attempted(stage.api, job)
    text = (await admin.get(page_of(job))).text
    assert SCRIPT not in text
    assert all(
        word in text for word in ("客户", "李雷", "42", f"{server.url}/hook", job["upstream"]["task_id"], delivery["id"])
    )
    assert all(word in text for word in ("Accepted", "Being sent upstream", "A check read SUCCESS", "Succeeded, 1 picture"))
    assert "HTTP 500" in text
    assert 'aria-label="The job\'s path: queued, submitting, running, succeeded"' in text


async def test_a_gateway_that_keeps_no_pictures_waits_for_none(sqlite_url: str) -> None:
    async with open_stage(sqlite_url) as stage, client(stage.url, None) as admin:
        await session_of(admin, ADMIN_KEY)
        text = (await admin.get(page_of(await stage.run()))).text
    assert "This gateway keeps no copies." in text
    assert 'data-every="0"' in text, "nothing is to come any more"


async def test_a_picture_of_a_store_that_was_turned_off_is_linked_where_it_came_from(sqlite_url: str, tmp_path: Path) -> None:
    images = {"image_store_url": f"file://{tmp_path}/images", "image_allow": "127.0.0.1"}
    async with open_stage(sqlite_url, **images) as stage:
        job = await stored(stage, await stage.run())
    async with open_stage(sqlite_url) as stage, client(stage.url, None) as admin:
        await session_of(admin, ADMIN_KEY)
        text = (await admin.get(page_of(job))).text
    assert "<img" not in text.partition('aria-label="Pictures"')[2]
    assert "This gateway keeps no copies." in text
    assert job["images"][0]["source_url"] in text


async def test_samples_and_excerpts_are_for_admins(stage: Stage, admin: httpx.AsyncClient, serve: Serve) -> None:
    keyring = Keyring(stage)
    made = await keyring.make("jobs:read", "jobs:write", tenant="acme")
    server = await serve(answering("500 Oops", body=b"secrets of the receiver"))
    async with client(stage.url, made["key"]) as owner:
        job = (await owner.post("/jobs", json={"prompt": "fox", "callback_url": f"{server.url}/hook"})).json()
    await stage.settled(job)
    await attempted(stage.api, job)
    async with client(stage.url, None) as browser:
        await session_of(browser, made["key"])
        shown = await browser.get(page_of(job))
        assert shown.status_code == 200
        assert "What it said" not in shown.text
        assert "secrets of the receiver" not in shown.text
        assert "Check now" not in shown.text
    text = (await admin.get(page_of(job))).text
    assert "secrets of the receiver" in text
    assert "&#34;task_id&#34;" in text, "the callback's sample, escaped"


async def test_another_tenants_job_is_nowhere_and_a_reader_has_no_button(stage: Stage) -> None:
    keyring = Keyring(stage)
    job, reader = await stage.accept("[[never-ends]]"), await keyring.make("jobs:read", tenant="admin")
    async with client(stage.url, None) as browser:
        await session_of(browser, (await keyring.make("jobs:read", "jobs:write"))["key"])
        assert (await browser.get(page_of(job))).status_code == 404
        assert (await browser.post(f"{page_of(job)}/cancel", headers=FROM_US)).status_code == 404
        assert (await browser.get("/console/jobs/none")).status_code == 404
    async with client(stage.url, None) as browser:
        await session_of(browser, reader["key"])
        assert "ask-cancel" not in (await browser.get(page_of(job))).text
        assert (await browser.post(f"{page_of(job)}/cancel", headers=FROM_US)).status_code == 403
    assert (await stage.api.get(f"/jobs/{job['id']}")).json()["cancel_requested"] is False


async def test_a_retry_is_a_job_of_its_own_and_says_whose(stage: Stage, admin: httpx.AsyncClient) -> None:
    job = await stage.run("[[content-failure]]")
    answer = await admin.post(f"{page_of(job)}/retry", headers=FROM_US, data=PRESSED)
    assert answer.status_code == 303
    retried = await admin.get(answer.headers["location"])
    assert f'href="{page_of(job)}"' in retried.text
    assert "This is the retry" in retried.text
    assert f'href="{answer.headers["location"]}"' in (await admin.get(page_of(job))).text, "the old one leads to the new one"


async def test_a_retry_that_takes_over_pictures_says_so_and_one_that_was_made_leads_there(
    stage: Stage, admin: httpx.AsyncClient
) -> None:
    job = await stage.accept("A street [[run=1]]")
    await stage.until(job, "running")
    await stage.api.post(f"/jobs/{job['id']}/cancel")
    canceled = await stage.settled(job)
    assert (canceled["state"], len(canceled["images"])) == ("canceled", 1)
    assert "the retry takes over its pictures, for 0 credits" in (await admin.get(page_of(job))).text
    await admin.post(f"{page_of(job)}/retry", headers=FROM_US, data=PRESSED)
    assert "It was retried before: this leads to that job." in (await admin.get(page_of(job))).text


async def test_what_cannot_be_done_is_said_on_the_page(stage: Stage, admin: httpx.AsyncClient) -> None:
    job = await stage.run()
    for act, said in (("cancel", "can no longer be canceled"), ("retry", "The job succeeded"), ("check", "books are closed")):
        answer = await admin.post(f"{page_of(job)}/{act}", headers=FROM_US, data=PRESSED)
        assert answer.headers["location"] == page_of(job)
        assert said in (await admin.get(page_of(job))).text
    answer = await admin.post(f"{page_of(job)}/candidates", headers=FROM_US, data={"task_id": "not an id"})
    assert "task_id: String should match" in (await admin.get(page_of(job))).text


async def test_a_number_of_no_submission_is_refused(stage: Stage, admin: httpx.AsyncClient) -> None:
    job = await stage.accept("[[never-ends]]")
    endless = {"task_id": "task-1", "submission": "9" * 5000}
    assert (await admin.post(f"{page_of(job)}/candidates", headers=FROM_US, data=endless)).status_code == 413
    for number in ("9" * 500, "٣", "2.5"):
        form = {"task_id": "task-1", "submission": number}
        assert (await admin.post(f"{page_of(job)}/candidates", headers=FROM_US, data=form)).status_code == 303
        assert "submission: Input should be a valid integer" in (await admin.get(page_of(job))).text


async def test_the_page_says_what_became_of_each_callback_and_which_task_is_to_be_confirmed(
    admin: httpx.AsyncClient, rows: Database
) -> None:
    job, words = JobRow(task_id="task-1"), {
        CallbackOutcome.POKED: "brought the next check forward",
        CallbackOutcome.CANDIDATE: "named a candidate, which a check must confirm",
        CallbackOutcome.UNREADABLE: "nothing to check came of it",
        CallbackOutcome.LATE: "came after the task was read to its end",
        CallbackOutcome.UNKNOWN: "its token was not good",
    }  # fmt: skip
    await add(rows, job)
    receipt = {"job_id": job.job_id, "number": 1, "received_at": START, "body_bytes": 9, "sample": "完了了"}
    async with rows.writing() as connection:
        await connection.execute(insert(t.callbacks), [{**receipt, "outcome": outcome} for outcome in CallbackOutcome])
        await connection.execute(update(t.submissions).values(candidates=["task-7", "task-8"]))
    text = (await admin.get(f"/console/jobs/{job.job_id}")).text
    assert all(text.count(words[outcome]) == 1 for outcome in CallbackOutcome)
    assert "<code>task-7</code>, <code>task-8</code>" in text
    assert "to be confirmed by a check" in text
    assert "Only its beginning is kept." not in text
    async with rows.writing() as connection:
        await connection.execute(update(t.callbacks).values(body_bytes=SAMPLE_MAX + 1, sample="x" * SAMPLE_MAX))
    assert (await admin.get(f"/console/jobs/{job.job_id}")).text.count("Only its beginning is kept.") == len(CallbackOutcome)


def test_a_page_is_looked_at_again_while_a_task_that_was_named_for_what_is_closed_is_unread() -> None:
    closed = after(queued_again(), CancelAsked())
    named = after(closed, CandidateNamed("task-7", 1))
    assert named.submission(1).candidates == ("task-7",)
    assert (_every(closed, [], keeps=False), _every(named, [], keeps=False)) == (REST, SETTLED_EVERY)


# --- a long timeline -----------------------------------------------------------------------------------------------------


async def with_events(rows: Database, count: int) -> JobRow:
    """A running job with so many events: accepted, sent and given back over and over, taken in the end."""
    job = JobRow(state=JobState.RUNNING, task_id="task-1")
    again = [("submitting", {"submission": 1}), ("queued", {"submission": 1})]
    told: list[tuple[str, dict[str, Any]]] = [("accepted", {}), *(again[n % 2] for n in range(count - 3))]
    told += [("submitting", {"submission": 1}), ("running", {"submission": 1, "task_id": "task-1", "by": COMMAND_LINE})]
    await add(rows, job)
    async with rows.writing() as connection:
        events = [{"job_id": job.job_id, "at": START, "type": name, "data": data} for name, data in told]
        await connection.execute(insert(t.events), events)
    return job


def events_of(text: str) -> list[int]:
    return [int(number) for number in re.findall(r'<tr id="event-(\d+)"', text)]


async def test_the_newest_of_a_long_timeline_are_shown_first_and_lead_to_all_the_others(
    admin: httpx.AsyncClient, rows: Database
) -> None:
    count = 2 * SHOWN_MAX + 301
    job = await with_events(rows, count)
    here = f"/console/jobs/{job.job_id}"
    text = newest = (await admin.get(here)).text
    assert "The upstream took it: task task-1" in newest
    assert "somebody at the command line" in newest
    assert "Later" not in newest
    assert len(events_of(newest)) == SHOWN_MAX
    for left_out in (SHOWN_MAX + 301, 301):
        earlier = re.search(r'href="(\?after=\d+)#timeline">Earlier: ([^<]+)<', text)
        assert earlier
        assert int(earlier[2].replace("\u202f", "")) == left_out
        text = (await admin.get(here + earlier[1])).text
        assert f'href="{here}#timeline">Newest' in text
    assert "Earlier" not in text
    shown = events_of(text)
    while later := re.search(r'href="(\?after=\d+)#timeline">Later', text):
        text = (await admin.get(here + later[1])).text
        shown += events_of(text)
    assert len(shown) == count
    assert shown == sorted(set(shown)), "each once, in order"


async def test_the_path_is_that_of_the_whole_timeline_whatever_part_is_shown(admin: httpx.AsyncClient, rows: Database) -> None:
    job = await with_events(rows, SHOWN_MAX + 1)  # an odd number: the last of the repeats leads to the queue
    here = f"/console/jobs/{job.job_id}"
    texts = [(await admin.get(address)).text for address in (here, f"{here}?after=0")]
    [path] = {html.unescape(found) for text in texts for found in re.findall(r'aria-label="(The job[^"]+)"', text)}
    assert path.startswith("The job's path: queued, submitting, queued,")
    assert path.endswith("queued, submitting, running")
    assert f"… {SHOWN_MAX + 1 - 12} more …" in path


async def test_a_timeline_that_is_too_long_to_be_read_says_so(admin: httpx.AsyncClient, rows: Database) -> None:
    job = await with_events(rows, READ_MAX + 1)
    text = (await admin.get(f"/console/jobs/{job.job_id}")).text
    assert "The timeline is longer than this page reads" in text
    assert len(events_of(text)) == SHOWN_MAX


def test_the_curl_command_survives_a_shell_and_never_holds_a_key() -> None:
    prompt = 'it\'s "quoted" $HOME `id` \\ 江南\nsecond line'
    job = JobView.model_validate_json(json.dumps(_job(prompt)))
    words = shlex.split(curl_of(job, "https://gateway.example").replace("\\\n", ""))
    assert words[:3] == ["curl", "--fail-with-body", "https://gateway.example/jobs"]
    assert "Authorization: Bearer $GATEWAY_API_KEY" in words
    body = json.loads(words[words.index("--data-raw") + 1])
    assert body == {"prompt": prompt, "size": "1024*1024", "output_format": "png", "seed": 7, "metadata": {"a": "b"}}


def _job(prompt: str) -> dict[str, Any]:
    nothing: dict[str, Any] = dict.fromkeys(
        (
            "idempotency_key",
            "callback_url",
            "error",
            "completed_via",
            "retry_of",
            "submitted_at",
            "finished_at",
            "poll_after_ms",
        )
    )
    here = "https://gateway.example/jobs/1"
    return {
        **nothing, "id": "01a205aa-71b2-7401-aa65-17a72118bbd7", "state": "queued", "tenant": "t", "prompt": prompt,
        "size": "1024*1024", "seed": 7, "output_format": "png", "metadata": {"a": "b"}, "priority": "normal", "images": [],
        "credits": {"reserved": 5, "consumed": 0, "unresolved": 0}, "upstream": {}, "attempts": 0, "submissions": 0,
        "cancel_requested": False, "created_at": "2026-11-02T09:00:00Z", "updated_at": "2026-11-02T09:00:00Z",
        "links": {"self": here, "events": here, "cancel": None},
    }  # fmt: skip


# --- with a browser ------------------------------------------------------------------------------------------------------


async def test_a_job_goes_its_way_before_ones_eyes_and_then_the_page_rests(desk: Desk) -> None:
    job = await desk.stage.accept(POEM)
    await desk.open(page_of(job))
    await expect(desk.page.get_by_role("heading", level=1)).to_contain_text("succeeded")
    picture = desk.page.get_by_role("img", name="Picture 1 of this job")
    await expect(picture).to_be_visible()
    assert await picture.evaluate("(img) => img.decode().then(() => img.naturalWidth)") == 1024
    await expect(desk.page.get_by_role("img", name="The job's path: queued, submitting, running, succeeded")).to_be_visible()
    await expect(desk.page.locator(".prompt")).to_have_text(POEM, use_inner_text=True)
    await expect(desk.page.locator("#live")).to_have_attribute("data-every", "0")


async def test_cancel_asks_first_and_c_opens_the_question(desk: Desk) -> None:
    job = await desk.stage.accept("[[never-ends]]")
    await desk.open(page_of(job))
    await desk.page.keyboard.press("c")
    question = desk.page.get_by_role("dialog", name="Cancel")
    await expect(question).to_be_visible()
    await question.get_by_role("button", name="Leave it").click()
    await expect(question).to_be_hidden()
    await desk.page.keyboard.press("c")
    await question.get_by_role("button", name="Cancel the job").click()
    await expect(desk.page.get_by_text("Cancel was asked for.")).to_be_visible()
    await expect(desk.page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
    assert (await desk.stage.api.get(f"/jobs/{job['id']}")).json()["cancel_requested"] is True


async def test_a_retry_that_may_be_billed_twice_wants_a_second_yes(desk: Desk) -> None:
    job = await desk.stage.run("[[answer-lost]] [[callback-lost]]")
    assert job["error"]["code"] == "submission_unconfirmed"
    await desk.open(page_of(job))
    await desk.page.keyboard.press("r")
    question = desk.page.get_by_role("dialog", name="Retry")
    await question.get_by_role("button", name="Retry the job").click()
    await expect(question, "the browser wants the box checked").to_be_visible()
    await question.get_by_label("Pay for a second one all the same.").check()
    await question.get_by_role("button", name="Retry the job").click()
    await expect(desk.page.get_by_text("This is the retry")).to_be_visible()
    await expect(desk.page.get_by_role("link", name=job["id"])).to_be_visible()


async def test_a_retry_that_was_made_wants_no_second_yes_again(desk: Desk) -> None:
    job = await desk.stage.run("[[answer-lost]] [[callback-lost]]")
    retried = await desk.stage.api.post(f"/jobs/{job['id']}/retry", params={"accept_double_billing": True})
    await desk.open(page_of(job))
    await desk.page.keyboard.press("r")
    await desk.page.get_by_role("dialog", name="Retry").get_by_role("button", name="Retry the job").click()
    await expect(desk.page.get_by_text("This is the retry")).to_be_visible()
    assert desk.page.url.endswith(retried.json()["id"])


async def test_a_task_that_an_operator_names_brings_the_pictures_of_a_lost_answer(desk: Desk) -> None:
    job = await desk.stage.run("[[answer-lost]] [[callback-lost]]")
    [task] = desk.stage.tasks()
    await desk.open(page_of(job))
    await desk.page.get_by_role("button", name="Name a task").click()
    await desk.page.get_by_label("Task id").fill(task["task_id"])
    await desk.page.get_by_role("button", name="Check this task").click()
    await expect(desk.page.get_by_text(f"An operator named task {task['task_id']} as a candidate")).to_be_visible()
    await expect(desk.page.get_by_text(f"A check confirmed task {task['task_id']}")).to_be_visible()
    await expect(desk.page.get_by_text("Its task ended well after the job was over.")).to_be_visible()
    await expect(desk.page.get_by_role("button", name="Name a task")).to_have_count(0)


async def test_a_check_that_is_asked_for_is_on_the_timeline_and_what_is_open_stays_open(desk: Desk) -> None:
    job = await desk.stage.accept("[[never-ends]]")
    await desk.open(page_of(job))
    await desk.page.get_by_text("Data", exact=True).first.click()
    await expect(desk.page.locator(".timeline pre").first).to_be_visible()
    await desk.stage.api.post(f"/jobs/{job['id']}/check")
    await expect(desk.page.get_by_text("An operator asked for a check")).to_be_visible()
    await expect(desk.page.locator(".timeline pre").first, "the page was asked for again meanwhile").to_be_visible()
    await desk.page.get_by_role("button", name="Check now").click()
    await expect(desk.page.get_by_text("Its tasks are checked now")).to_be_visible()
    await expect(desk.page.get_by_role("link", name="key bootstrap-").first).to_be_visible()


async def test_a_delivery_is_sent_again_from_its_job_and_the_command_is_copied(desk: Desk, serve: Serve) -> None:
    server = await serve(answering("204 No Content"))
    job = await desk.stage.run(callback_url=f"{server.url}/hook")
    await attempted(desk.stage.api, job)
    await desk.open(page_of(job))
    await desk.page.get_by_role("button", name="Redeliver").click()
    await expect(desk.page.get_by_text("Delivered: HTTP 204.")).to_be_visible()
    await expect(desk.page.get_by_role("cell", name="by hand")).to_be_visible()
    assert desk.page.url.endswith(page_of(job))
    await desk.page.get_by_text("Copy as curl").click()
    await desk.page.evaluate("() => Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    await desk.page.get_by_role("button", name="Copy", exact=True).click()
    await expect(desk.page.get_by_role("button", name="Copied"), "without a clipboard, too").to_be_visible()
    assert (await desk.page.evaluate("() => getSelection().toString()")).startswith("curl --fail-with-body")


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
async def test_the_job_page_is_for_everybody(browser: Browser, stage: Stage, serve: Serve, scheme: str, width: int) -> None:
    server = await serve(answering("500 Oops", body=b"<h1>no</h1>"))
    well = await stage.run("水彩风格的江南水乡 " * 60, callback_url=f"{server.url}/hook", metadata={"order": "x" * 200})
    failed = await stage.run("w" * 300 + " [[content-failure]]")
    unknown = await stage.run("[[answer-lost]] [[callback-lost]]")
    await attempted(stage.api, well)
    await stored(stage, well)
    async with open_desk(browser, stage, color_scheme=scheme, viewport={"width": width, "height": 900}) as desk:
        await desk.sign_in()
        for job in (well, failed, unknown):
            await desk.open(page_of(job))
            await desk.page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            assert await desk.faults() == []
            assert await desk.fits(), "it scrolls sideways"


async def test_the_job_page_is_readable_without_scripts(browser: Browser, stage: Stage) -> None:
    job = await stage.run()
    async with open_desk(browser, stage, java_script_enabled=False) as desk:
        await desk.sign_in()
        await desk.open(page_of(job))
        await expect(desk.page.get_by_role("heading", level=1)).to_contain_text("succeeded")
        await desk.page.get_by_text("Copy as curl").click()
        await expect(desk.page.locator("#curl")).to_be_visible()
