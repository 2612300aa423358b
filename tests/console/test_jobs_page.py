"""The jobs page: found by a search that is an address, walked by keys, taken home as a file."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from playwright.async_api import Browser, expect

from app.console.job_search import JobSearch, complaint
from app.job_query.words import NAMES
from app.lifecycle.states import ErrorCode, JobState
from app.problems import FieldProblem
from app.storage.database import Database
from app.storage.search import LOOKED_AT_MAX
from tests.acceptance.stage import ADMIN_KEY, Stage, client, open_stage
from tests.access.keyring import Keyring
from tests.console.browser import Desk, open_desk
from tests.console.test_signing_in import FROM_US, session_of
from tests.databases import OpenDatabase
from tests.listing.rows import START, JobRow, add


@pytest.fixture
async def rows(stage: Stage, sqlite_url: str, open_database: OpenDatabase) -> Database:
    """The gateway's database, for rows; nothing is sent upstream meanwhile."""
    await stage.api.post("/dispatch/pause")
    return open_database(sqlite_url)


@pytest.fixture
async def admin(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """A browser without a screen, signed in."""
    async with client(stage.url, None) as opened:
        await session_of(opened, ADMIN_KEY)
        yield opened


def links(answer: httpx.Response) -> list[str]:
    return [html.unescape(href) for href in re.findall(r'href="([^"]+)"', answer.text)]


def shown(answer: httpx.Response) -> list[str]:
    """The jobs of a page, as it lists them."""
    assert answer.status_code == 200, answer.text
    return re.findall(r'<a class="clip" href="/console/jobs/([^"]+)"', answer.text)


# --- the search ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ('state:failed tenant:design q:"red fox" after:2026-01-01',
         "/console/jobs?state=failed&tenant=design&created_after=2026-01-01&q=%22red+fox%22"),
        ("狐狸 error:task_lost", "/console/jobs?error_code=task_lost&q=%E7%8B%90%E7%8B%B8"),
        ("meta.order:42", "/console/jobs?metadata.order=42"),
        ("  ", "/console/jobs"),
    ],
)  # fmt: skip
async def test_what_is_typed_becomes_an_address(admin: httpx.AsyncClient, typed: str, address: str) -> None:
    answer = await admin.get("/console/jobs", params={"search": typed})
    assert answer.status_code == 303
    assert answer.headers["location"] == address


async def test_the_id_of_a_job_leads_to_the_job(admin: httpx.AsyncClient) -> None:
    job_id = uuid4()
    answer = await admin.get("/console/jobs", params={"search": f" {job_id} "})
    assert answer.headers["location"] == f"/console/jobs/{job_id}"


async def test_an_address_is_typed_back_into_the_box(admin: httpx.AsyncClient) -> None:
    answer = await admin.get("/console/jobs?state=failed&q=%22red+fox%22&metadata.order=42")
    box = re.search(r'name="search" value="([^"]*)"', answer.text)
    assert box is not None
    assert html.unescape(box[1]) == 'state:failed meta.order:42 "red fox"'


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ('state:failed "red fox', "close the quotation mark"),
        ("colour:red", "colour: is no filter; known are state, tenant"),
        ("see:this state:", "is no filter"),
        ("<script>:1", "is no filter"),
    ],
)
async def test_a_search_that_cannot_be_read_is_kept_and_says_why(admin: httpx.AsyncClient, typed: str, said: str) -> None:
    answer = await admin.get("/console/jobs", params={"search": typed})
    assert answer.status_code == 422
    assert f'value="{html.escape(typed).replace("&quot;", "&#34;")}"' in answer.text
    assert said in html.unescape(answer.text)


async def test_values_that_do_not_fit_are_named_as_people_write_them(admin: httpx.AsyncClient) -> None:
    answer = await admin.get("/console/jobs?state=lost&created_after=soon&limit=9000&colour=red")
    assert answer.status_code == 422
    wrong = html.unescape(answer.text.partition('id="wrong"')[2].partition("</div>")[0])
    for beginning in ("state: Input should be 'queued'", "after: write 2026", "limit: ", "colour is no filter"):
        assert f"<p>{beginning}" in wrong


