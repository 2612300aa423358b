"""What the pages load comes with the gateway."""

from __future__ import annotations

import hashlib
import re
import tomllib
from urllib.parse import urlsplit

from app.console.assets import FOLDER, TYPES, assets
from tests.acceptance.stage import Stage, client
from tests.console.browser import Desk

VENDOR = FOLDER / "vendor"


async def test_no_other_host_is_asked_for_anything(desk: Desk) -> None:
    hosts: set[str] = set()
    desk.page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    await desk.open("/console")
    assert hosts == {urlsplit(desk.stage.url).netloc}


def test_what_comes_from_elsewhere_is_listed_and_as_it_was_published() -> None:
    listed = tomllib.loads((VENDOR / "vendored.toml").read_text())
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir() if path.suffix in TYPES}
    assert {name: entry["sha256"] for name, entry in listed.items()} == found
    assert all(entry["version"] in name for name, entry in listed.items())


async def test_an_asset_is_kept_for_good_under_an_address_that_changes_with_it(stage: Stage) -> None:
    async with client(stage.url, None) as browser:
        page = (await browser.get("/console/sign-in")).text
        addresses = re.findall(r'(?:src|href)="(/console/static/[^"]+)"', page)
        assert len(addresses) >= 5
        for address in addresses:
            answer = await browser.get(address)
            assert answer.status_code == 200, address
            assert "immutable" in answer.headers["cache-control"]
            name, digest = re.fullmatch(r"/console/static/(.+)\?v=([0-9a-f]{16})", address).groups()  # type: ignore[union-attr]
            assert hashlib.sha256(assets()[name]).hexdigest().startswith(digest)
            again = await browser.get(address, headers={"If-None-Match": answer.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")


async def test_a_replica_of_another_release_is_not_kept_for_good(stage: Stage) -> None:
    """While replicas are upgraded one by one, an old one is asked for what a new one's page names."""
    async with client(stage.url, None) as browser:
        for query in ("?v=0123456789abcdef", ""):
            answer = await browser.get(f"/console/static/console.css{query}")
            assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), query


async def test_nothing_else_on_the_disk_is_served(stage: Stage) -> None:
    async with client(stage.url, None) as browser:
        for name in (
            "vendor/vendored.toml",
            "../page.py",
            "..%2fpage.py",
            "%2e%2e/page.py",
            "/etc/passwd",
            "templates/base.html",
        ):
            assert (await browser.get(f"/console/static/{name}")).status_code in (303, 404), name
