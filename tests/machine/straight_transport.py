"""An httpx transport that speaks straight to the emulator's world: no socket, no waiting, and every mishap at will."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal

import httpx

from app.emulator.answer import Answer
from app.emulator.world import World

#: What becomes of one exchange on our side of the wire.
#: `killed-before`: our process dies before the request is made. `killed-after`: it dies before the answer is read.
#: `held`: the answer is there, and whoever waits for it is slow.
Fate = Literal["plain", "killed-before", "killed-after", "held"]


class Killed(BaseException):
    """Our process died here. No `except Exception` of ours may survive it, as none survives a SIGKILL."""


class StraightTransport(httpx.AsyncBaseTransport):
    """Hands requests to `world`, and answers back as the world wants them treated."""

    def __init__(
        self,
        world: World,
        before_submit: Callable[[dict[str, Any]], Awaitable[None]],
        call_back_first: Callable[[str], Awaitable[None]],
    ) -> None:
        self._world, self._before_submit, self._call_back_first = world, before_submit, call_back_first
        self.fates: list[Fate] = []  #: of the next exchanges; then all is plain
        self.unreachable = False  #: no connection can be made
        self.violations: list[str] = []
        self.told_by_answer: set[str] = set()
        self.read_to_the_end: set[str] = set()  #: tasks whose end a check has read, in time
        self.read_late: set[str] = set()  #: the same, by a check whose answer was held
        self._parked: dict[asyncio.Task[Any], asyncio.Event] = {}
        self._parking = asyncio.Event()
        self._dying = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._dying = False
        if self.unreachable:
            raise httpx.ConnectError("refused", request=request)
        fate = self.fates.pop(0) if self.fates else "plain"
        if fate == "killed-before":
            raise Killed
        is_submit = request.method == "POST"
        answer = await (self._submit(request) if is_submit else self._status(request))
        if fate == "killed-after":
            raise Killed
        if fate == "held":
            await self._park()
        self._note(request, answer, held=fate == "held")
        return _response(request, answer)

    # --- holding ---

    async def quiet(self, tasks: Callable[[], set[asyncio.Task[Any]]]) -> None:
        """Returns when each of these tasks has ended, or waits for an answer that is held."""
        while busy := tasks() - self._parked.keys():
            self._parking.clear()
            parking = asyncio.create_task(self._parking.wait())
            await asyncio.wait({*busy, parking}, return_when=asyncio.FIRST_COMPLETED)
            parking.cancel()

    def release(self, *, newest_first: bool = False) -> None:
        """Lets the held answers go, all of them; whoever waited for them runs in this order."""
        events = list(self._parked.values())
        self._parked.clear()
        for event in reversed(events) if newest_first else events:
            event.set()

    def kill_parked(self) -> None:
        """Whoever waits for a held answer dies there."""
        self._dying = True
        self.release()

    @property
    def holds(self) -> bool:
        return bool(self._parked)

    async def _park(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        event = self._parked[task] = asyncio.Event()
        self._parking.set()
        await event.wait()
        if self._dying:
            raise Killed

    # --- the world ---

    async def _submit(self, request: httpx.Request) -> Answer:
        body = await request.aread()
        await self._before_submit(json.loads(body))
        answer = self._world.submit(request.headers.get("authorization"), body)
        if answer.held_for is not None:
            await self._call_back_first(answer.held_for)
        return answer

    async def _status(self, request: httpx.Request) -> Answer:
        return self._world.status(request.headers.get("authorization"), request.url.params.get("task_id"))

    def _note(self, request: httpx.Request, answer: Answer, *, held: bool) -> None:
        """What this answer tells us, if it arrives whole."""
        if answer.lost != "no":
            return
        try:
            data = json.loads(answer.body)["data"] or {}
        except (ValueError, KeyError, TypeError):
            return
        if request.method == "POST" and data.get("task_id"):
            self.told_by_answer.add(data["task_id"])
        elif answer.status == 200 and (data.get("status") == "FAILED" or data.get("response")):
            (self.read_late if held else self.read_to_the_end).add(data["task_id"])


def _response(request: httpx.Request, answer: Answer) -> httpx.Response:
    if answer.lost == "hang":
        raise httpx.ReadTimeout("no answer in time", request=request)
    if answer.lost == "truncated":
        if not answer.body:
            raise httpx.RemoteProtocolError("closed without an answer", request=request)
        return httpx.Response(answer.status, headers=dict(answer.headers), stream=_BrokenOff(answer.body))
    return httpx.Response(answer.status, headers=dict(answer.headers), stream=httpx.ByteStream(answer.body))


class _BrokenOff(httpx.AsyncByteStream):
    """Half of a body, and then the connection is gone."""

    def __init__(self, body: bytes) -> None:
        self._half = body[: len(body) // 2]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._half
        raise httpx.RemoteProtocolError("peer closed the connection inside the body")
