"""Each try to archive a picture is counted by what came of it."""

from __future__ import annotations

import pytest

from app.images.next_try import FEW_TRIES
from app.images.store import open_image_store
from app.metrics import IMAGE_OUTCOMES, Metrics, exposition
from app.storage.database import Database
from tests.images.gallery import Gallery, swept
from tests.images.picture_server import bomb, http, picture, picture_server
from tests.images.test_archive import until_the_end
from tests.metrics.scraped import Scraped
from tests.storage.factory import HandClock


def counted(metrics: Metrics) -> dict[str, float | None]:
    page, _ = exposition(metrics.families(), "")
    found = Scraped(page.decode())
    return {outcome: found.value("gateway_images_total", outcome=outcome) for outcome in IMAGE_OUTCOMES}


@pytest.mark.parametrize(
    ("page", "outcome", "failed"),
    [
        (http(picture()), "stored", 0),
        (http(bomb()), "unusable", 0),
        (http(b"<html>"), "unusable", FEW_TRIES - 1),
        (http(b"", "404 Not Found"), "given_up", FEW_TRIES - 1),
    ],
    ids=["stored", "never usable", "not usable after some tries", "not there"],
)
async def test_a_try_is_counted_by_its_outcome(
    database: Database, clock: HandClock, page: bytes, outcome: str, failed: int
) -> None:
    store, metrics, gallery = open_image_store("memory://"), Metrics(), Gallery(database, clock)
    assert store is not None
    async with picture_server() as upstream:
        upstream.pages["/a"] = page
        job_id = await gallery.job(f"{upstream.url}/a")
        archive = gallery.archive(store, metrics=metrics)
        await swept(archive)
        await until_the_end(gallery, archive, job_id)
    assert counted(metrics) == dict.fromkeys(IMAGE_OUTCOMES, 0) | {"failed": failed, outcome: 1}
