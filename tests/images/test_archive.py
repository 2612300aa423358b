"""The archive: real downloads into real stores, and everything that can go wrong on the way."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
import structlog

from app.errors import StorageUnavailableError
from app.images.archive import LEASE, PROBE_PAUSE, ImageArchive
from app.images.inspect import MAX_BYTES, inspect
from app.images.next_try import FEW_TRIES, LONGEST, TRIES
from app.images.store import THUMBNAIL, ImageMissingError, ImageStore, ImageStoreUnavailableError, open_image_store
from app.lifecycle.job import Picture, PictureState
from app.lifecycle.states import JobState
from app.storage.images import DuePicture, PictureFacts, PictureRows, Recorded, Reference
from app.storage.lives import LifeStore
from tests.images.gallery import Gallery, swept
from tests.images.picture_server import PictureServer, bomb, http, picture, picture_server, redirect
from tests.storage.factory import all_lives

DATA = picture()
SHA = sha256(DATA).hexdigest()
FACTS = PictureFacts(SHA, "image/png", 64, 48, len(DATA), has_thumbnail=True, size_matches=False)
SOON = timedelta(seconds=2)  #: a deadline that runs out, but not before a busy machine has connected


def memory() -> ImageStore:
    store = open_image_store("memory://")
    assert store is not None
    return store


async def content(store: ImageStore, sha: str = SHA, extension: str = "png") -> bytes:
    return b"".join([piece async for piece in (await store.get(sha, extension)).pieces])


async def until_the_end(gallery: Gallery, archive: ImageArchive, job_id: UUID) -> dict[str, Any]:
    """The row after so many tries that there is no other."""
    while (row := await gallery.row(job_id))["state"] == "pending":
        gallery.clock.advance(seconds=LONGEST.total_seconds() * 1.3)
        await swept(archive)
    return row


# What goes well.


async def test_a_settled_jobs_pictures_are_fetched_and_kept(
    gallery: Gallery, upstream: PictureServer, image_store: ImageStore
) -> None:
    other = picture((1024, 1024), "gold", "JPEG")
    upstream.pages |= {"/a": http(DATA), "/b": http(other, "200 OK", "Content-Type: text/html")}
    job_id = await gallery.job(f"{upstream.url}/a", f"{upstream.url}/b")
    await swept(gallery.archive(image_store))
    first, second = await gallery.row(job_id), await gallery.row(job_id, 1)
    assert (first["state"], first["due_at"], first["error"]) == ("stored", None, None)
    assert first["stored_at"] == gallery.clock.now
    facts = {name: first[name] for name in ("sha256", "media_type", "width", "height", "bytes", "size_matches")}
    assert facts == {
        "sha256": SHA, "media_type": "image/png", "width": 64, "height": 48, "bytes": len(DATA), "size_matches": False,
    }  # fmt: skip
    assert (second["media_type"], second["size_matches"], second["has_thumbnail"]) == ("image/jpeg", True, True)
    assert await content(image_store) == DATA
    assert await content(image_store, SHA, THUMBNAIL) == inspect(DATA).thumbnail
    assert await content(image_store, second["sha256"], "jpg") == other
    life = await LifeStore(gallery.database).find(job_id)
    assert life is not None
    assert [p.is_stored for p in life.pictures] == [True, True]


async def test_nothing_is_asked_for_compressed_and_no_key_is_sent(gallery: Gallery, upstream: PictureServer) -> None:
    upstream.pages["/a"] = http(DATA)
    await gallery.job(f"{upstream.url}/a")
    await swept(gallery.archive(memory()))
    (head,) = upstream.heads
    assert re.search(r"(?im)^accept-encoding: identity\r$", head)
    assert "authorization" not in head.lower()


async def test_three_redirects_are_followed_and_a_fourth_is_not(gallery: Gallery, upstream: PictureServer) -> None:
    upstream.pages |= {f"/{n}": redirect(f"/{n + 1}") for n in range(4)}
    upstream.pages["/4"] = http(DATA)
    near, far = await gallery.job(f"{upstream.url}/1"), await gallery.job(f"{upstream.url}/0")
    await swept(gallery.archive(memory()))
    assert (await gallery.row(near))["state"] == "stored"
    row = await gallery.row(far)
    assert (row["state"], row["error"]) == ("pending", "HTTP 302")


async def test_what_nobody_looked_at_twice_is_claimed_once(gallery: Gallery, upstream: PictureServer) -> None:
    upstream.pages["/a"] = http(DATA)
    for _ in range(5):
        await gallery.job(f"{upstream.url}/a")
    store = memory()
    archives = [gallery.archive(store) for _ in range(3)]
    await asyncio.gather(*(swept(archive) for archive in archives))
    assert len(upstream.asked) == 5


class OftenAway(PictureRows):
    """Its database is away whenever a picture is to be written down for the first time."""

    seen: ClassVar[set[UUID]] = set()

    async def record_stored(self, due: DuePicture, facts: PictureFacts) -> Recorded:
        if due.job_id not in self.seen:
            self.seen.add(due.job_id)
            raise StorageUnavailableError("its connection broke")
        return await PictureRows.record_stored(self, due, facts)


async def test_a_picture_whose_record_broke_off_is_written_down_at_once(gallery: Gallery, upstream: PictureServer) -> None:
    upstream.pages["/a"] = http(DATA)
    job_id = await gallery.job(f"{upstream.url}/a")
    await swept(gallery.archive(memory(), pictures=OftenAway(gallery.database)))
    assert (await gallery.row(job_id))["state"] == "stored"
    assert len(upstream.asked) == 1


# What goes wrong with the picture.


@pytest.mark.parametrize(
    ("page", "reason", "tries"),
    [
        (http(bomb()), "too_many_pixels: ", 1),
        (http(b"<html>Sorry</html>", "200 OK", "Content-Type: image/png"), "not_a_picture: ", FEW_TRIES),
        (http(b""), "not_a_picture: ", FEW_TRIES),
        (http(DATA[:-20]), "truncated: ", FEW_TRIES),
        (f"HTTP/1.1 200 OK\r\nContent-Length: {MAX_BYTES + 1}\r\n\r\n".encode(), "The answer is longer than allowed.", 1),
    ],
    ids=["bomb", "page", "empty", "truncated", "huge"],
)
async def test_what_cannot_be_kept_is_unusable_and_says_why(
    gallery: Gallery, upstream: PictureServer, page: bytes, reason: str, tries: int
) -> None:
    upstream.pages["/a"] = page
    job_id = await gallery.job(f"{upstream.url}/a")
    archive = gallery.archive(memory())
    await swept(archive)
    row = await until_the_end(gallery, archive, job_id)
    assert row["state"] == "unusable"
    assert row["error"].startswith(reason)
    assert len(upstream.asked) == row["attempts"] == tries
    life = await LifeStore(gallery.database).find(job_id)
    assert life is not None
    assert life.job.state is JobState.SUCCEEDED


async def test_an_endless_body_is_cut_at_the_limit(gallery: Gallery, upstream: PictureServer) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(1 << 20))
            await writer.drain()

    upstream.pages["/a"] = endless
    job_id = await gallery.job(f"{upstream.url}/a")
    await swept(gallery.archive(memory()))
    assert (await gallery.row(job_id))["state"] == "unusable"


async def test_what_is_not_there_is_given_up_after_a_few_tries(gallery: Gallery, upstream: PictureServer) -> None:
    job_id = await gallery.job(f"{upstream.url}/gone")
    archive = gallery.archive(memory())
    await swept(archive)
    row = await until_the_end(gallery, archive, job_id)
    assert (row["state"], row["error"], row["due_at"], len(upstream.asked)) == ("given_up", "HTTP 404", None, FEW_TRIES)


async def test_what_cannot_be_reached_is_tried_for_a_day_and_then_given_up(gallery: Gallery, upstream: PictureServer) -> None:
    upstream.pages["/a"] = http(b"", "503 Service Unavailable")
    job_id = await gallery.job(f"{upstream.url}/a")
    archive = gallery.archive(memory())
    await swept(archive)
    row = await until_the_end(gallery, archive, job_id)
    assert (row["state"], row["error"], row["attempts"], len(upstream.asked)) == ("given_up", "HTTP 503", TRIES, TRIES)


async def test_a_dripping_server_is_left_at_the_deadline(gallery: Gallery, upstream: PictureServer) -> None:
    left = asyncio.Event()

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        closed = asyncio.ensure_future(writer.wait_closed())
        while not (await asyncio.wait({closed}, timeout=0.01))[0]:
            writer.write(b"x")
        await asyncio.gather(closed, return_exceptions=True)
        left.set()

    upstream.pages["/a"] = drip
    job_id = await gallery.job(f"{upstream.url}/a")
    await swept(gallery.archive(memory(), deadline=SOON))
    row = await gallery.row(job_id)
    assert (row["state"], row["error"], row["attempts"]) == ("pending", "the deadline ran out", 1)
    async with asyncio.timeout(60):
        await left.wait()


async def test_a_redirect_to_a_forbidden_address_is_not_followed(gallery: Gallery, upstream: PictureServer) -> None:
    async with picture_server("127.0.0.2") as inside:
        inside.pages["/secret"] = http(DATA)
        upstream.pages["/a"] = redirect(f"{inside.url}/secret")
        job_id = await gallery.job(f"{upstream.url}/a")
        await swept(gallery.archive(memory()))
        assert inside.asked == []
    assert (await gallery.row(job_id))["state"] == "pending"


async def test_plain_http_and_private_addresses_are_refused_unless_they_are_listed(
    gallery: Gallery, upstream: PictureServer
) -> None:
    upstream.pages["/a"] = http(DATA)
    job_id = await gallery.job(f"{upstream.url}/a")
    await swept(gallery.archive(memory(), allow=""))
    assert upstream.asked == []
    row = await gallery.row(job_id)
    assert (row["state"], row["error"]) == ("pending", "the URL must begin with https://")
    gallery.clock.advance(minutes=1)
    await swept(gallery.archive(memory()))
    assert (await gallery.row(job_id))["state"] == "stored"


async def test_the_log_names_the_host_and_never_the_address(gallery: Gallery, upstream: PictureServer) -> None:
    upstream.pages["/a?token=hush"] = http(DATA)
    await gallery.job(f"{upstream.url}/a?token=hush", f"{upstream.url}/b?token=hush")
    with structlog.testing.capture_logs() as lines:
        await swept(gallery.archive(memory()))
    assert {line["event"] for line in lines} == {"picture stored", "picture not stored"}
    assert {line["host"] for line in lines} == {"127.0.0.1"}
    assert "hush" not in str(lines)


# What goes wrong with the store and the processes.


async def test_a_store_that_is_down_costs_no_try_and_is_found_again_when_it_is_back(
    gallery: Gallery, upstream: PictureServer, tmp_path: Path
) -> None:
    upstream.pages["/a"] = http(DATA)
    store = open_image_store(f"file://{tmp_path}/images")
    assert store is not None
    (tmp_path / "images").rename(tmp_path / "away")
    archive = gallery.archive(store)
    job_id = await gallery.job(f"{upstream.url}/a")
    await swept(archive)
    row = await gallery.row(job_id)
    assert (row["state"], row["attempts"]) == ("pending", 0)
    assert "picture store" in row["error"]
    gallery.clock.advance(minutes=1)
    later = await gallery.job(f"{upstream.url}/a")
    await swept(archive)  # asks the store alone
    assert ((await gallery.row(later))["attempts"], len(upstream.asked)) == (0, 1)
    (tmp_path / "away").rename(tmp_path / "images")
    gallery.clock.advance(seconds=PROBE_PAUSE)
    await swept(archive)  # finds it again
    await swept(archive)
    for found in (job_id, later):
        row = await gallery.row(found)
        assert (row["state"], row["attempts"], row["error"]) == ("stored", 1, None)


@dataclass(frozen=True)
class HangingStore(ImageStore):
    """A store that is down: puts fail, and a look at it takes until it is let go."""

    looks: list[int] = field(default_factory=list)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def put_if_absent(self, sha256: str, extension: str, data: bytes) -> None:
        raise ImageStoreUnavailableError

    async def check(self) -> None:
        self.looks.append(1)
        await self.let_go.wait()
        raise ImageStoreUnavailableError


async def test_a_store_that_is_down_is_looked_at_once_at_a_time_with_a_pause_between(
    gallery: Gallery, upstream: PictureServer
) -> None:
    upstream.pages["/a"] = http(DATA)
    store = HangingStore(memory().store)
    archive = gallery.archive(store)
    await gallery.job(f"{upstream.url}/a")
    await swept(archive)
    for _ in range(3):  # as it is when one job after the other settles with pictures
        await archive.sweep()
        await asyncio.sleep(0)
    assert len(store.looks) == 1, "one is under way"
    store.let_go.set()
    await archive.idle()
    gallery.clock.advance(seconds=PROBE_PAUSE - 1)
    assert await archive.sweep() == pytest.approx(1)
    await archive.idle()
    assert len(store.looks) == 1, "it has just ended"
    gallery.clock.advance(seconds=1)
    await swept(archive)
    assert len(store.looks) == 2


@dataclass(frozen=True)
class TrippingStore(ImageStore):
    """A store that fails as nobody thought of, and tells what it should not."""

    async def put_if_absent(self, sha256: str, extension: str, data: bytes) -> None:
        raise RuntimeError("https://pictures.example/a?token=hush")


async def test_a_surprise_is_told_on_the_row_by_its_kind_alone_and_tried_again(
    gallery: Gallery, upstream: PictureServer
) -> None:
    upstream.pages["/a"] = http(DATA)
    job_id = await gallery.job(f"{upstream.url}/a")
    with structlog.testing.capture_logs() as lines:
        await swept(gallery.archive(TrippingStore(memory().store)))
    row = await gallery.row(job_id)
    assert (row["state"], row["attempts"], row["error"]) == ("pending", 1, "archiving it failed: RuntimeError")
    assert row["due_at"] < gallery.clock.now + LEASE, "it was postponed, and not left to its lease"
    assert [line["event"] for line in lines] == ["picture not stored"]
    assert "hush" not in str(lines)


async def test_a_crash_between_the_put_and_the_record_is_repeated_without_harm(
    gallery: Gallery, upstream: PictureServer, image_store: ImageStore
) -> None:
    upstream.pages["/a"] = http(DATA)
    job_id = await gallery.job(f"{upstream.url}/a")
    dead = await PictureRows(gallery.database).claim_due(10, LEASE)
    assert [due.job_id for due in dead.taken] == [job_id]
    await image_store.put_if_absent(SHA, "png", DATA)
    archive = gallery.archive(image_store)
    await swept(archive)
    assert (await gallery.row(job_id))["state"] == "pending"  # still leased
    gallery.clock.advance(seconds=LEASE.total_seconds() + 1)
    await swept(archive)
    row = await gallery.row(job_id)
    assert (row["state"], row["attempts"]) == ("stored", 2)
    assert await content(image_store) == DATA


async def test_who_lost_the_lease_records_nothing(gallery: Gallery) -> None:
    rows = PictureRows(gallery.database)
    job_id = await gallery.job("https://pictures.example/a")
    (slow,) = (await rows.claim_due(10, LEASE)).taken
    gallery.clock.advance(seconds=LEASE.total_seconds() + 1)
    (quick,) = (await rows.claim_due(10, LEASE)).taken
    assert await rows.record_stored(slow, FACTS) is Recorded.STALE
    assert not await rows.postpone(slow, "too late", LONGEST)
    assert not await rows.end(slow, PictureState.GIVEN_UP, "too late")
    assert (await gallery.row(job_id))["error"] is None
    assert await rows.record_stored(quick, FACTS) is Recorded.STORED
    assert await rows.record_stored(quick, FACTS) is Recorded.STALE


async def test_a_picture_that_takes_every_process_with_it_is_given_up(gallery: Gallery, upstream: PictureServer) -> None:
    rows = PictureRows(gallery.database)
    job_id = await gallery.job(f"{upstream.url}/a")
    for _ in range(TRIES):
        assert (await rows.claim_due(10, LEASE)).taken
        gallery.clock.advance(seconds=LEASE.total_seconds() + 1)
    await swept(gallery.archive(memory()))
    assert (await gallery.row(job_id))["state"] == "given_up"
    assert upstream.asked == []


async def test_a_stop_ends_downloads_that_take_too_long(gallery: Gallery, upstream: PictureServer) -> None:
    begun = asyncio.Event()

    async def silent(writer: asyncio.StreamWriter) -> None:
        begun.set()
        await asyncio.Event().wait()

    upstream.pages["/a"] = silent
    job_id = await gallery.job(f"{upstream.url}/a")
    archive = gallery.archive(memory())
    await archive.sweep()
    async with asyncio.timeout(60):
        await begun.wait()
        await archive.stop(0)
    assert (await gallery.row(job_id))["state"] == "pending"
    assert await archive.sweep() is None


# A stored picture that is missing.


async def stored_picture(gallery: Gallery, upstream: PictureServer, store: ImageStore) -> Picture:
    upstream.pages["/a"] = http(DATA)
    job_id = await gallery.job(f"{upstream.url}/a")
    await swept(gallery.archive(store))
    life = await LifeStore(gallery.database).find(job_id)
    assert life is not None
    return life.pictures[0]


async def test_a_missing_object_is_fetched_again_and_its_row_stays(gallery: Gallery, upstream: PictureServer) -> None:
    store = memory()
    kept = await stored_picture(gallery, upstream, store)
    await store.delete(SHA, "png")
    archive = gallery.archive(store)
    job_id = await only_job(gallery)
    archive.restore(job_id, kept)
    archive.restore(job_id, kept)  # one is enough
    await archive.idle()
    assert len(upstream.asked) == 2
    assert await content(store) == DATA


async def test_another_picture_does_not_take_the_place_of_a_missing_one(gallery: Gallery, upstream: PictureServer) -> None:
    store = memory()
    kept = await stored_picture(gallery, upstream, store)
    job_id = await only_job(gallery)
    await store.delete(SHA, "png")
    for page in (http(picture(colour="red")), http(b"", "404 Not Found")):
        upstream.pages["/a"] = page
        archive = gallery.archive(store)
        archive.restore(job_id, kept)
        await archive.idle()
        assert (await gallery.row(job_id))["sha256"] == SHA
    with pytest.raises(ImageMissingError):
        await store.head(SHA, "png")


async def only_job(gallery: Gallery) -> UUID:
    (life,) = await all_lives(gallery.database)
    return life.job.job_id


# Letting go.


async def test_an_object_goes_with_its_last_reference(
    gallery: Gallery, upstream: PictureServer, image_store: ImageStore
) -> None:
    upstream.pages["/a"] = http(DATA)
    first = await gallery.job(f"{upstream.url}/a", f"{upstream.url}/a")
    second = await gallery.job(f"{upstream.url}/a")
    archive = gallery.archive(image_store)
    await swept(archive)
    await archive.let_pictures_go(first)
    assert await content(image_store) == DATA
    assert (await gallery.row(second))["state"] == "stored"
    await archive.let_pictures_go(second)
    for extension in ("png", THUMBNAIL):
        with pytest.raises(ImageMissingError):
            await image_store.head(SHA, extension)
    await archive.let_pictures_go(second)
    row = await gallery.row(second)
    assert (row["state"], row["sha256"]) == ("given_up", None)


async def test_a_picture_that_comes_while_its_object_is_being_deleted_waits_until_that_is_over(
    gallery: Gallery, upstream: PictureServer
) -> None:
    store, rows = memory(), PictureRows(gallery.database)
    await stored_picture(gallery, upstream, store)
    (reference,) = await rows.references(await only_job(gallery))
    assert await rows.withdraw(reference)
    newcomer = await gallery.job(f"{upstream.url}/a")
    archive = gallery.archive(store)
    await swept(archive)
    row = await gallery.row(newcomer)
    assert (row["state"], row["attempts"]) == ("pending", 0)
    await store.delete(SHA, "png")
    await rows.forget(reference)
    gallery.clock.advance(minutes=1)
    await swept(archive)
    assert (await gallery.row(newcomer))["state"] == "stored"
    assert await content(store) == DATA


async def test_an_object_that_was_deleted_between_the_put_and_the_record_is_put_again(
    gallery: Gallery, upstream: PictureServer
) -> None:
    """The whole deletion happens while the newcomer's download is under way, behind its put."""
    store, rows = memory(), PictureRows(gallery.database)
    await stored_picture(gallery, upstream, store)
    (reference,) = await rows.references(await only_job(gallery))
    newcomer = await gallery.job(f"{upstream.url}/a")
    between = DeletingBetween(store.store, rows=rows, to_delete=[reference])
    await swept(gallery.archive(between))
    assert not between.to_delete
    assert (await gallery.row(newcomer))["state"] == "stored"
    assert await content(store) == DATA
    assert await content(store, SHA, THUMBNAIL) == inspect(DATA).thumbnail