def test_every_filter_is_complained_of_by_its_own_name() -> None:
    for short, full in NAMES.items():
        assert complaint(FieldProblem(field=full, message="no")) == f"{short}: no"
    assert complaint(FieldProblem(field="metadata.order", message="no")) == "metadata.order: no"
    assert complaint(FieldProblem(field="state.0", message="no")) == "state: no"


def test_the_searches_next_to_a_search() -> None:
    search = JobSearch.of([("state", "failed"), ("q", '"red fox"'), ("limit", "20"), ("cursor", "abc")])
    assert search.text == 'state:failed "red fox"'
    assert search.href == "/console/jobs?state=failed&q=%22red+fox%22&limit=20", "of the first page"
    assert search.toggled("failed") == "/console/jobs?q=%22red+fox%22&limit=20"
    assert search.toggled("canceled") == "/console/jobs?state=failed&q=%22red+fox%22&state=canceled&limit=20"
    assert search.narrowed("q", "snow") == "/console/jobs?state=failed&q=snow&limit=20"
    assert [(chip.text, chip.without) for chip in search.chips] == [
        ("state:failed", "/console/jobs?q=%22red+fox%22&limit=20"),
        ('"red fox"', "/console/jobs?state=failed&limit=20"),
    ]
    assert JobSearch(()).href == "/console/jobs"


# --- the list --------------------------------------------------------------------------------------------------------------


async def test_the_page_lists_what_the_api_lists(admin: httpx.AsyncClient, stage: Stage, rows: Database) -> None:
    jobs = [
        JobRow(prompt="a red fox", state=JobState.FAILED, error_code=ErrorCode.TASK_LOST, metadata={"order": "1"}),
        JobRow(prompt="a red boat", tenant="umbrella", created_at=START + timedelta(minutes=1)),
        JobRow(prompt="雪地里的狐狸", state=JobState.CANCELED, created_at=START + timedelta(minutes=2)),
    ]
    await add(rows, *jobs)
    for query, found in (
        ("", 3), ("q=red", 2), ("q=狐狸", 1), ("state=failed&state=canceled", 2), ("tenant=umbrella", 1),
        ("error_code=task_lost", 1), ("metadata.order=1", 1), ("metadata.order=2", 0),
    ):  # fmt: skip
        listed = [job["id"] for job in (await stage.api.get(f"/jobs?{query}")).json()["jobs"]]
        assert shown(await admin.get(f"/console/jobs?{query}")) == listed, query
        assert len(listed) == found, query


async def test_pages_lead_to_older_jobs_and_back_to_the_newest(admin: httpx.AsyncClient, rows: Database) -> None:
    await add(rows, *(JobRow(created_at=START + timedelta(minutes=n), state=JobState.FAILED) for n in range(5)))
    await add(rows, JobRow(created_at=START + timedelta(hours=1)))
    seen: list[list[str]] = []
    address = "/console/jobs?state=failed&limit=2"
    while address:
        answer = await admin.get(address)
        seen.append(shown(answer))
        assert ("/console/jobs?state=failed&limit=2" in links(answer)) is (len(seen) > 1), "the way to the newest"
        assert ('id="live"' in answer.text) is (len(seen) == 1), "only the first page changes by itself"
        older = re.search(r'rel="next" href="([^"]+)"', answer.text)
        address = html.unescape(older[1]) if older else ""
    assert [len(page) for page in seen] == [2, 2, 1]
    assert len({job_id for page in seen for job_id in page}) == 5


async def test_a_page_has_as_many_jobs_as_the_api_reads_from_its_limit(admin: httpx.AsyncClient, rows: Database) -> None:
    await add(rows, *(JobRow(created_at=START + timedelta(minutes=n)) for n in range(3)))
    answer = await admin.get("/console/jobs?limit=2.0")
    assert len(shown(answer)) == 2
    assert "not looked at yet" not in answer.text, "it is full"


async def test_a_search_that_is_cut_short_says_so_and_goes_on(admin: httpx.AsyncClient, rows: Database) -> None:
    """A page that holds nothing is not the end."""
    needle = JobRow(prompt="a needle", created_at=START - timedelta(days=1))
    await add(rows, needle, *(JobRow(prompt="hay") for _ in range(LOOKED_AT_MAX)))
    answer = await admin.get("/console/jobs?q=needle")
    assert shown(answer) == []
    assert "found none; older ones were not looked at yet" in answer.text
    assert "No job fits" not in answer.text
    further = next(href for href in links(answer) if "cursor=" in href)
    last = await admin.get(further)
    assert shown(last) == [str(needle.job_id)]
    assert "not looked at yet" not in last.text


