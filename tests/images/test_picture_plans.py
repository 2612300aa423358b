"""The archive's statements are served by their indexes, however many pictures are stored already."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import insert

from app.images.archive import LEASE
from app.storage import tables as t
from app.storage.images import PictureFacts, PictureRows
from tests.images.gallery import Gallery
from tests.storage.watch import plan_of, statements_of

MANY = 5000


@pytest.fixture
async def history(gallery: Gallery) -> Gallery:
    """Many stored pictures, and a few that are due."""
    job_id = await gallery.job("https://pictures.example/a")
    rows = [
        {
            "job_id": job_id, "index": n, "source_url": "https://pictures.example/b", "state": "stored", "attempts": 1,
            "created_at": gallery.clock.now, "stored_at": gallery.clock.now, "sha256": sha256(str(n).encode()).hexdigest(),
        }
        for n in range(1, MANY)
    ]  # fmt: skip
    async with gallery.database.writing() as connection:
        await connection.execute(insert(t.images), rows)
        if not gallery.database.is_sqlite:
            await connection.exec_driver_sql("ANALYZE")
    for _ in range(3):
        await gallery.job("https://pictures.example/c")
    gallery.clock.advance(seconds=1)
    return gallery


async def plans(gallery: Gallery, work: Callable[[], Awaitable[Any]], pattern: str) -> list[str]:
    with statements_of(gallery.database) as sent:
        await work()
    chosen = [(statement, parameters) for statement, parameters in sent if pattern in statement]
    assert chosen
    async with gallery.database.writing() as connection:
        return [await plan_of(connection, statement, parameters) for statement, parameters in chosen]


async def test_a_claim_walks_what_is_due_in_order(history: Gallery) -> None:
    rows = PictureRows(history.database)
    for pattern in ("ORDER BY images.due_at", "min(images.due_at)"):
        history.clock.advance(seconds=2 * LEASE.total_seconds())
        for plan in await plans(history, lambda: rows.claim_due(10, LEASE), pattern):
            assert "images_due" in plan, plan
            assert "Sort" not in plan, plan
            assert "TEMP B-TREE" not in plan, plan


async def test_who_refers_to_an_object_is_found_by_its_hash(history: Gallery) -> None:
    rows = PictureRows(history.database)
    (due, *_) = (await rows.claim_due(10, LEASE)).taken
    facts = PictureFacts("0" * 64, "image/png", 1, 1, 1, has_thumbnail=True, size_matches=True)

    async def record_and_withdraw() -> None:
        await rows.record_stored(due, facts)
        (reference,) = [r for r in await rows.references(due.job_id) if r.index == due.index]
        await rows.withdraw(reference)

    found = await plans(history, record_and_withdraw, "WHERE images.sha256 = ")
    assert len(found) == 2
    for plan in found:
        assert "images_sha256" in plan, plan
