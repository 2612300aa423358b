"""Picture stores: one suite for a folder, S3 and memory; then what is special to each."""

from __future__ import annotations

import asyncio
import os
import queue
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from obstore.store import S3Store

from app.errors import SettingsError
from app.images.store import THUMBNAIL, ImageMissingError, ImageStore, ImageStoreUnavailableError, open_image_store
from app.images.writers import Writers

CHANCE = Random(5)
DATA = CHANCE.randbytes(1000)
SHA = sha256(DATA).hexdigest()
OTHER = sha256(b"another picture").hexdigest()
LONG = CHANCE.randbytes(9 * 1024 * 1024)
LONG_SHA = sha256(LONG).hexdigest()
QUICK = timedelta(seconds=0.3)
PATIENCE = 30  # seconds; far above the timeouts under test


async def whole(store: ImageStore, sha: str, extension: str, start: int = 0, stop: int | None = None) -> bytes:
    stored = await store.get(sha, extension, start=start, stop=stop)
    return b"".join([piece async for piece in stored.pieces])


def keys_in(store: ImageStore) -> list[str]:
    return sorted(found["path"] for batch in store.store.list() for found in batch)


def opened(url: str, timeout: timedelta = timedelta(seconds=PATIENCE)) -> ImageStore:
    store = open_image_store(url, timeout=timeout)
    assert store is not None
    return store


# Every kind.


async def test_what_was_put_is_read_back(image_store: ImageStore) -> None:
    await image_store.put_if_absent(SHA, "png", DATA)
    await image_store.put_if_absent(SHA, THUMBNAIL, b"small")
    assert await whole(image_store, SHA, "png") == DATA
    assert await whole(image_store, SHA, THUMBNAIL) == b"small"
    assert await image_store.head(SHA, "png") == len(DATA)
    assert (await image_store.get(SHA, "png", start=10, stop=20)).size == len(DATA)


async def test_objects_lie_under_their_hash(image_store: ImageStore) -> None:
    await image_store.put_if_absent(SHA, "webp", DATA)
    await image_store.put_if_absent(SHA, THUMBNAIL, b"small")
    folder = f"{SHA[:2]}/{SHA[2:4]}/{SHA}"
    assert keys_in(image_store) == [f"{folder}.thumb.webp", f"{folder}.webp"]


async def test_a_long_object_comes_in_pieces(image_store: ImageStore) -> None:
    await image_store.put_if_absent(LONG_SHA, "png", LONG)
    stored = await image_store.get(LONG_SHA, "png")
    sizes = [len(piece) async for piece in stored.pieces]
    assert len(sizes) > 1
    assert max(sizes) <= 4 * 1024 * 1024
    assert await whole(image_store, LONG_SHA, "png") == LONG


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (5, 9), (0, 4 << 20), (0, (4 << 20) + 1), ((4 << 20) - 1, (8 << 20) + 1), (7, None), (len(LONG) - 1, None)],
)
async def test_a_part_is_read_as_asked(image_store: ImageStore, start: int, stop: int | None) -> None:
    await image_store.put_if_absent(LONG_SHA, "png", LONG)
    assert await whole(image_store, LONG_SHA, "png", start, stop) == LONG[start:stop]


async def test_a_stop_past_the_end_means_the_end(image_store: ImageStore) -> None:
    await image_store.put_if_absent(SHA, "png", DATA)
    assert await whole(image_store, SHA, "png", 990, 5000) == DATA[990:]


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (3, 3), (3, 2)])
async def test_a_part_without_bytes_is_a_mistake_of_the_caller(image_store: ImageStore, start: int, stop: int | None) -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        await image_store.get(SHA, "png", start=start, stop=stop)


async def test_a_start_past_the_end_is_an_error_with_a_name(image_store: ImageStore) -> None:
    await image_store.put_if_absent(SHA, "png", DATA)
    with pytest.raises(ImageStoreUnavailableError):
        await image_store.get(SHA, "png", start=len(DATA))


async def test_a_second_put_is_success(image_store: ImageStore) -> None:
    await image_store.put_if_absent(SHA, "png", DATA)
    await image_store.put_if_absent(SHA, "png", DATA)
    assert await whole(image_store, SHA, "png") == DATA
    assert len(keys_in(image_store)) == 1


