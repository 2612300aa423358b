"""What operators did, on a page."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, expect

from app.audit.router import ActView
from app.console.acts import ACTS, shown_act
from app.storage.audit import START
from tests.acceptance.stage import ADMIN_KEY, Stage, client
from tests.access.keyring import Keyring
from tests.console.browser import Desk, open_desk
from tests.console.test_signing_in import session_of


@pytest.fixture
async def admin(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with client(stage.url, None) as browser:
        await session_of(browser, ADMIN_KEY)
        yield browser


def test_every_act_on_record_has_its_words() -> None:
    source = "".join(path.read_text() for path in Path("app").rglob("*.py") if "console" not in path.parts)
    actions = set(re.findall(r'\b(?:Act\([^"()]*|act_on_job\([^"]*?)"([a-z_]+\.[a-z_]+)"', source))
    assert len(actions) > 12
    assert actions <= set(ACTS)
    assert all(ACTS[action]({}) for action in actions)


def test_an_operation_is_told_with_its_size() -> None:
    began = ACTS["operation.create"]
    assert began({"kind": "retry", "matched": 1}) == "Began to retry 1 job"
    assert began({"kind": "cancel", "matched": 10_000, "at_least": True}) == "Began to cancel at least 10\u202f000 jobs"


def test_an_act_of_a_later_release_is_told_by_its_own_name() -> None:
    act = ActView(id=1, at="2026-11-02T09:00:00Z", key_id=START, action="cake.bake", tenant=None, job_id=None, data={})
    shown = shown_act(act)
    assert (shown.words, shown.by, shown.has_key) == ("Cake bake", "a process at its start", False)


async def test_the_audit_pages_through_all_of_it_newest_first(stage: Stage, admin: httpx.AsyncClient) -> None:
    for number in range(60):
        await stage.api.put("/tenants/acme", json={"open_jobs_max": number})
    first = await admin.get("/console/audit")
    assert first.text.index("open jobs max 59") < first.text.index("open jobs max 58")
    older = re.search(r'href="([^"]*cursor=[^"]*)">Older', first.text)
    assert older
    second = (await admin.get(older[1])).text
    assert "open jobs max 59" not in second
    assert "open jobs max 3<" in second
    assert "Older" not in second


async def test_what_is_no_id_is_said_and_loses_nothing(admin: httpx.AsyncClient) -> None:
    answer = await admin.get("/console/audit", params={"job": "nonsense<b>", "key": "k"})
    assert answer.status_code == 422
    assert "job: Input should be a valid UUID" in answer.text
    assert 'value="nonsense&lt;b&gt;"' in answer.text


async def test_the_audit_is_for_admins(stage: Stage, keyring: Keyring) -> None:
    async with client(stage.url, None) as browser:
        await session_of(browser, (await keyring.make("jobs:read", "jobs:write"))["key"])
        assert (await browser.get("/console/audit")).status_code == 403


async def test_an_act_leads_to_its_job_and_the_job_to_the_key_that_did_it(desk: Desk) -> None:
    page, job = desk.page, await desk.stage.accept("[[never-ends]]")
    other = await desk.stage.accept("[[never-ends]]")
    for one in (job, other):
        await desk.stage.api.post(f"/jobs/{one['id']}/cancel")
    await desk.open("/console/audit")
    await expect(page.get_by_role("row", name="Canceled a job")).to_have_count(2)
    await page.get_by_label("Job").fill(job["id"])
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_role("row", name="Canceled a job")).to_have_count(1)
    await page.get_by_role("link", name=f"job …{job['id'][-12:]}").click()
    await expect(page.get_by_text("Cancel asked for")).to_be_visible()
    await page.get_by_role("link", name="key bootstrap-").click()
    await page.get_by_role("link", name="What it did").click()
    await expect(page.get_by_role("row", name="Canceled a job")).to_have_count(2)


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
async def test_the_audit_is_for_everybody(browser: Browser, stage: Stage, scheme: str, width: int) -> None:
    await stage.api.put("/tenants/" + "w" * 64, json={})
    async with open_desk(browser, stage, color_scheme=scheme, viewport={"width": width, "height": 900}) as desk:
        await desk.sign_in()
        await desk.open("/console/audit")
        await desk.page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert await desk.faults() == []
        assert await desk.fits(), "it scrolls sideways"