async def test_empty_pages_say_what_is_missing(admin: httpx.AsyncClient) -> None:
    assert "No jobs yet." in (await admin.get("/console/jobs")).text
    assert "No job fits this search." in (await admin.get("/console/jobs?q=unicorn")).text


async def test_a_tenant_sees_its_own_jobs_and_changes_none(stage: Stage, rows: Database, keyring: Keyring) -> None:
    mine, other = JobRow(tenant="acme"), JobRow(tenant="umbrella", prompt="secret plans")
    await add(rows, mine, other)
    key = (await keyring.make("jobs:read"))["key"]
    async with client(stage.url, None) as browser:
        await session_of(browser, key)
        answer = await browser.get("/console/jobs")
        assert shown(answer) == [str(mine.job_id)]
        assert shown(await browser.get("/console/jobs?tenant=umbrella")) == []
        assert "secret plans" not in (await browser.get("/console/jobs/export?format=csv")).text
        for word in ("checkbox", "Cancel selected", "/console/operations"):
            assert word not in answer.text
        for address in ("/console/operations", "/console/operations/ask?kind=cancel&state=queued"):
            assert (await browser.get(address)).status_code == 403
        form = {"kind": "cancel", "query": "state=queued"}
        assert (await browser.post("/console/operations", data=form, headers=FROM_US)).status_code == 403


async def test_the_files_are_those_of_the_api(admin: httpx.AsyncClient, stage: Stage, rows: Database) -> None:
    await add(rows, *(JobRow(prompt=f"=fox {n}", state=JobState.FAILED) for n in range(3)), JobRow(prompt="a boat"))
    page = await admin.get("/console/jobs?q=fox")
    offered = [href for href in links(page) if "/export" in href]
    assert len(offered) == 2
    for href in offered:
        file = await admin.get(href)
        assert file.headers["content-disposition"].startswith("attachment; filename=")
        assert file.text == (await stage.api.get(href.removeprefix("/console"))).text
        assert file.text.count("=fox") == 3
    assert (await admin.get("/console/jobs/export?format=xls")).status_code == 422


#: Looks at once, and says whether the page was asked for.
LOOK_NOW = "() => { looked = 0; return look(); }"

# --- before a browser ------------------------------------------------------------------------------------------------------


