"""Who gets in, who stays in, and who presses the buttons."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
from fastapi import APIRouter, FastAPI
from playwright.async_api import Browser, expect

from app.console.page import HEADERS, POLICY, PageRoute, _short
from app.errors import StorageUnavailableError
from app.request_log import RequestLog
from tests.acceptance.stage import ADMIN_KEY, Stage, client
from tests.access.keyring import Keyring
from tests.access.test_every_route_is_guarded import NOBODYS, walk
from tests.console.browser import open_desk

OPEN = {"/console/sign-in", "/console/sign-out", "/console/static/{name:path}"}
FROM_US = {"Sec-Fetch-Site": "same-origin"}


async def session_of(browser: httpx.AsyncClient, key: str) -> httpx.Response:
    return await browser.post("/console/sign-in", data={"api_key": key, "next": "/console"}, headers=FROM_US)


def pages(stage: Stage) -> list[tuple[str, str]]:
    """Method and path of every page and button of the console, with made-up ids."""
    found = [(method, path) for path, methods in walk(stage.app.routes) for method in methods if path.startswith("/console")]
    closed = [(method, path) for method, path in found if path not in OPEN and method != "HEAD"]
    return [(method, "/".join(str(NOBODYS) if p.startswith("{") else p for p in path.split("/"))) for method, path in closed]


async def test_no_page_and_no_button_is_there_for_whoever_is_not_signed_in(stage: Stage) -> None:
    walked = pages(stage)
    assert ("GET", "/console") in walked
    async with client(stage.url, None) as stranger:
        stranger.cookies.set("gateway_session", "made-up")
        for method, path in walked:
            answer = await stranger.request(method, path, headers=FROM_US, data={} if method == "POST" else None)
            assert answer.status_code == 303, (method, path)
            assert urlsplit(answer.headers["location"]).path == "/console/sign-in", (method, path)


async def test_a_key_in_a_header_opens_no_page(stage: Stage) -> None:
    """The pages are for browsers with a cookie, which no other site can make them send."""
    assert (await stage.api.get("/console")).status_code == 303


async def test_the_cookie_is_kept_from_scripts_and_other_sites_and_is_no_key(stage: Stage) -> None:
    async with client(stage.url, None) as browser:
        answer = await session_of(browser, ADMIN_KEY)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/console"
        cookie = answer.headers["set-cookie"]
        assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/console", "Max-Age=43200"))
        assert ADMIN_KEY not in cookie
        assert (await browser.get("/console")).status_code == 200
        assert (await browser.get("/jobs")).status_code == 401, "the API takes keys, never the cookie"


async def test_behind_https_the_cookie_is_sent_over_https_only(stage: Stage) -> None:
    async with client(stage.url, None) as browser:
        for told in ({"X-Forwarded-Proto": "https"}, {"Origin": "https://gateway.example"}):
            answer = await browser.post("/console/sign-in", data={"api_key": ADMIN_KEY}, headers={**FROM_US, **told})
            assert "Secure" in answer.headers["set-cookie"], told


async def test_a_key_that_is_unknown_or_may_not_read_gets_no_cookie(stage: Stage, keyring: Keyring) -> None:
    writer = (await keyring.make("jobs:write"))["key"]
    async with client(stage.url, None) as browser:
        for key, status in (("gw_00000000_" + "x" * 43, 401), ("", 401), ("☃", 401), (writer, 403)):
            answer = await session_of(browser, key)
            assert answer.status_code == status, key
            assert "set-cookie" not in answer.headers
            assert not key or key not in answer.text


async def test_a_revoked_key_ends_its_sessions_at_once(stage: Stage, keyring: Keyring) -> None:
    made = await keyring.make("jobs:read")
    async with client(stage.url, None) as browser:
        await session_of(browser, made["key"])
        assert (await browser.get("/console")).status_code == 200
        await stage.api.delete(f"/keys/{made['id']}")
        assert (await browser.get("/console")).status_code == 303


async def test_no_other_site_can_press_a_button(stage: Stage) -> None:
    async with client(stage.url, None) as browser:
        await session_of(browser, ADMIN_KEY)
        from_elsewhere: list[dict[str, str]] = [
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "none"},
            {"Origin": "https://elsewhere.example"},
            {"Origin": "null"},
            {"Origin": "http://["},
            {},
        ]
        for headers in from_elsewhere:
            answer = await browser.post("/console/pause", headers=headers)
            assert answer.status_code == 403, headers
        assert (await stage.api.get("/dispatch")).json()["paused_by"] is None
        assert (await browser.post("/console/pause", headers={"Origin": stage.url})).status_code == 303
        assert (await stage.api.get("/dispatch")).json()["paused_by"] is not None


async def test_what_is_no_form_is_told_what_is_wrong_with_it(stage: Stage) -> None:
    async with client(stage.url, None) as browser:
        await session_of(browser, ADMIN_KEY)
        no_form = await browser.post("/console/operations", json={"kind": "retry"}, headers=FROM_US)
        assert (no_form.status_code, "Send the form as" in no_form.text) == (415, True)
        form = {"Content-Type": "application/x-www-form-urlencoded", **FROM_US}
        for body, wrong in ((b"a", "<li>it cannot be read as a form</li>"), (b"kind=delete", "<code>kind</code>: write ")):
            answer = await browser.post("/console/operations", content=body, headers=form)
            assert (answer.status_code, wrong in answer.text) == (422, True), answer.text


async def test_signing_in_leads_back_within_the_console_only(stage: Stage) -> None:
    async with client(stage.url, None) as browser:
        first = await browser.get("/console/jobs?state=failed")
        assert first.headers["location"] == "/console/sign-in?next=%2Fconsole%2Fjobs%3Fstate%3Dfailed"
        elsewhere = (
            "//evil.example",
            "//[",
            "/console[//evil",
            "https://evil.example/console",
            "/console\\..\\x",
            "/consoles",
            "javascript:x",
            "/\\evil",
        )
        for target, there in (
            ("/console/jobs?state=failed", "/console/jobs?state=failed"),
            *((e, "/console") for e in elsewhere),
        ):
            answer = await browser.post("/console/sign-in", data={"api_key": ADMIN_KEY, "next": target}, headers=FROM_US)
            assert answer.headers["location"] == there, target


async def test_a_link_from_elsewhere_leads_to_the_page_although_the_cookie_is_strict(stage: Stage) -> None:
    """The browser sends no cookie with the first request; the page then comes to itself."""
    async with client(stage.url, None) as browser:
        answer = await browser.get("/console", headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 200
        assert 'http-equiv="refresh"' in answer.text


async def test_every_page_carries_the_policy(stage: Stage) -> None:
    async with client(stage.url, None) as stranger, client(stage.url, None) as browser:
        await session_of(browser, ADMIN_KEY)
        for method, path in [*pages(stage), ("GET", "/console/sign-in"), ("GET", "/console/nowhere")]:
            for someone in (stranger, browser):
                answer = await someone.request(method, path, headers=FROM_US, data={} if method == "POST" else None)
                assert answer.headers.items() >= HEADERS_IN_LOWER_CASE.items(), (method, path)
    assert all(f"{what} 'none'" in POLICY for what in ("default-src", "base-uri", "frame-ancestors"))
    assert "unsafe" not in POLICY


HEADERS_IN_LOWER_CASE = {name.lower(): value for name, value in HEADERS.items()}


async def test_what_is_no_page_says_so_as_a_page(stage: Stage) -> None:
    async with client(stage.url, None) as browser:
        await session_of(browser, ADMIN_KEY)
        nowhere = await browser.get("/console/nowhere")
        assert (nowhere.status_code, "There is no such page." in nowhere.text, "Sign out" in nowhere.text) == (404, True, True)
        assert (await browser.get("/console/")).headers["location"] == "/console"


async def test_an_error_is_a_page_that_says_what_a_person_may_do() -> None:
    router = APIRouter(prefix="/console", route_class=PageRoute)

    @router.api_route("/away", methods=["GET", "POST"])
    async def away() -> None:
        raise StorageUnavailableError("away")

    @router.get("/broken")
    async def broken() -> None:
        raise RuntimeError("a secret")

    app = FastAPI()
    app.include_router(router)
    app.add_middleware(RequestLog)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as browser:
        for path, status, words in (("/away", 503, "Nothing is lost"), ("/broken", 500, "The log has it under <code>r-17")):
            answer = await browser.get(f"/console{path}", headers={"X-Request-ID": "r-17"})
            assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
            assert words in answer.text
            assert "a secret" not in answer.text
            assert f'href="/console{path}">Try again' in answer.text
            assert ("retry-after" in answer.headers) is (status == 503)
        pressed = await browser.post("/console/away", headers=FROM_US)
        assert pressed.status_code == 503
        assert "Try again" not in pressed.text, "a link asks for a page; there is none where a form was sent to"
        assert "Load the page again" not in pressed.text, "that would press the button again"


async def test_what_was_said_waits_for_a_page_that_can_show_it(stage: Stage) -> None:
    """A second window that is live does not take it away; and what is long fits in a cookie."""
    async with client(stage.url, None) as browser:
        await session_of(browser, ADMIN_KEY)
        await browser.post("/console/pause", headers=FROM_US)
        live = await browser.get("/console", headers={"HX-Request": "true"})
        assert "set-cookie" not in live.headers
        assert "Sending is paused." in (await browser.get("/console")).text
        assert '<p class="note" role="status">' not in (await browser.get("/console")).text
    assert len(_short("狐" * 5000)) < 4000


async def test_a_person_signs_in_and_out(browser: Browser, stage: Stage) -> None:
    async with open_desk(browser, stage) as desk:
        await desk.open("/console/jobs")
        assert await desk.faults() == []
        await desk.page.get_by_label("API key").fill("gw_wrong")
        desk.expected.append("401")
        await desk.page.get_by_role("button", name="Sign in").click()
        await expect(desk.page.get_by_role("alert")).to_contain_text("opens nothing")
        await desk.sign_in()
        await desk.page.get_by_role("button", name="Sign out").click()
        await expect(desk.page).to_have_url(f"{stage.url}/console/sign-in")
        await desk.open("/console")
        await expect(desk.page.get_by_label("API key")).to_be_visible()


async def test_a_session_that_ends_while_the_page_is_open_leads_to_sign_in(
    browser: Browser, stage: Stage, keyring: Keyring
) -> None:
    made = await keyring.make("jobs:read")
    async with open_desk(browser, stage) as desk:
        desk.expected.append("401")
        await desk.sign_in(made["key"])
        await stage.api.delete(f"/keys/{made['id']}")
        await expect(desk.page.get_by_label("API key")).to_be_visible()


async def test_a_link_on_another_site_leads_a_person_who_is_signed_in_to_the_page(browser: Browser, stage: Stage) -> None:
    async with open_desk(browser, stage) as desk:
        await desk.sign_in()
        elsewhere = stage.emulator_url.replace("127.0.0.1", "localhost")
        await desk.page.route(
            f"{elsewhere}/**",
            lambda route: route.fulfill(body=f'<a href="{stage.url}/console/audit">look</a>', content_type="text/html"),
        )
        await desk.page.goto(f"{elsewhere}/chat")
        await desk.page.get_by_role("link", name="look").click()
        await expect(desk.page).to_have_url(f"{stage.url}/console/audit")
        await expect(desk.page.get_by_role("button", name="Sign out")).to_be_visible()