@dataclass(frozen=True)
class DeletingBetween(ImageStore):
    """A store in which another process deletes the object, once, as soon as it was put with its thumbnail."""

    rows: PictureRows | None = None
    to_delete: list[Reference] = field(default_factory=list)

    async def put_if_absent(self, sha256: str, extension: str, data: bytes) -> None:
        await super().put_if_absent(sha256, extension, data)
        if extension == THUMBNAIL and self.to_delete:
            assert self.rows is not None
            reference = self.to_delete.pop()
            assert await self.rows.withdraw(reference)
            for each in (THUMBNAIL, "png"):
                await self.delete(sha256, each)
            await self.rows.forget(reference)


async def test_a_deletion_that_was_never_ended_holds_nobody_up_for_ever(gallery: Gallery, upstream: PictureServer) -> None:
    store, rows = memory(), PictureRows(gallery.database)
    await stored_picture(gallery, upstream, store)
    (reference,) = await rows.references(await only_job(gallery))
    assert await rows.withdraw(reference)
    newcomer = await gallery.job(f"{upstream.url}/a")
    gallery.clock.advance(hours=2)
    await swept(gallery.archive(store))
    assert (await gallery.row(newcomer))["state"] == "stored"


async def test_of_two_that_let_go_at_once_exactly_one_deletes(gallery: Gallery, upstream: PictureServer) -> None:
    store, rows = memory(), PictureRows(gallery.database)
    upstream.pages["/a"] = http(DATA)
    jobs = [await gallery.job(f"{upstream.url}/a") for _ in range(6)]
    await swept(gallery.archive(store))
    references = [reference for job_id in jobs for reference in await rows.references(job_id)]
    last = await asyncio.gather(*(rows.withdraw(reference) for reference in references))
    assert sorted(last) == [False] * 5 + [True]
