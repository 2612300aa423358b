"""Who may call, what they may do and spend; and secrets that are shown once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.stage import ADMIN_KEY, Stage, client
from tests.access.keyring import Keyring
from tests.console.browser import Desk, open_desk
from tests.console.test_signing_in import FROM_US, session_of

TENANTS, KEYS = "/console/tenants", "/console/keys"


@pytest.fixture
async def admin(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with client(stage.url, None) as browser:
        await session_of(browser, ADMIN_KEY)
        yield browser


# --- tenants -------------------------------------------------------------------------------------------------------------


async def test_limits_are_set_and_taken_away(stage: Stage, admin: httpx.AsyncClient) -> None:
    full = {"name": "design", "monthly_credits": "5000", "open_jobs_max": " 20 ", "requests_per_second": "0.5"}
    answer = await admin.post(TENANTS, headers=FROM_US, data=full)
    assert answer.headers["location"] == f"{TENANTS}/design"
    shown = (await stage.api.get("/tenants/design")).json()
    assert (shown["monthly_credits"], shown["open_jobs_max"], shown["requests_per_second"]) == (5000, 20, 0.5)
    text = (await admin.get(f"{TENANTS}/design")).text
    assert all(f'value="{value}"' in text for value in ("5000", "20", "0.5"))
    await admin.post(f"{TENANTS}/design", headers=FROM_US, data={**full, "requests_per_second": "12345.678901"})
    assert 'value="12345.678901"' in (await admin.get(f"{TENANTS}/design")).text, "what is sent again is what was set"
    for rate, written in ((0.3333333333333333, "0.3333333333333333"), (1e-3, "0.001"), (100_000, "100000")):
        await stage.api.put("/tenants/design", json={"requests_per_second": rate})
        assert f'value="{written}"' in (await admin.get(f"{TENANTS}/design")).text
        again = await admin.post(f"{TENANTS}/design", headers=FROM_US, data={"requests_per_second": written})
        assert again.status_code == 303
        assert (await stage.api.get("/tenants/design")).json()["requests_per_second"] == rate
    await admin.post(f"{TENANTS}/design", headers=FROM_US, data={**full, "monthly_credits": "", "requests_per_second": ""})
    shown = (await stage.api.get("/tenants/design")).json()
    assert (shown["monthly_credits"], shown["open_jobs_max"], shown["requests_per_second"]) == (None, 20, None)


async def test_what_is_wrong_is_said_at_its_field_and_nothing_that_was_written_is_lost(
    stage: Stage, admin: httpx.AsyncClient
) -> None:
    await stage.api.put("/tenants/design", json={"open_jobs_max": 20})
    form = {"name": "BAD name", "monthly_credits": "-5", "open_jobs_max": "1e3", "requests_per_second": "fast"}
    for path in (TENANTS, f"{TENANTS}/design"):
        answer = await admin.post(path, headers=FROM_US, data=form)
        assert answer.status_code == 422
        assert answer.text.count("write a whole number, or nothing") == 2
        assert answer.text.count("write a number, or nothing") == 1
        assert all(f'value="{value}"' in answer.text for value in ("-5", "1e3", "fast"))
    for path, fields, said in (
        (TENANTS, {"name": "BAD name"}, "write 1 to 64 of"),
        (f"{TENANTS}/design", {"open_jobs_max": "99999999999"}, "less than or equal"),
    ):
        answer = await admin.post(path, headers=FROM_US, data=fields)
        assert answer.status_code == 422
        assert said in answer.text
    assert (await stage.api.get("/tenants/design")).json()["open_jobs_max"] == 20


async def test_a_new_tenant_takes_no_limits_away_from_one_that_is_there(stage: Stage, admin: httpx.AsyncClient) -> None:
    await stage.api.put("/tenants/design", json={"open_jobs_max": 20})
    answer = await admin.post(TENANTS, headers=FROM_US, data={"name": "design", "monthly_credits": "7"})
    assert answer.status_code == 422
    assert re.search(r'id="name-wrong"[^>]*>there is one already', answer.text)
    assert all(f'value="{value}"' in answer.text for value in ("design", "7"))
    shown = (await stage.api.get("/tenants/design")).json()
    assert (shown["monthly_credits"], shown["open_jobs_max"]) == (None, 20)


async def test_a_mistyped_address_makes_no_tenant(stage: Stage, admin: httpx.AsyncClient) -> None:
    assert (await admin.post(f"{TENANTS}/desing", headers=FROM_US, data={"open_jobs_max": "1"})).status_code == 404
    assert (await stage.api.get("/tenants/desing")).status_code == 404


async def test_this_months_credits_stand_beside_the_limit(stage: Stage, admin: httpx.AsyncClient) -> None:
    await stage.run()
    await stage.run()
    row = re.search(r"<tr id=[^>]* data-row>.*?/tenants/admin.*?</tr>", (await admin.get(TENANTS)).text, re.DOTALL)
    assert row
    assert ">10</td>" in row[0]
    assert "10 <small>credits this month" in (await admin.get(f"{TENANTS}/admin")).text


async def test_a_new_secret_is_shown_by_the_answer_and_kept_nowhere_else(stage: Stage, admin: httpx.AsyncClient) -> None:
    await stage.api.put("/tenants/design", json={})
    answer = await admin.post(f"{TENANTS}/design/rotate-secret", headers=FROM_US, data={"pressed": ""})
    secret = (await stage.api.get("/tenants/design/delivery-secret")).json()["secret"]
    assert answer.status_code == 200
    assert secret in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "location" not in answer.headers
    assert "set-cookie" not in answer.headers
    assert (await admin.post(f"{TENANTS}/nobody/rotate-secret", headers=FROM_US)).status_code == 404


async def test_tenants_and_keys_are_for_admins_and_a_tenant_sees_only_itself(stage: Stage, keyring: Keyring) -> None:
    made = await keyring.make("jobs:read", "jobs:write", tenant="acme")
    await stage.api.put("/tenants/other", json={})
    async with client(stage.url, None) as browser:
        await session_of(browser, made["key"])
        for path in (TENANTS, KEYS, f"{KEYS}?like={made['id']}", f"{KEYS}/{made['id']}"):
            assert (await browser.get(path)).status_code == 403, path
        assert (await browser.get(f"{TENANTS}/other")).status_code == 404
        own = await browser.get(f"{TENANTS}/acme")
        assert own.status_code == 200
        assert "whsec_" not in own.text
        presses: list[tuple[str, dict[str, str]]] = [
            (f"{TENANTS}/acme", {"open_jobs_max": "1"}),
            (f"{TENANTS}/acme/rotate-secret", {}),
            (TENANTS, {"name": "new"}),
            (KEYS, {"tenant": "acme", "scopes": "admin"}),
            (f"{KEYS}/{made['id']}/revoke", {}),
        ]
        for path, form in presses:
            assert (await browser.post(path, headers=FROM_US, data={"pressed": "", **form})).status_code == 403, path
    assert len((await stage.api.get("/keys")).json()["keys"]) == 2


# --- keys ----------------------------------------------------------------------------------------------------------------


async def test_a_new_key_is_shown_once_and_opens(stage: Stage, admin: httpx.AsyncClient) -> None:
    form = {"tenant": "shop", "name": "van <1>", "scopes": ["jobs:read", "jobs:write"], "expires_at": "2999-01-01T00:00"}
    answer = await admin.post(KEYS, headers=FROM_US, data=form)
    assert answer.status_code == 201
    assert "set-cookie" not in answer.headers
    [api_key] = re.findall(r'<pre id="the-key">(gw_[^<]+)</pre>', answer.text)
    async with client(stage.url, api_key) as holder:
        assert (await holder.get("/jobs")).status_code == 200
        assert (await holder.get("/keys")).status_code == 403
    later = (await admin.get(KEYS)).text
    assert api_key not in later
    assert "van &lt;1&gt;" in later


async def test_a_key_that_does_not_fit_leaves_the_form_as_it_was(stage: Stage, admin: httpx.AsyncClient) -> None:
    good = {"tenant": "shop", "name": "mine", "scopes": ["jobs:write"]}
    for change, said in (
        ({"tenant": "BAD"}, "tenant: write 1 to 64"),
        ({"scopes": []}, "scopes: "),
        ({"scopes": ["jobs:eat"]}, "scopes"),
        ({"expires_at": "2001-01-01T00:00"}, "expires_at: write an instant in the future"),
        ({"expires_at": "tomorrow"}, "expires_at: "),
    ):
        answer = await admin.post(KEYS, headers=FROM_US, data={**good, **change})
        assert answer.status_code == 422, change
        assert said in answer.text
        assert 'value="mine"' in answer.text
    assert len((await stage.api.get("/keys")).json()["keys"]) == 1


async def test_the_last_admin_key_stays_and_the_page_says_why(stage: Stage, admin: httpx.AsyncClient) -> None:
    [only] = (await stage.api.get("/keys")).json()["keys"]
    answer = await admin.post(f"{KEYS}/{only['id']}/revoke", headers=FROM_US, data={"pressed": ""})
    assert answer.headers["location"] == f"{KEYS}/{only['id']}"
    assert "admin key" in re.findall(r'role="status">([^<]+)<', (await admin.get(answer.headers["location"])).text)[-1]
    assert (await stage.api.get("/keys")).status_code == 200


# --- with a browser ------------------------------------------------------------------------------------------------------


async def test_a_key_is_rotated_by_making_one_like_it_and_revoking_the_old(desk: Desk, keyring: Keyring) -> None:
    page, old = desk.page, await keyring.make("jobs:read", tenant="shop", name="van", expires_at="2999-05-01T12:30:00Z")
    await desk.open(KEYS)
    await page.get_by_role("link", name="van").click()
    await page.get_by_role("link", name="Make one like it").click()
    await expect(page.get_by_label("Tenant", exact=True)).to_have_value("shop")
    await expect(page.get_by_label("Expires (UTC)")).to_have_value("2999-05-01T12:30")
    await expect(page.get_by_label("jobs:read")).to_be_checked()
    await expect(page.get_by_label("jobs:write")).not_to_be_checked()
    await page.get_by_role("button", name="Make the key").click()
    await expect(page.locator("#the-key")).to_contain_text("gw_")
    new = await page.locator("#the-key").inner_text()
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    await page.get_by_role("button", name="Revoke the old key").click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke the old key").click()
    await expect(page.get_by_text(f"Key {old['id']} opens nothing any more.")).to_be_visible()
    for api_key, status in ((old["key"], 401), (new, 200)):
        async with client(desk.stage.url, api_key) as holder:
            assert (await holder.get("/jobs")).status_code == status


async def test_a_tenants_secret_is_hidden_until_asked_for_and_rotated_after_a_question(desk: Desk) -> None:
    page = desk.page
    await desk.open(TENANTS)
    await page.get_by_label("Name").fill("design")
    await page.get_by_role("button", name="Make the tenant").click()
    await expect(page.get_by_text("Tenant design has these limits now.")).to_be_visible()
    await expect(page.locator("#the-secret")).to_be_hidden()
    await page.get_by_text("Show", exact=True).click()
    before = await page.locator("#the-secret").inner_text()
    assert before.startswith("whsec_")
    await page.get_by_role("button", name="Rotate").click()
    await page.get_by_role("button", name="Rotate the secret").click()
    await expect(page.locator("#the-secret")).to_contain_text("whsec_")
    assert await page.locator("#the-secret").inner_text() != before
    await page.get_by_role("link", name="Done").click()
    await expect(page.get_by_text("The one before signs as well until")).to_be_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
async def test_tenants_and_keys_are_for_everybody(
    browser: Browser, stage: Stage, keyring: Keyring, scheme: str, width: int
) -> None:
    made = await keyring.make("jobs:read", "jobs:write", "admin", tenant="t" * 64, name="密钥" * 50)
    await keyring.make("jobs:read", expires_at="2999-01-01T00:00:00Z")
    async with open_desk(browser, stage, color_scheme=scheme, viewport={"width": width, "height": 900}) as desk:
        desk.expected.append("422")
        await desk.sign_in()
        for path in (TENANTS, f"{TENANTS}/{'t' * 64}", KEYS, f"{KEYS}/{made['id']}", f"{KEYS}?like={made['id']}"):
            await desk.open(path)
            await desk.page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            assert await desk.faults() == [], path
            assert await desk.fits(), f"{path} scrolls sideways"
        await desk.page.get_by_role("button", name="Make the key").click()
        await expect(desk.page.locator("#the-key")).to_be_visible()
        assert await desk.faults() == []
        assert await desk.fits(), "the new key scrolls sideways"
        await desk.open(TENANTS)
        await desk.page.get_by_label("Name").fill("design")
        await desk.page.get_by_label("Open jobs").fill("many")
        await desk.page.get_by_role("button", name="Make the tenant").click()
        await expect(desk.page.get_by_text("write a whole number, or nothing")).to_be_visible()
        assert await desk.faults() == []
        assert await desk.fits(), "an error scrolls sideways"
