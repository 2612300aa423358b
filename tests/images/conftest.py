"""Picture stores of every kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from app.images.store import ImageStore, open_image_store
from tests.databases import OpenDatabase
from tests.images import s3
from tests.images.gallery import Gallery
from tests.images.picture_server import PictureServer, picture_server
from tests.storage.factory import HandClock


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    with s3.running_s3() as endpoint:
        yield endpoint


@pytest.fixture
def use_s3(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Points the usual variables at an endpoint."""

    def use(endpoint: str) -> None:
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)

    return use


@pytest.fixture
def s3_bucket(s3_server: str, use_s3: Callable[[str], None]) -> str:
    """The name of a fresh bucket."""
    use_s3(s3_server)
    bucket = f"pictures-{uuid4().hex}"
    s3.make_bucket(s3_server, bucket)
    return bucket


@pytest.fixture(params=["folder", "s3", "memory"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind, as GATEWAY_IMAGE_STORE_URL spells it."""
    if request.param == "folder":
        return f"file://{tmp_path}/data/images"
    if request.param == "s3":
        return f"s3://{request.getfixturevalue('s3_bucket')}/some/prefix"
    return "memory://"


@pytest.fixture
def image_store(store_url: str) -> ImageStore:
    store = open_image_store(store_url)
    assert store is not None
    return store


@pytest.fixture
def gallery(database_url: str, open_database: OpenDatabase) -> Gallery:
    clock = HandClock()
    return Gallery(open_database(database_url, clock=clock), clock)


@pytest.fixture
async def upstream() -> AsyncIterator[PictureServer]:
    async with picture_server() as served:
        yield served
