"""Retention and the archive together: what is kept as long as somebody refers to it, and what goes in the end."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest

from app.images.archive import ImageArchive
from app.images.next_try import LONGEST
from app.images.store import THUMBNAIL, ImageMissingError, ImageStore, ImageStoreUnavailableError, open_image_store
from app.retention.prune import PICTURED, Pruner
from app.storage.intake import IntakeStore, Order
from app.storage.retention import RetentionStore
from tests.images.gallery import Gallery, swept
from tests.images.picture_server import PictureServer, http, picture
from tests.storage.factory import all_lives, new_job

DATA = picture()
SHA = sha256(DATA).hexdigest()
MONTH = timedelta(days=30)
SAME = {"request_hash": b"same"}


def pruner_of(gallery: Gallery, archive: ImageArchive | None) -> Pruner:
    return Pruner(RetentionStore(gallery.database), MONTH, archive.let_pictures_go if archive else None)


async def job_ids(gallery: Gallery) -> set[UUID]:
    return {life.job.job_id for life in await all_lives(gallery.database)}


async def test_an_object_stays_for_the_job_that_reuses_it_and_goes_with_that(
    gallery: Gallery, upstream: PictureServer, image_store: ImageStore
) -> None:
    upstream.pages["/a"] = http(DATA)
    archive = gallery.archive(image_store)
    pruner = pruner_of(gallery, archive)
    source = await gallery.job(f"{upstream.url}/a", **SAME)
    await swept(archive)
    gallery.clock.advance(days=20)
    [taken] = await IntakeStore(gallery.database).take([Order((new_job(**SAME),), frozenset({0}))])
    reusing = taken.lives[0].job
    assert reusing.reused_from == source

    gallery.clock.advance(days=11)
    await pruner.sweep()
    assert await job_ids(gallery) == {reusing.job_id}
    for extension in ("png", THUMBNAIL):
        assert await image_store.head(SHA, extension) > 0
    row = await gallery.row(reusing.job_id)
    assert (row["state"], row["sha256"]) == ("stored", SHA)

    gallery.clock.advance(days=20)
    await pruner.sweep()
    assert await job_ids(gallery) == set()
    for extension in ("png", THUMBNAIL):
        with pytest.raises(ImageMissingError):
            await image_store.head(SHA, extension)


async def test_a_store_that_was_down_for_longer_than_jobs_are_kept_gets_its_pictures(
    gallery: Gallery, upstream: PictureServer, tmp_path: Path
) -> None:
    upstream.pages["/a"] = http(DATA)
    store = open_image_store(f"file://{tmp_path}/images")
    assert store is not None
    archive = gallery.archive(store)
    pruner = pruner_of(gallery, archive)
    job_id = await gallery.job(f"{upstream.url}/a")
    (tmp_path / "images").rename(tmp_path / "away")
    await swept(archive)
    gallery.clock.advance(days=31)
    await pruner.sweep()
    assert await job_ids(gallery) == {job_id}
    (tmp_path / "away").rename(tmp_path / "images")
    await swept(archive)  # finds the store again
    gallery.clock.advance(seconds=LONGEST.total_seconds() * 1.3)
    await swept(archive)
    assert (await gallery.row(job_id))["state"] == "stored"
    await pruner.sweep()
    assert await job_ids(gallery) == set()


async def test_where_the_store_was_turned_off_its_pictures_keep_their_jobs_until_it_is_back(
    gallery: Gallery, upstream: PictureServer, image_store: ImageStore
) -> None:
    upstream.pages["/a"] = http(DATA)
    archive = gallery.archive(image_store)
    pictured = await gallery.job(f"{upstream.url}/a")
    await swept(archive)
    await gallery.job(f"{upstream.url}/a")  # after the store was turned off
    gallery.clock.advance(days=31)
    await pruner_of(gallery, None).sweep()
    assert await job_ids(gallery) == {pictured}
    await pruner_of(gallery, archive).sweep()
    assert await job_ids(gallery) == set()
    with pytest.raises(ImageMissingError):
        await image_store.head(SHA, "png")


async def with_pictures(gallery: Gallery, upstream: PictureServer, image_store: ImageStore, count: int) -> list[UUID]:
    """Old jobs with pictures in the store, the longest settled first."""
    upstream.pages["/a"] = http(DATA)
    jobs = []
    for _ in range(count):
        jobs.append(await gallery.job(f"{upstream.url}/a"))
        gallery.clock.advance(seconds=1)
        await swept(gallery.archive(image_store))
    gallery.clock.advance(days=31)
    return jobs


@pytest.mark.parametrize("bad", [0, 1, PICTURED + 1])
async def test_a_picture_that_cannot_be_deleted_keeps_its_own_job_alone(
    gallery: Gallery, upstream: PictureServer, image_store: ImageStore, bad: int
) -> None:
    jobs = await with_pictures(gallery, upstream, image_store, PICTURED + 3)
    archive = gallery.archive(image_store)

    async def let_pictures_go(job_id: UUID) -> None:
        if job_id == jobs[bad]:
            raise ImageStoreUnavailableError
        await archive.let_pictures_go(job_id)

    await Pruner(RetentionStore(gallery.database), MONTH, let_pictures_go).sweep()
    assert await job_ids(gallery) == {jobs[bad]}


async def test_a_store_that_deletes_nothing_is_asked_a_few_times_and_again_at_the_next_sweep(
    gallery: Gallery, upstream: PictureServer, image_store: ImageStore
) -> None:
    jobs, asked = await with_pictures(gallery, upstream, image_store, PICTURED + 3), list[UUID]()

    async def refuse(job_id: UUID) -> None:
        asked.append(job_id)
        raise ImageStoreUnavailableError

    pruner = Pruner(RetentionStore(gallery.database), MONTH, refuse)
    assert await pruner.sweep() is None
    assert asked == jobs[:PICTURED]
    assert await pruner.sweep() is None
    assert asked == jobs, "the next ones are not held up by the first"
    assert await pruner.sweep() is None
    assert asked == [*jobs, *jobs[:PICTURED]]


async def test_a_stop_waits_for_the_pictures_of_one_job_at_most(
    gallery: Gallery, upstream: PictureServer, image_store: ImageStore
) -> None:
    jobs, asked = await with_pictures(gallery, upstream, image_store, 3), list[UUID]()

    async def let_pictures_go(job_id: UUID) -> None:
        asked.append(job_id)
        pruner.stop()

    pruner = Pruner(RetentionStore(gallery.database), MONTH, let_pictures_go)
    await pruner.sweep()
    assert asked == jobs[:1]