async def test_puts_of_the_same_object_at_once_all_succeed(image_store: ImageStore) -> None:
    await asyncio.gather(*(image_store.put_if_absent(SHA, "png", DATA) for _ in range(10)))
    assert await whole(image_store, SHA, "png") == DATA
    assert len(keys_in(image_store)) == 1


async def test_what_is_not_there_is_missing(image_store: ImageStore) -> None:
    await image_store.put_if_absent(SHA, "png", DATA)
    for sha, extension in ((OTHER, "png"), (SHA, "webp")):
        with pytest.raises(ImageMissingError):
            await image_store.get(sha, extension)
        with pytest.raises(ImageMissingError):
            await image_store.head(sha, extension)


async def test_delete_takes_one_object_and_no_other(image_store: ImageStore) -> None:
    await image_store.put_if_absent(SHA, "png", DATA)
    await image_store.put_if_absent(SHA, THUMBNAIL, b"small")
    await image_store.delete(SHA, "png")
    with pytest.raises(ImageMissingError):
        await image_store.head(SHA, "png")
    assert await whole(image_store, SHA, THUMBNAIL) == b"small"
    await image_store.put_if_absent(SHA, "png", DATA)
    assert await whole(image_store, SHA, "png") == DATA


async def test_delete_of_what_is_not_there_is_success(image_store: ImageStore) -> None:
    await image_store.delete(SHA, "png")
    await image_store.delete(SHA, "png")


async def test_an_object_deleted_while_it_is_read_is_an_error_and_no_short_picture(image_store: ImageStore) -> None:
    await image_store.put_if_absent(LONG_SHA, "png", LONG)
    stored = await image_store.get(LONG_SHA, "png")
    await image_store.delete(LONG_SHA, "png")
    with pytest.raises(ImageMissingError):
        [piece async for piece in stored.pieces]


async def test_the_check_passes_and_leaves_nothing(image_store: ImageStore) -> None:
    await image_store.check()
    assert keys_in(image_store) == []


@pytest.mark.parametrize(
    ("sha", "extension"),
    [
        ("../../etc/passwd", "png"),
        ("A" * 64, "png"),
        (SHA[:63], "png"),
        (SHA + "\n", "png"),
        ("٣" * 64, "png"),
        (SHA, "svg"),
        (SHA, "../png"),
        (SHA, ""),
    ],
)
async def test_only_a_hash_and_a_known_extension_make_a_key(image_store: ImageStore, sha: str, extension: str) -> None:
    for call in (
        image_store.put_if_absent(sha, extension, DATA),
        image_store.get(sha, extension),
        image_store.head(sha, extension),
        image_store.delete(sha, extension),
    ):
        with pytest.raises(ValueError, match="named by a SHA-256"):
            await call
    assert keys_in(image_store) == []


def test_the_store_works_on_the_loop_that_serves(store_url: str) -> None:
    import uvloop

    async def use() -> bytes:
        store = opened(store_url)
        await store.check()
        await store.put_if_absent(SHA, "png", DATA)
        return await whole(store, SHA, "png")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(use()) == DATA


# S3.


async def test_s3_keeps_the_type_and_the_prefix(s3_bucket: str) -> None:
    await opened(f"s3://{s3_bucket}/a/b").put_if_absent(SHA, "jpg", DATA)
    found = await S3Store(s3_bucket).get_async(f"a/b/{SHA[:2]}/{SHA[2:4]}/{SHA}.jpg")
    assert bytes(await found.bytes_async()) == DATA
    assert found.attributes["Content-Type"] == "image/jpeg"


async def test_s3_without_conditional_puts_is_served_too(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    store = opened(f"s3://{s3_bucket}")
    for _ in range(2):
        await store.put_if_absent(SHA, "png", DATA)
    assert await whole(store, SHA, "png") == DATA


async def assert_unavailable(store: ImageStore) -> None:
    """Every call says so, within its timeout, and none says that a picture is missing."""
    for call in (
        store.put_if_absent(SHA, "png", DATA),
        store.get(SHA, "png"),
        store.head(SHA, "png"),
        store.delete(SHA, "png"),
        store.check(),
    ):
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ImageStoreUnavailableError) as raised:
                await call
        assert "\n" not in str(raised.value)
        assert "anything" not in str(raised.value), "the secret"


