"""Where pictures are kept: a local folder, S3 and its like. Objects are named by their picture's hash and never change.

`ab/cd/<sha256>.png` is a picture, `ab/cd/<sha256>.thumb.webp` its thumbnail.

Errors (both mean that nothing was lost):

    GatewayError
    ├── ImageStoreUnavailableError    the store is away, full, or refuses; try again
    └── ImageMissingError             the store works and does not have the object
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote
from uuid import uuid4

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, MemoryStore, S3Store

from app.errors import GatewayError, SettingsError
from app.images.writers import Writers

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

T = TypeVar("T")

THUMBNAIL = "thumb.webp"  #: the extension of a picture's thumbnail

_PIECE = 1024 * 1024  # bytes of one read
_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", THUMBNAIL: "image/webp"}
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_BUCKET = re.compile(r"s3://[^/\s?#@]+(/[^\s?#]*)?")
_RETRIES = 2
_WRITERS = 8  # threads that write to a folder


class ImageStoreUnavailableError(GatewayError):
    """The picture store is out of reach or refused to work; try again."""


class ImageMissingError(GatewayError):
    """The picture store does not have this object."""


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """An object, or a part of it, being read."""

    size: int  #: of the whole object, in bytes
    pieces: AsyncIterator[bytes]  #: all bytes that were asked for; raises as `ImageStore.get` does


@dataclass(frozen=True, slots=True)
class ImageStore:
    """All calls end within `timeout`. One that is given up may still take effect: harmless for a put; after a delete, a
    picture that came back meanwhile has to be put again.

    Raises (every call):
        ImageStoreUnavailableError: the store did not do it in time, or refused.
        ValueError: the hash is not 64 lower-case hex digits, or nobody keeps such an extension.
    """

    store: ObjectStore = field(repr=False)
    folder: Path | None = None  #: where the store is a local folder
    timeout: timedelta = timedelta(seconds=30)
    #: Threads of its own: a folder that hangs must not hold up what else the process does in threads, nor its end.
    writers: Writers = field(default_factory=lambda: Writers(_WRITERS), repr=False, compare=False)

    async def put_if_absent(self, sha256: str, extension: str, data: bytes) -> None:
        """Keeps the object; when this returns it is durable. An object that is there already is success."""
        key = _key(sha256, extension)
        await self._bounded(self._put(key, data, _TYPES[extension]))

    async def get(self, sha256: str, extension: str, *, start: int = 0, stop: int | None = None) -> StoredBytes:
        """Reads from `start` to before `stop`; a stop past the end means the end. The first piece is here on return.

        The rest is read piece by piece as it is asked for: a slow reader holds no connection to the store, and at most
        1 MiB in memory. `start` must lie inside the object: its size is known to whoever asks for a part.

        Raises:
            ImageMissingError: there is no such object.
        """
        if start < 0 or (stop is not None and stop <= start):
            raise ValueError("a part has at least one byte")
        key = _key(sha256, extension)
        first, size = await self._read(key, start, start + _PIECE if stop is None else min(stop, start + _PIECE))
        end = size if stop is None else min(stop, size)
        return StoredBytes(size, self._pieces(key, first, start, end))

    async def head(self, sha256: str, extension: str) -> int:
        """The object's size in bytes.

        Raises:
            ImageMissingError: there is no such object.
        """
        # One byte is read, as the answer to a HEAD cannot say whether the object is missing or its bucket.
        _, size = await self._read(_key(sha256, extension), 0, 1)
        return size

    async def delete(self, sha256: str, extension: str) -> None:
        """Takes the object away; one that is not there is success."""
        with suppress(ImageMissingError):
            await self._bounded(self.store.delete_async(_key(sha256, extension)))

    async def check(self) -> None:
        """Writes, reads and deletes a probe: proof that pictures can be kept here now."""
        key, content = f"probe/{uuid4().hex}", b"May pictures be kept here?"
        found = b""
        await self._bounded(self._put(key, content, "application/octet-stream"))
        with suppress(ImageMissingError):
            found, _ = await self._read(key, 0, len(content))
            await self._bounded(self.store.delete_async(key))
        if found != content:
            raise ImageStoreUnavailableError("the picture store does not give back what was written to it")

    async def _put(self, key: str, data: bytes, media_type: str) -> None:
        if self.folder is not None:
            await self.writers.run(partial(_write_durably, self.folder, key, data))
            return
        put = partial(self.store.put_async, key, data, attributes={"Content-Type": media_type}, use_multipart=False)
        try:
            await put(mode="create")
        except AlreadyExistsError:
            pass
        except NotImplementedError:  # AWS_CONDITIONAL_PUT=disabled; under this key there are never other bytes
            await put(mode="overwrite")

    async def _read(self, key: str, start: int, stop: int) -> tuple[bytes, int]:
        """The bytes, and the size of the whole object."""

        async def read() -> tuple[bytes, int]:
            found = await self.store.get_async(key, options={"range": (start, stop)})
            return bytes(await found.bytes_async()), found.meta["size"]

        return await self._bounded(read())

    async def _pieces(self, key: str, first: bytes, start: int, stop: int) -> AsyncIterator[bytes]:
        yield first
        position = start + len(first)
        while position < stop:
            piece, _ = await self._read(key, position, min(stop, position + _PIECE))
            if not piece:
                raise ImageStoreUnavailableError("the picture store stopped before the end of the object")
            yield piece
            position += len(piece)

    async def _bounded(self, call: Awaitable[T]) -> T:
        """Translates what obstore, the file system and the clock raise."""
        try:
            async with asyncio.timeout(self.timeout.total_seconds()):
                return await call
        except FileNotFoundError as error:
            if self._is_gone(error):
                raise ImageStoreUnavailableError("the folder or bucket of the picture store is not there") from error
            raise ImageMissingError from error
        except TimeoutError as error:
            raise ImageStoreUnavailableError("the picture store did not answer in time") from error
        except (BaseError, OSError, ValueError, NotImplementedError) as error:
            raise ImageStoreUnavailableError(f"the picture store: {_first_line(error)}") from error

    def _is_gone(self, error: FileNotFoundError) -> bool:
        if self.folder is not None:
            return not self.folder.is_dir()
        return "NoSuchBucket" in str(error)  # S3 says 404 here too


def open_image_store(url: str, *, timeout: timedelta = timedelta(seconds=30)) -> ImageStore | None:
    """The store that GATEWAY_IMAGE_STORE_URL names; None when it is `off`.

    `file://./folder` and `file:///folder` (made where it is missing), `s3://bucket/prefix`, and `memory://` for tests. S3's
    credentials and endpoint come from its usual variables: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
    AWS_ENDPOINT_URL, and AWS_ALLOW_HTTP=true for an endpoint without TLS. Nothing is sent to it yet: `ImageStore.check`
    proves that it works.

    Raises:
        SettingsError: the text names no store, or a folder that cannot be made or written.
    """
    if url == "off":
        return None
    if url == "memory://":
        return ImageStore(MemoryStore(), timeout=timeout)
    if url.startswith("file://"):
        folder = _ready_folder(url)
        return ImageStore(LocalStore(folder), folder, timeout)
    if _BUCKET.fullmatch(url) is None:
        raise _bad_url("write file://./folder, s3://bucket/prefix or off")
    try:
        retries: RetryConfig = {"max_retries": _RETRIES, "retry_timeout": timeout}
        # No client options here: they would take the place of AWS_ALLOW_HTTP and its like.
        return ImageStore(S3Store.from_url(url, retry_config=retries), timeout=timeout)
    except (BaseError, ValueError) as error:
        raise _bad_url(_first_line(error)) from None


def _key(sha256: str, extension: str) -> str:
    """The one place where keys are made: nothing but a hash and a known ending can be in one."""
    if _SHA256.fullmatch(sha256) is None or extension not in _TYPES:
        raise ValueError("an object is named by a SHA-256 in lower-case hex and a known extension")
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}.{extension}"


def _write_durably(root: Path, key: str, data: bytes) -> None:
    """Draft, fsync, rename, fsync of the folders.

    obstore's own put links the file without any fsync: after a power cut an empty one may bear the name for ever, since
    nothing would write it again. Here an existing file is written anew, which also heals one that a disk has spoilt; the
    root is not made again, as a volume that is not mounted must not look like an empty store.
    """
    target = root / key
    folders = [root / folder for folder in reversed(Path(key).parents)]
    for folder in folders[1:]:
        folder.mkdir(exist_ok=True)
    draft = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    for folder in folders:
        _sync(folder)


def _sync(folder: Path) -> None:
    """Makes names in a folder durable."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot, and need not
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _ready_folder(url: str) -> Path:
    text = unquote(url.removeprefix("file://"))
    if not text.startswith(("/", "./", "../")) or "\0" in text:
        raise _bad_url("write file://./folder or file:///folder")
    folder = Path(text).absolute()
    try:
        _make(folder)
        with TemporaryFile(dir=folder):  # only a try shows a read-only file system
            pass
    except OSError as error:
        raise _bad_url(f"the folder {folder} cannot be made or written: {error.strerror}") from None
    return folder


def _make(folder: Path) -> None:
    """Makes a folder that a power cut does not take away again."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in made:
        _sync(each.parent)


def _bad_url(message: str) -> SettingsError:
    return SettingsError(f"GATEWAY_IMAGE_STORE_URL: {message}")


def _first_line(error: Exception) -> str:
    """obstore appends the whole story of an error; the first line says what happened."""
    return str(error).partition("\n")[0][:200]
