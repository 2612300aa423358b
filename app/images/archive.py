"""Upstream → ours: fetches the pictures of settled jobs, inspects them, keeps them, and lets go of them again.

It is a thing apart from the jobs: whatever happens here, a settled job stays as it is. What cannot be archived now is tried
again later (`next_try`); the reason is on the picture's row. Claim → fetch and put, with no transaction open → record under a
guard: a process that dies on the way leaves at most an object that no row names, and the next try finds it there.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from app.errors import StorageUnavailableError
from app.images.fetch import DEADLINE, FetchFailedError, fetch
from app.images.inspect import EXTENSIONS, UnusablePictureError, inspect
from app.images.inspect import Picture as Inspected
from app.images.next_try import TRIES, after_failure
from app.images.store import THUMBNAIL, ImageMissingError, ImageStore, ImageStoreUnavailableError
from app.lifecycle.job import Picture, PictureState
from app.loops import Wake
from app.metrics import Metrics
from app.outbound.client import OutboundClient
from app.outbound.errors import OutboundError
from app.storage.images import DuePicture, PictureFacts, PictureRows, Recorded
from app.storage.until_stored import until_stored
from app.traces.spans import Span, Traces

log = structlog.get_logger(__name__)

FETCHERS = 8  #: pictures under way at once in one process; each holds up to twice 32 MiB
RESTORERS = 2  #: lost objects fetched again at once
LEASE = timedelta(minutes=5)  #: longer than a download, a put and their waits take
SOON = timedelta(seconds=5)  #: the pause after something that passes by itself
PROBE_PAUSE = 5.0  #: seconds between two looks at a picture store that is down
JITTER = 0.2

_TROUBLE = (FetchFailedError, OutboundError, UnusablePictureError, ImageStoreUnavailableError, MemoryError)


class ImageArchive:
    """`sweep` is one pass; what it claims is archived by tasks of their own.

    Args:
        wake: the bell of the loop that sweeps.
        deadline: for one download.
        monotonic: seconds, for the pauses between looks at a store that is down.

    Attributes:
        store: where the pictures are kept.
        store_is_down: whether this process found it so and waits for it.
    """

    def __init__(
        self,
        pictures: PictureRows,
        store: ImageStore,
        client: OutboundClient,
        wake: Wake,
        *,
        deadline: timedelta = DEADLINE,
        monotonic: Callable[[], float] = time.monotonic,
        metrics: Metrics | None = None,
        traces: Traces | None = None,
    ) -> None:
        self.store = store
        self._pictures, self._client, self._wake, self._deadline = pictures, client, wake, deadline
        self._monotonic, self._probe_at = monotonic, -math.inf
        self._metrics, self._traces = metrics or Metrics(), traces or Traces()
        self._inspectors = asyncio.Semaphore(1)  # the largest picture allowed takes 800 MB while it is decoded
        self._working: set[asyncio.Task[None]] = set()
        self._aside: set[asyncio.Task[None]] = set()
        self._restoring: set[str | None] = set()
        self.store_is_down = self._stopping = False

    async def sweep(self) -> float | None:
        """Claims what is due, as much as there are free fetchers; returns when to come again, in seconds.

        While the picture store is down nothing is claimed: its pictures would be downloaded for nothing.
        """
        free = FETCHERS - len(self._working)
        if self._stopping:
            return None
        if self.store_is_down:
            return self._look_at_the_store()
        if free <= 0:
            return None
        claim = await self._pictures.claim_due(free, LEASE)
        for due in claim.taken:
            self._begin(self._working, self._archive(due, claim.now))
        if claim.taken:
            return 0.0
        return (claim.retry_at - claim.now).total_seconds() if claim.retry_at else None

    def restore(self, job_id: UUID, picture: Picture) -> None:
        """The object of a stored picture is not in the store: fetches it again, beside whatever goes on.

        The row stays as it is, so that nothing is lost where the store was only another one than it should be: what the
        upstream serves is kept if it is the very same picture.
        """
        log.error("a stored picture is missing", job_id=str(job_id), index=picture.index, sha256=picture.sha256)
        if not self._stopping and len(self._restoring) < RESTORERS and picture.sha256 not in self._restoring:
            self._restoring.add(picture.sha256)
            self._begin(self._aside, self._restore(job_id, picture))

    async def let_pictures_go(self, job_id: UUID) -> None:
        """Lets go of a job's pictures: an object that no other job's picture refers to is deleted.

        For before the job itself is deleted; it may be repeated, and must be after a crash or an error.

        Raises:
            ImageStoreUnavailableError: an object could not be deleted.
            StorageUnavailableError: the database is out of reach.
        """
        for reference in await self._pictures.references(job_id):
            if await self._pictures.withdraw(reference):
                for extension in (THUMBNAIL, EXTENSIONS[reference.media_type]):
                    await self.store.delete(reference.sha256, extension)
                await self._pictures.forget(reference)

    async def idle(self) -> None:
        """Returns when nothing is under way."""
        while tasks := self._working | self._aside:
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self, grace: float) -> None:
        """Waits up to `grace` seconds for what is under way. What is cut off is fetched again when its lease runs out."""
        self._stopping = True
        for task in self._aside:
            task.cancel()
        if self._working:
            _, late = await asyncio.wait(self._working, timeout=grace)
            for task in late:
                task.cancel()
        await asyncio.gather(*self._working, *self._aside, return_exceptions=True)

    def _begin(self, group: set[asyncio.Task[None]], work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        group.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        was_full = len(self._working) >= FETCHERS
        self._working.discard(task)
        self._aside.discard(task)
        if was_full:
            self._wake.ring()
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, StorageUnavailableError):
            log.warning("what became of a picture was not written down; it is fetched again", reason=str(error))
        else:
            log.error("archiving a picture failed", exc_info=error)

    async def _archive(self, due: DuePicture, now: datetime) -> None:
        with self._traces.work(
            "archive",
            caused_by=due.traceparent,
            job_id=str(due.job_id),
            tenant=due.tenant,
            index=due.index,
            attempt=due.attempts,
        ) as span:
            await self._archive_within(span, due, now)

    async def _archive_within(self, span: Span, due: DuePicture, now: datetime) -> None:
        if due.attempts > TRIES:  # ended by nobody: each try took its process with it
            await self._pictures.end(due, PictureState.GIVEN_UP, "every try was cut off")
            self._tried(span, "given_up")
            return
        try:
            data = await fetch(self._client, due.source_url, deadline=self._deadline)
            found = await self._inspected(data, due.size)
            await self._put(found, data)
        except Exception as error:  # noqa: BLE001 - a surprise must not come again and again with no reason on the row
            await self._failed(span, due, error, now)
            return
        # Whoever claims it when the lease is over writes it down just as well; but that takes minutes.
        recorded = await until_stored(lambda: self._pictures.record_stored(due, _facts(found)))
        if recorded is Recorded.STORED:
            log.info("picture stored", **_named(due), bytes=found.byte_count, sha256=found.sha256, attempts=due.attempts)
            self._tried(span, "stored")
            await self._make_sure(found, data)
        elif recorded is Recorded.WITHDRAWN:
            span.ended("withdrawn", failed=False)
            await self._pictures.postpone(due, "its object is being deleted just now", SOON, counts=False)

    async def _inspected(self, data: bytes, size: str | None = None) -> Inspected:
        async with self._inspectors:
            return await asyncio.to_thread(inspect, data, expected_size=size)

    async def _put(self, found: Inspected, data: bytes) -> None:
        await self.store.put_if_absent(found.sha256, found.extension, data)
        await self.store.put_if_absent(found.sha256, THUMBNAIL, found.thumbnail)

    async def _make_sure(self, found: Inspected, data: bytes) -> None:
        """The look after the record; see `storage.images`, where it says why."""
        try:
            await self.store.head(found.sha256, found.extension)
            await self.store.head(found.sha256, THUMBNAIL)
        except ImageMissingError:
            await self._put(found, data)

    async def _failed(self, span: Span, due: DuePicture, error: Exception, now: datetime) -> None:
        if isinstance(error, ImageStoreUnavailableError):
            self.store_is_down = True
        step, told = after_failure(error, attempt=due.attempts, age=due.age(now)), _told(error)
        log.warning("picture not stored", **_named(due), reason=told, state=step.state.value, attempts=due.attempts)
        self._tried(span, "failed" if step.pause is not None else step.state.value)
        if step.pause is None:
            await self._pictures.end(due, step.state, told)
        else:
            pause = step.pause * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, hides nothing
            await self._pictures.postpone(due, told, pause, counts=step.counts)

    def _tried(self, span: Span, outcome: str) -> None:
        self._metrics.image_tried(outcome)
        span.ended(outcome, failed=outcome != "stored")

    def _look_at_the_store(self) -> float:
        """Begins a probe, unless one is under way or has just been made; returns when to come again, in seconds.

        A store that hangs holds a probe for a while, and every job that settles with pictures asks for a sweep.
        """
        pause = self._probe_at - self._monotonic()
        if pause <= 0:
            self._probe_at = math.inf
            self._begin(self._aside, self._probe())
        return pause if pause > 0 else PROBE_PAUSE

    async def _probe(self) -> None:
        try:
            await self.store.check()
        except ImageStoreUnavailableError as error:
            log.error("the picture store is down; pictures wait", reason=str(error))
        else:
            self.store_is_down = False
            self._wake.ring()
        finally:
            self._probe_at = self._monotonic() + PROBE_PAUSE

    async def _restore(self, job_id: UUID, picture: Picture) -> None:
        try:
            data = await fetch(self._client, picture.source_url, deadline=self._deadline)
            found = await self._inspected(data)
            same = found.sha256 == picture.sha256
            if same:
                await self._put(found, data)
            log.info("a missing picture was looked for", job_id=str(job_id), index=picture.index, restored=same)
        except Exception as error:  # noqa: BLE001 - its trace may hold the address
            log.warning("a missing picture stays missing", job_id=str(job_id), index=picture.index, reason=_told(error))
        finally:
            self._restoring.discard(picture.sha256)


def _facts(found: Inspected) -> PictureFacts:
    return PictureFacts(
        found.sha256, found.media_type, found.width, found.height, found.byte_count, bool(found.thumbnail), found.size_matches
    )


def _named(due: DuePicture) -> dict[str, object]:
    """For the log: the host alone, since the rest of the address may open the picture for anybody who reads it."""
    return {"job_id": str(due.job_id), "index": due.index, "host": urlsplit(due.source_url).hostname}


def _told(error: Exception) -> str:
    """For the row and the log, in one line that a database can keep."""
    if not isinstance(error, _TROUBLE):  # its text may hold the address, and that opens the picture
        return f"archiving it failed: {type(error).__name__}"
    text = f"{error.reason}: {error}" if isinstance(error, UnusablePictureError) else str(error)
    text = text or "this machine has too little memory just now"
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300]