async def test_a_bucket_that_is_not_there_is_no_missing_picture(s3_bucket: str) -> None:
    await assert_unavailable(opened(f"s3://{s3_bucket}-of-another/p"))


async def test_a_server_that_is_down_is_unavailable(use_s3: Callable[[str], None]) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # bound, never listening: refused
        use_s3(f"http://127.0.0.1:{unheard.getsockname()[1]}")
        await assert_unavailable(opened("s3://bucket", QUICK))


class Stubborn(asyncio.Protocol):
    """Gives the same answer to every request, and keeps the connection."""

    def __init__(self, answer: bytes, connections: list[asyncio.Transport]) -> None:
        self.answer, self.connections = answer, connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.connections.append(transport)

    def data_received(self, data: bytes) -> None:
        if b"\r\n\r\n" in data:
            self.transport.write(self.answer)


@asynccontextmanager
async def stubborn_server(answer: bytes) -> AsyncIterator[str]:
    connections: list[asyncio.Transport] = []
    server = await asyncio.get_running_loop().create_server(lambda: Stubborn(answer, connections), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for connection in connections:
            connection.abort()


async def assert_reading_is_unavailable(store: ImageStore, message: str) -> None:
    for call in (store.get(SHA, "png"), store.head(SHA, "png"), store.delete(SHA, "png")):
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ImageStoreUnavailableError, match=message):
                await call


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", id="forbidden"),
        pytest.param(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", id="unauthorized"),
        pytest.param(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", id="500"),
        pytest.param(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n", id="503"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", id="empty success"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="not HTTP"),
    ],
)
async def test_a_server_that_refuses_is_unavailable(use_s3: Callable[[str], None], answer: bytes) -> None:
    async with stubborn_server(answer) as endpoint:
        use_s3(endpoint)
        await assert_reading_is_unavailable(opened("s3://bucket"), "the picture store: ")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 20", b"HTTP/1.1 206 OK\r\nContent-Length: 100000\r\n\r\nabc"])
async def test_a_server_that_stops_in_the_middle_is_given_up_in_time(use_s3: Callable[[str], None], answer: bytes) -> None:
    async with stubborn_server(answer) as endpoint:
        use_s3(endpoint)
        store = opened("s3://bucket", QUICK)
        with pytest.raises(ImageStoreUnavailableError, match="in time"):
            await store.delete(SHA, "png")
        with pytest.raises(ImageStoreUnavailableError):
            await store.get(SHA, "png")


async def test_every_call_to_a_silent_server_is_given_up_in_time(use_s3: Callable[[str], None]) -> None:
    async with stubborn_server(b"") as endpoint:
        use_s3(endpoint)
        await assert_unavailable(opened("s3://bucket", QUICK))


# A folder.


async def test_a_relative_folder_is_made_and_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = opened("file://./data/images")
    monkeypatch.chdir("/")
    await store.put_if_absent(SHA, "png", DATA)
    assert (tmp_path / "data" / "images" / SHA[:2] / SHA[2:4] / f"{SHA}.png").read_bytes() == DATA


