"""Pictures of a whole gateway over real HTTP: archived, served, shared by links, and kept from others."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from PIL import Image
from sqlalchemy import update

from app.images.links import PictureLinks
from app.storage import tables as t
from app.vault import Vault
from tests.acceptance.stage import SECRET_KEY, Stage, client, open_stage
from tests.access.keyring import Keyring
from tests.databases import OpenDatabase

PATIENCE = 60  #: seconds
OTHER_KEY = "another-secret-key-of-the-tests-only"


@asynccontextmanager
async def archiving(database_url: str, tmp_path: Path, **changes: Any) -> AsyncIterator[Stage]:
    settings = {"image_store_url": f"file://{tmp_path}/images", "image_allow": "127.0.0.1", **changes}
    async with open_stage(database_url, **settings) as stage:
        yield stage


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with archiving(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def keyring(stage: Stage) -> AsyncIterator[Keyring]:
    async with Keyring(stage) as opened:
        yield opened


@pytest.fixture
async def stranger(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with client(stage.url, None) as opened:
        yield opened


async def stored(api: httpx.AsyncClient, job: dict[str, Any]) -> dict[str, Any]:
    """The job once its pictures are archived."""
    async with asyncio.timeout(PATIENCE):
        while not all(image["stored"] for image in job["images"]):  # each look is a request: the server works meanwhile
            job = (await api.get(f"/jobs/{job['id']}")).json()
    return job


async def archived(stage: Stage, **body: Any) -> dict[str, Any]:
    return await stored(stage.api, await stage.run(**body))


def objects(tmp_path: Path, ending: str) -> list[Path]:
    return sorted((tmp_path / "images").rglob(f"*{ending}"))


# Served.


async def test_a_picture_is_served_after_the_upstreams_is_gone(stage: Stage) -> None:
    job = await archived(stage, size="1024*768", output_format="png")
    image = job["images"][0]
    stage.world.reset()
    assert (await stage.api.get(image["source_url"])).status_code == 404
    answer = await stage.api.get(image["url"])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == image["media_type"] == "image/png"
    assert sha256(answer.content).hexdigest() == image["sha256"]
    assert len(answer.content) == image["bytes"]
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.size == (image["width"], image["height"]) == (1024, 768)


async def test_a_picture_can_do_nothing_but_be_looked_at(stage: Stage) -> None:
    job = await archived(stage, output_format="jpeg")
    headers = (await stage.api.get(job["images"][0]["url"])).headers
    assert {name: headers[name] for name in (
        "cache-control", "content-disposition", "content-security-policy", "cross-origin-resource-policy", "etag",
        "x-content-type-options", "accept-ranges",
    )} == {
        "cache-control": "private, max-age=31536000, immutable",
        "content-disposition": f'inline; filename="{job["id"]}-0.jpg"',
        "content-security-policy": "sandbox; default-src 'none'",
        "cross-origin-resource-policy": "same-origin",
        "etag": f'"{job["images"][0]["sha256"]}"',
        "x-content-type-options": "nosniff",
        "accept-ranges": "bytes",
    }  # fmt: skip


async def test_conditions_ranges_and_heads_are_answered_as_http_says(stage: Stage) -> None:
    job = await archived(stage)
    url, size = job["images"][0]["url"], job["images"][0]["bytes"]
    whole = await stage.api.get(url)
    etag = whole.headers["etag"]
    unchanged = await stage.api.get(url, headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", etag)
    part = await stage.api.get(url, headers={"Range": "bytes=10-19", "If-Range": etag})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert (part.headers["content-range"], part.headers["content-length"]) == (f"bytes 10-19/{size}", "10")
    end = await stage.api.get(url, headers={"Range": "bytes=-5"})
    assert (end.status_code, end.content) == (206, whole.content[-5:])
    behind = await stage.api.get(url, headers={"Range": f"bytes={size}-"})
    assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{size}")
    assert (behind.headers["content-type"], behind.headers["cache-control"]) == ("application/problem+json", "no-store")
    assert (behind.json()["code"], behind.json()["title"]) == ("range_not_satisfiable", "Range Not Satisfiable")
    head = await stage.api.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(size))
    assert (head.headers["etag"], head.headers["content-type"]) == (etag, "image/jpeg")


async def test_a_thumbnail_is_a_small_picture_with_an_etag_of_its_own(stage: Stage) -> None:
    job = await archived(stage, size="1024*1536")
    url = job["images"][0]["url"]
    small = await stage.api.get(url, params={"thumbnail": "1"})
    assert (small.status_code, small.headers["content-type"]) == (200, "image/webp")
    assert small.headers["etag"] == f'"{sha256(small.content).hexdigest()}"'
    assert small.headers["x-content-type-options"] == "nosniff"
    with Image.open(io.BytesIO(small.content)) as picture:
        assert picture.size == (213, 320)
    again = await stage.api.get(url, params={"thumbnail": "1"}, headers={"If-None-Match": small.headers["etag"]})
    assert again.status_code == 304
    head = await stage.api.head(url, params={"thumbnail": "1"})
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(small.content)), b"")


async def test_what_is_not_archived_is_found_at_the_upstream(database_url: str, tmp_path: Path) -> None:
    async with open_stage(database_url, image_store_url="off") as stage:
        job = await stage.run()
        for query in ("", "?thumbnail=1"):
            answer = await stage.api.get(job["images"][0]["url"] + query)
            assert (answer.status_code, answer.headers["location"]) == (307, job["images"][0]["source_url"])
            assert answer.headers["cache-control"] == "no-store"
        assert (await stage.api.get(f"/jobs/{job['id']}/images/1")).status_code == 404
        for index in ("-1", "x", "99999999999999999999", "%D9%A3"):
            assert (await stage.api.get(f"/jobs/{job['id']}/images/{index}")).status_code == 404
    assert not (tmp_path / "images").exists()


async def test_a_store_that_is_away_says_when_to_come_again(stage: Stage, tmp_path: Path) -> None:
    job = await archived(stage)
    (tmp_path / "images").rename(tmp_path / "away")
    answer = await stage.api.get(job["images"][0]["url"])
    assert (answer.status_code, answer.json()["code"]) == (503, "picture_store_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert (await stage.run())["state"] == "succeeded"
    (tmp_path / "away").rename(tmp_path / "images")
    assert (await stage.api.get(job["images"][0]["url"])).status_code == 200


async def test_readiness_tells_of_a_store_that_is_down(stage: Stage, tmp_path: Path) -> None:
    assert (await stage.api.get("/readyz")).json()["checks"]["pictures"] == {"ok": True}
    (tmp_path / "images").rename(tmp_path / "away")
    await stage.run()
    async with asyncio.timeout(60):
        while (told := (await stage.api.get("/readyz")).json())["checks"]["pictures"]["ok"]:
            pass
    assert (told["status"], told["checks"]["pictures"]["detail"]) == ("degraded", "the picture store is down: pictures wait")
    (tmp_path / "away").rename(tmp_path / "images")
    async with asyncio.timeout(60):
        while (told := (await stage.api.get("/readyz")).json())["status"] != "ready":
            pass


async def test_a_missing_object_is_looked_for_upstream_and_comes_back(stage: Stage, tmp_path: Path) -> None:
    job = await archived(stage)
    [path] = objects(tmp_path, ".jpg")
    async with asyncio.timeout(PATIENCE):
        while (answer := await stage.api.get(job["images"][0]["url"])).status_code == 200:
            path.unlink(missing_ok=True)  # once more where the look after the record has just put it back
    assert (answer.status_code, answer.headers["location"]) == (307, job["images"][0]["source_url"])
    async with asyncio.timeout(PATIENCE):
        while (answer := await stage.api.get(job["images"][0]["url"])).status_code != 200:
            assert answer.status_code == 307
    assert sha256(answer.content).hexdigest() == job["images"][0]["sha256"]


async def test_an_object_that_was_cut_short_is_not_served(stage: Stage, tmp_path: Path) -> None:
    job = await archived(stage)
    stage.world.reset()
    [path] = objects(tmp_path, ".jpg")
    path.write_bytes(path.read_bytes()[:100])
    assert (await stage.api.get(job["images"][0]["url"])).status_code == 307


async def test_slow_readers_keep_nobody_from_the_database(
    stage: Stage, tmp_path: Path, database_url: str, open_database: OpenDatabase
) -> None:
    """More of them than there are connections, of a picture that no buffer swallows."""
    job = await archived(stage)
    [path] = objects(tmp_path, ".jpg")
    size = 24 * 1024 * 1024
    path.write_bytes(bytes(size))
    async with open_database(database_url).writing() as connection:
        await connection.execute(update(t.images).values(bytes=size))
    async with AsyncExitStack() as stack:
        for _ in range(30):
            slow = await stack.enter_async_context(client(stage.url))
            answer = await stack.enter_async_context(slow.stream("GET", job["images"][0]["url"]))
            assert answer.headers["content-length"] == str(size)
        assert (await stage.run())["state"] == "succeeded"


# Who may look.


async def test_a_picture_is_its_tenants_alone(stage: Stage, keyring: Keyring, stranger: httpx.AsyncClient) -> None:
    owner = await keyring.caller("jobs:write", "jobs:read")
    accepted = (await owner.post("/jobs", json={"prompt": "Ours"})).json()
    job = await stored(owner, await stage.settled(accepted))
    path = f"/jobs/{job['id']}/images/0"
    others = {
        200: [owner, stage.api, await keyring.caller("jobs:read")],
        404: [await keyring.caller("jobs:read", tenant="umbrella")],
        403: [await keyring.caller("jobs:write")],
        401: [stranger, await keyring.holder("gw_00000000_" + "x" * 43)],
    }
    for status, callers in others.items():
        for caller in callers:
            for query in ("", "?thumbnail=1"):
                assert (await caller.get(path + query)).status_code == status
                assert (await caller.head(path + query)).status_code == status
            assert (await caller.post(path + "/link", json={"expires_in": 60})).status_code == status


async def test_a_link_opens_a_picture_without_a_key(stage: Stage, stranger: httpx.AsyncClient) -> None:
    job = await archived(stage)
    before = datetime.now(UTC)
    answer = await stage.api.post(f"/jobs/{job['id']}/images/0/link", json={"expires_in": 3600})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    link = answer.json()
    until = datetime.fromisoformat(link["expires_at"])
    assert before + timedelta(seconds=3598) < until < datetime.now(UTC) + timedelta(seconds=3601)
    assert link["url"].startswith(f"{stage.url}/jobs/{job['id']}/images/0?expires={int(until.timestamp())}&signature=")
    seen = await stranger.get(link["url"])
    assert (seen.status_code, sha256(seen.content).hexdigest()) == (200, job["images"][0]["sha256"])
    assert (await stranger.get(link["url"] + "&thumbnail=1")).headers["content-type"] == "image/webp"
    assert (await stranger.head(link["url"])).status_code == 200


async def test_what_is_no_good_link_gets_one_and_the_same_answer(
    stage: Stage, stranger: httpx.AsyncClient, keyring: Keyring
) -> None:
    job, other = await archived(stage), await archived(stage)
    links = PictureLinks(Vault.from_setting(SECRET_KEY).derive("signed-links"))
    later = datetime.now(UTC) + timedelta(hours=1)
    job_id, path = job["id"], f"/jobs/{job['id']}/images/0"
    query = parse_qs(urlsplit(links.signed_url("", job_id, 0, later)).query)
    expires, signature = query["expires"][0], query["signature"][0]
    good = f"expires={expires}&signature={signature}"
    assert (await stranger.get(f"{path}?{good}")).status_code == 200
    bad = [
        path,
        f"{path}?signature={signature}",
        f"{path}?expires={expires}",
        f"{path}?expires={expires}&signature=",
        f"{path}?expires={expires}&signature={signature[:-2]}AA",
        f"{path}?expires={int(expires) + 1}&signature={signature}",
        f"{path}?expires=-1&signature={signature}",
        f"{path}?expires=x&signature=%FF%00",
        f"/jobs/{other['id']}/images/0?{good}",
        f"/jobs/{job_id}/images/1?{good}",
        f"/jobs/{job_id}/images/{'9' * 5000}?{good}",
        f"/jobs/nobody/images/0?{good}",
        links.signed_url("", job_id, 0, datetime.now(UTC) - timedelta(seconds=1)),
        PictureLinks([b"not ours"]).signed_url("", job_id, 0, later),
    ]
    answers = [await stranger.get(address) for address in bad]
    assert [answer.status_code for answer in answers] == [401] * len(bad)
    assert len({answer.json()["detail"] for answer in answers}) == 1
    for method in ("POST", "PUT", "DELETE"):
        assert (await stranger.request(method, f"{path}?{good}")).status_code == 405
    for address in (f"/jobs/{job_id}", f"/jobs/{job_id}/events", f"{path}/link"):
        method = "POST" if address.endswith("link") else "GET"
        assert (await stranger.request(method, f"{address}?{good}")).status_code == 401
    assert (await (await keyring.holder("gw_00000000_" + "x" * 43)).get(f"{path}?{good}")).status_code == 401
    assert (await (await keyring.caller("jobs:read")).get(f"{path}?{good}")).status_code == 404


async def test_a_link_lasts_from_a_second_to_seven_days(stage: Stage) -> None:
    job = await stage.run()
    path = f"/jobs/{job['id']}/images/0/link"
    for seconds in (1, 604800, 24.0):
        assert (await stage.api.post(path, json={"expires_in": seconds})).status_code == 200
    for body in (
        {"expires_in": 0},
        {"expires_in": 604801},
        {"expires_in": "60"},
        {"expires_in": 1.5},
        {"expires_in": True},
        {},
        {"expires_in": 60, "more": 1},
    ):
        answer = await stage.api.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert (
        await stage.api.post(path, content=b"{" + b" " * 2000, headers={"Content-Type": "application/json"})
    ).status_code == 413
    assert (await stage.api.post(f"/jobs/{job['id']}/images/1/link", json={"expires_in": 60})).status_code == 404


async def test_a_link_outlives_the_exchange_of_the_key_while_the_old_one_is_listed(database_url: str, tmp_path: Path) -> None:
    async with archiving(database_url, tmp_path) as stage:
        job = await archived(stage)
        path = f"/jobs/{job['id']}/images/0"
        link = (await stage.api.post(f"{path}/link", json={"expires_in": 3600})).json()["url"]
    query = urlsplit(link).query
    for keys, status in ((f"{OTHER_KEY},{SECRET_KEY}", 200), (OTHER_KEY, 401)):
        async with archiving(database_url, tmp_path, secret_key=keys) as stage, client(stage.url, None) as stranger:
            assert (await stranger.get(f"{path}?{query}")).status_code == status
            new = (await stage.api.post(f"{path}/link", json={"expires_in": 3600})).json()["url"]
            assert (await stranger.get(new)).status_code == 200
