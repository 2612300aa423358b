"""A job's timeline as Server-Sent Events: what was, then what happens, until the job is settled.

Source: WHATWG HTML, 9.2 "Server-sent events". The wire format is FastAPI's; its own loop is not used, since it can neither drop
a slow reader nor be let go at shutdown.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.types import Message, Send

from app.errors import StorageUnavailableError
from app.jobs.event_view import event_view
from app.lifecycle.job import Job, Life
from app.lifecycle.states import SETTLED, JobState
from app.settlement.watchers import EVENTS_AT_ONCE, Watch, Watchers
from app.storage.history import StoredEvent

log = structlog.get_logger(__name__)

RETRY_MS = (1000, 3000)  #: between these, so that the clients of a replica that stops do not come back as one
_SETTLING = {state.value: state for state in SETTLED}  #: the events that settle a job bear the names of the states


@dataclass(frozen=True, slots=True)
class Pace:
    """In seconds."""

    ping: float = 15.0  #: of silence, then a comment keeps proxies from cutting the connection
    send: float = 30.0  #: for the client to take in one piece; a slower one is dropped, and may resume
    life: float = 3600.0  #: then the client comes again, perhaps to a replica that has less to do


class EventStream(EventSourceResponse):
    """`retry:`, every event behind `after`, and the later ones as they happen; then `end`, once the job is settled.

    Without `end`, the client should come again with `Last-Event-ID`: the process stops, the stream's time is over, its key is
    no longer good, or it read too slowly. At most `EVENTS_AT_ONCE` events are in memory; all others stay in the database
    until there is room.
    """

    def __init__(
        self,
        watchers: Watchers,
        life: Life,
        after: int,
        *,
        for_admin: bool = False,
        admitted: Callable[[], Awaitable[bool]] | None = None,
        headers: Mapping[str, str] | None = None,
        pace: Pace = Pace(),
    ) -> None:
        """
        Args:
            for_admin: the client is told which key asked for something.
            admitted: whether the client may still hear what happens; asked before each look at it.
        """
        self._watchers, self._admitted, self._pace = watchers, admitted, pace
        self._for_admin = for_admin
        self._job_id = life.job.job_id
        self._pieces = self._tell(life.job, after)
        super().__init__(self._pieces, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})})

    async def stream_response(self, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._pace.send):
                await send(message)

        async with aclosing(self._pieces):  # whatever ends the sending ends the watch, and at once
            try:
                await super().stream_response(send_in_time)
            except TimeoutError:
                log.warning("a slow reader was dropped", job_id=str(self._job_id))

    async def _tell(self, job: Job, after: int) -> AsyncGenerator[bytes]:
        yield format_sse_event(retry=random.randint(*RETRY_MS))  # noqa: S311 - spreads load, hides nothing
        state = job.state if job.is_settled else None
        over_at = _monotonic() + self._pace.life
        with self._watchers.watch(job.job_id, after) as watch:
            while True:
                events = await _more(watch)
                if events:
                    yield b"".join(_event(event, for_admin=self._for_admin) for event in events)
                    state = _settled_by(events) or state
                if state is not None and _is_all(events):
                    yield format_sse_event(event="end", data_str=json.dumps({"state": state}))
                    return
                if watch.stopped or _monotonic() >= over_at:
                    return
                idle = events is None or _is_all(events)
                while idle and not await watch.rung(self._pace.ping):
                    yield KEEPALIVE_COMMENT
                    idle = events is not None and _monotonic() < over_at
                if not await self._may_go_on():
                    return

    async def _may_go_on(self) -> bool:
        try:
            return self._admitted is None or await self._admitted()
        except StorageUnavailableError:
            return True  # nothing can be read either, and the next look asks again


async def _more(watch: Watch) -> list[StoredEvent] | None:
    """None while the database is away: a stream outlives that, where an error would make a browser give up for good."""
    try:
        return await watch.more()
    except StorageUnavailableError:
        return None


def _is_all(events: Sequence[StoredEvent] | None) -> bool:
    """Whether nothing was left for the next read."""
    return events is not None and len(events) < EVENTS_AT_ONCE


def _settled_by(events: Sequence[StoredEvent]) -> JobState | None:
    return next((_SETTLING[event.type] for event in events if event.type in _SETTLING), None)


def _event(event: StoredEvent, *, for_admin: bool) -> bytes:
    view = event_view(event, for_admin=for_admin)
    return format_sse_event(id=str(view.id), event=view.type, data_str=view.model_dump_json())


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