async def test_a_folder_is_found_again(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/with%20space"
    await opened(url).put_if_absent(SHA, "png", DATA)
    assert await whole(opened(url), SHA, "png") == DATA
    assert [each.name for each in tmp_path.iterdir()] == ["with space"]


async def test_a_folder_has_threads_of_its_own(tmp_path: Path) -> None:
    """The process's threads are all taken, and must not be all taken by a folder that hangs."""
    store, let_go = open_image_store(f"file://{tmp_path}/images"), threading.Event()
    assert store is not None
    with ThreadPoolExecutor(1) as common:
        asyncio.get_running_loop().set_default_executor(common)
        try:
            taken = asyncio.get_running_loop().run_in_executor(None, let_go.wait)
            async with asyncio.timeout(30):
                await store.put_if_absent("ab" * 32, "png", b"picture")
            assert not taken.done()
        finally:
            let_go.set()


async def test_a_folder_that_hangs_keeps_no_process_from_ending(tmp_path: Path) -> None:
    hangs = f"""
import asyncio, threading
from datetime import timedelta
from app.images import store

store._write_durably = lambda *_: threading.Event().wait()
opened = store.open_image_store("file://{tmp_path}/images", timeout=timedelta(milliseconds=50))
try:
    asyncio.run(opened.put_if_absent("ab" * 32, "png", b"picture"))
except store.ImageStoreUnavailableError as error:
    print(error)
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", hangs, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(60):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert (process.returncode, said) == (0, b"the picture store did not answer in time\n")


async def test_writes_that_hang_count_until_they_end() -> None:
    """However often they are given up and tried again, they fill the process with no threads."""
    writers, let_go, began = Writers(2), threading.Event(), queue.SimpleQueue[int]()

    def hang(number: int) -> None:
        began.put(number)
        let_go.wait()

    for number in range(4):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await writers.run(partial(hang, number))
    assert {began.get(timeout=PATIENCE) for _ in range(2)} == {0, 1}
    let_go.set()
    async with asyncio.timeout(PATIENCE):
        await writers.run(partial(hang, 9))
    assert began.get_nowait() == 9, "the two that waited were given up"


def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for url in (f"file://{tmp_path}/file", f"file://{tmp_path}/file/images"):
        with pytest.raises(SettingsError, match=r"GATEWAY_IMAGE_STORE_URL: the folder .*file.* cannot be made or written"):
            open_image_store(url)


def test_a_folder_that_cannot_be_written_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="GATEWAY_IMAGE_STORE_URL: the folder /proc/self cannot be made or written"):
        open_image_store("file:///proc/self")


async def test_a_folder_that_went_away_is_no_missing_picture_and_is_not_made_again(tmp_path: Path) -> None:
    store = opened(f"file://{tmp_path}/images")
    await store.put_if_absent(SHA, "png", DATA)
    (tmp_path / "images").rename(tmp_path / "unplugged")
    await assert_unavailable(store)
    assert not (tmp_path / "images").exists()
    (tmp_path / "unplugged").rename(tmp_path / "images")
    assert await whole(store, SHA, "png") == DATA


async def test_a_put_that_fails_leaves_no_draft(tmp_path: Path) -> None:
    store = opened(f"file://{tmp_path}")
    in_the_way = tmp_path / SHA[:2] / SHA[2:4] / f"{SHA}.png"
    in_the_way.mkdir(parents=True)
    with pytest.raises(ImageStoreUnavailableError):
        await store.put_if_absent(SHA, "png", DATA)
    assert list(in_the_way.parent.iterdir()) == [in_the_way]


async def test_a_put_heals_a_file_that_was_spoilt(tmp_path: Path) -> None:
    store = opened(f"file://{tmp_path}")
    await store.put_if_absent(SHA, "png", DATA)
    (tmp_path / SHA[:2] / SHA[2:4] / f"{SHA}.png").write_bytes(b"")
    await store.put_if_absent(SHA, "png", DATA)
    assert await whole(store, SHA, "png") == DATA


async def test_a_file_is_on_disk_before_it_has_its_name_and_the_name_before_the_put_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[Path, bool]] = []
    target = tmp_path / SHA[:2] / SHA[2:4] / f"{SHA}.png"
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink(), target.exists()))
        fsync(descriptor)

    store = opened(f"file://{tmp_path}")
    monkeypatch.setattr(os, "fsync", noted)
    await store.put_if_absent(SHA, "png", DATA)
    draft, *folders = synced
    assert draft[0].parent == target.parent
    assert draft[1] is False
    assert sorted(folders) == sorted((folder, True) for folder in (tmp_path, target.parent.parent, target.parent))


# The setting.


def test_off_is_no_store() -> None:
    assert open_image_store("off") is None


@pytest.mark.parametrize(
    "url",
    ["", "OFF", "data/images", "file://", "file://data/images", "file://./a%00b", "s3://", "s3:///x", "s3://b/x?y=1",
     "s3://id:secret@bucket/x", "http://127.0.0.1/x", "ftp://x/y", "gs://bucket", "az://container", "memory://x"],
)  # fmt: skip
def test_a_text_that_names_no_store_is_refused_by_the_settings_name(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^GATEWAY_IMAGE_STORE_URL: write ") as raised:
        open_image_store(url)
    assert "secret" not in str(raised.value)


def test_a_bad_variable_of_s3_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ALLOW_HTTP", "perhaps")
    with pytest.raises(SettingsError, match=r"GATEWAY_IMAGE_STORE_URL: .*perhaps"):
        open_image_store("s3://bucket")