async def test_somebody_finds_a_job_by_a_word_and_sends_the_address_on(desk: Desk) -> None:
    await desk.stage.run("A red fox in the snow", metadata={"order": "42"})
    await desk.stage.run("A boat [[content-failure]]")
    page = desk.page
    await desk.open("/console/jobs")
    await page.keyboard.press("/")
    await expect(page.get_by_label("Search jobs")).to_be_focused()
    await page.keyboard.type("FOX state:succeeded")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{desk.stage.url}/console/jobs?state=succeeded&q=FOX")
    await expect(page.locator("[data-row]")).to_have_count(1)
    await expect(page.get_by_label("Search jobs")).to_have_value("state:succeeded FOX")
    await page.get_by_role("link", name="Without FOX").click()
    states = page.get_by_label("Jobs by state")
    await states.get_by_role("link", name="succeeded").click()
    await expect(page).to_have_url(f"{desk.stage.url}/console/jobs")
    await states.get_by_role("link", name="failed").click()
    await expect(page.locator("[data-row]")).to_have_text([re.compile("A boat")])
    await page.get_by_role("link", name="All jobs").click()
    await page.get_by_role("link", name="order=42").click()
    await expect(page.get_by_label("Search jobs")).to_have_value("meta.order:42")
    await expect(page.locator("[data-row]")).to_have_count(1)
    desk.expected.append("422")
    await page.get_by_label("Search jobs").fill('state:lost "red fox"')
    await page.get_by_role("button", name="Search", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("state: Input should be")
    await expect(page.get_by_label("Search jobs")).to_have_value('state:lost "red fox"')
    assert await desk.faults() == []
    await page.get_by_role("button", name="What can be searched for").click()
    await expect(page.get_by_role("heading", name="What can be searched for")).to_be_visible()


async def test_new_jobs_show_by_themselves_but_not_while_boxes_are_checked(desk: Desk) -> None:
    page = desk.page
    await desk.stage.run("The first")
    await desk.open("/console/jobs")
    await page.get_by_label("This page").check()
    await expect(page.get_by_text("1 selected")).to_be_visible()
    await desk.stage.run("The second")
    assert await page.evaluate(LOOK_NOW) is False
    await page.get_by_label("This page").uncheck()
    await page.get_by_role("heading", name="Jobs").click(force=True)
    await page.evaluate("() => { document.activeElement.blur(); looked = 0; }")
    await expect(page.locator("[data-row]")).to_have_count(2)
    await expect(page.locator("[data-row]").first).to_contain_text("The second")


async def test_keys_walk_the_rows_and_lead_to_the_questions_of_a_job(desk: Desk) -> None:
    page = desk.page
    older, newer = await desk.stage.run("The older one"), await desk.stage.run("The newer one [[content-failure]]")
    await desk.open("/console/jobs")
    await page.keyboard.press("j")
    await expect(page.get_by_role("link", name="The newer one")).to_be_focused()
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{desk.stage.url}/console/jobs/{older['id']}")
    for key, question in (("c", "ask-cancel"), ("r", "ask-retry")):
        await desk.open("/console/jobs")
        await page.keyboard.press("j")
        await page.keyboard.press(key)
        await expect(page).to_have_url(f"{desk.stage.url}/console/jobs/{newer['id']}#{question}")
    await expect(page.locator("#ask-retry:popover-open")).to_be_visible()


async def test_a_row_that_has_the_focus_stays_the_same_job_when_a_newer_one_comes(desk: Desk) -> None:
    page, first = desk.page, await desk.stage.run("The first [[content-failure]]")
    await desk.open("/console/jobs")
    await page.keyboard.press("j")
    await desk.stage.run("The second")
    assert await page.evaluate(LOOK_NOW) is False, "it rests while somebody is at a row"
    await page.evaluate("() => htmx.trigger(live(), 'refresh')")  # as one that was under way when the key was pressed
    await expect(page.locator("[data-row]")).to_have_text([re.compile("The second"), re.compile("The first")])
    await expect(page.get_by_role("link", name="The first")).to_be_focused()
    await expect(page.locator("[data-row].here")).to_have_text([re.compile("The first")])
    assert await page.evaluate("() => { document.activeElement.blur(); looked = 0; return look(); }") is True
    await page.keyboard.press("r")
    await expect(page).to_have_url(f"{desk.stage.url}/console/jobs/{first['id']}#ask-retry")


async def test_keys_walk_back_change_the_theme_and_tell_of_themselves(desk: Desk) -> None:
    page, html_element = desk.page, desk.page.locator("html")
    await desk.stage.run("The older one")
    await desk.stage.run("The newer one")
    await desk.open("/console/jobs")
    for key, focused in (("j", "newer"), ("j", "older"), ("j", "older"), ("k", "newer"), ("k", "newer")):
        await page.keyboard.press(key)
        await expect(page.get_by_role("link", name=f"The {focused} one")).to_be_focused()
    await page.keyboard.press("?")
    await expect(page.get_by_role("heading", name="Keyboard")).to_be_visible()
    await page.keyboard.press("?")
    await expect(page.get_by_role("heading", name="Keyboard")).to_be_hidden()
    await page.keyboard.press("t")
    await expect(html_element).to_have_attribute("data-theme", "light")
    await page.get_by_role("button", name="Light or dark").click()
    await expect(html_element).to_have_attribute("data-theme", "dark")
    await page.reload()
    await expect(html_element, "it is remembered").to_have_attribute("data-theme", "dark")
    await page.keyboard.press("t")
    await expect(html_element, "as the system is").not_to_have_attribute("data-theme", re.compile(""))


async def test_r_and_c_do_nothing_to_rows_that_are_no_jobs(desk: Desk) -> None:
    page, job = desk.page, await desk.stage.run()
    await desk.stage.api.put("/tenants/acme", json={})
    for path in ("/console/tenants", "/console/keys", "/console/audit", f"/console/jobs/{job['id']}"):
        await desk.open(path)
        await page.evaluate("() => { window.went = []; navigation.onnavigate = (event) => went.push(event.destination.url); }")
        await page.keyboard.press("j")
        await expect(page.locator("[data-row] a:focus")).to_have_count(1)
        for key in ("r", "c"):
            await page.keyboard.press(key)
        assert await page.evaluate("() => went") == [], path


async def test_a_button_is_pressed_once_and_is_good_again_when_somebody_comes_back(desk: Desk) -> None:
    page, searches = desk.page, "**/console/jobs?search=*"
    await page.route(searches, lambda route: route.fulfill(status=204))  # it leads nowhere: the page stays as it is
    await desk.open("/console/jobs")
    await page.get_by_label("Search jobs").fill("fox")
    button = page.locator(".search button.main")
    await page.evaluate("() => { stopped = []; addEventListener('submit', (event) => stopped.push(event.defaultPrevented)); }")
    assert await button.evaluate("(button) => { button.click(); button.click(); return stopped; }") == [False, True]
    await expect(button).to_be_disabled()
    await expect(button).to_have_attribute("aria-busy", "true")
    await page.evaluate("() => document.activeElement.blur()")
    assert await page.evaluate(LOOK_NOW) is False, "a look would make it whole again"
    await page.evaluate("() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    await expect(button).to_be_enabled()
    await expect(button).not_to_have_attribute("aria-busy", re.compile(""))
    assert await page.evaluate(LOOK_NOW) is True
    await page.unroute(searches)
    await button.click()
    await expect(page).to_have_url(f"{desk.stage.url}/console/jobs?q=fox")


async def test_stored_pictures_show_and_nothing_is_loaded_from_elsewhere(
    browser: Browser, sqlite_url: str, tmp_path: Path
) -> None:
    store = {"image_store_url": f"file://{tmp_path}/images", "image_allow": "127.0.0.1"}
    async with open_stage(sqlite_url, **store) as stage, open_desk(browser, stage) as desk:
        await stage.run("A red fox")
        await desk.sign_in()
        await desk.open("/console/jobs")
        picture = desk.page.locator("[data-row] img")
        await expect(picture).to_have_count(1)
        await desk.page.wait_for_function("() => document.querySelector('[data-row] img').naturalWidth > 0")
        assert "thumbnail=1" in (await picture.get_attribute("src") or "")
    async with open_stage(sqlite_url) as stage, client(stage.url, None) as visitor:
        await session_of(visitor, ADMIN_KEY)
        assert '<img src="/jobs' not in (await visitor.get("/console/jobs")).text, "where none are kept any more"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_the_jobs_page_is_for_everybody(browser: Browser, stage: Stage, rows: Database, scheme: str, width: int) -> None:
    many = {f"key-{n}": "a value with blanks, and rather a long one at that" for n in range(5)}
    await add(
        rows, *(JobRow(state=state) for state in JobState),
        JobRow(prompt="水彩风格的江南水乡，小桥流水人家" * 20, metadata=many), JobRow(prompt="x" * 500),
        JobRow(state=JobState.FAILED, error_code=ErrorCode.SUBMISSION_UNCONFIRMED),
    )  # fmt: skip
    async with open_desk(browser, stage, color_scheme=scheme, viewport={"width": width, "height": 900}) as desk:
        await desk.sign_in()
        await desk.open("/console/jobs?created_after=2026-01-01&limit=8")
        assert await desk.faults() == []
        assert await desk.fits()


async def test_the_jobs_page_is_readable_without_scripts(browser: Browser, stage: Stage) -> None:
    await stage.run("A red fox")
    async with open_desk(browser, stage, java_script_enabled=False) as desk:
        await desk.sign_in()
        await desk.open("/console/jobs")
        await desk.page.get_by_label("Search jobs").fill("fox")
        await desk.page.get_by_role("button", name="Search", exact=True).click()
        await expect(desk.page.locator("[data-row]")).to_have_count(1)
        await expect(desk.page.get_by_label("This page")).to_be_hidden()
