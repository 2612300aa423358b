"""What strangers send with a token that is not good is neither kept nor read, and the bodies in hand are bounded."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import FrameType, SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app import problems
from app.callbacks.bodies_in_hand import BodiesInHand
from app.callbacks.receive import READ_AT_ONCE_MAX
from app.callbacks.router import BODY_MAX, router
from app.storage.receipts import CallbackOutcome
from app.upstream.wire import read_callback
from tests.acceptance.stage import Stage
from tests.callbacks.test_callback_tokens import UNKNOWN, callback_url

GOOD = "good"
COSTLY = {"form": b"a=" + b"%41" * 340_000, "list": b"[" + b"1," * 500_000 + b"1]"}


@pytest.mark.parametrize("kind", COSTLY)
async def test_nothing_that_comes_with_an_unknown_token_is_read_and_nothing_large_holds_up_other_work(
    stage: Stage, kind: str
) -> None:
    assert READ_AT_ONCE_MAX < len(COSTLY[kind]) <= BODY_MAX
    await stage.accept()
    good = await callback_url(stage)
    for url, body, status, read_here in (
        (f"/callbacks/{UNKNOWN}", b"{}", 404, False),
        (f"/callbacks/{UNKNOWN}", COSTLY[kind], 404, False),
        (good, COSTLY[kind], 204, False),
        (good, b"{}", 204, True),
    ):
        with called_here() as called:
            assert (await stage.api.post(url, content=body)).status_code == status
        assert (read_callback.__code__ in called) is read_here, (url, len(body))


class FewBodies:
    """A receiver with room for ten bytes, which is done when it is let go."""

    def __init__(self) -> None:
        self.bodies = BodiesInHand(most=10)
        self.received: list[bytes] = []
        self.away: list[int] = []
        self.go = asyncio.Event()

    async def knows(self, token: str) -> bool:
        return token == GOOD

    async def receive(self, _token: str, _content_type: str | None, body: bytes) -> CallbackOutcome:
        self.received.append(body)
        await self.go.wait()
        return CallbackOutcome.POKED

    def turned_away(self, body_bytes: int) -> None:
        self.away.append(body_bytes)


async def test_bodies_beyond_the_bound_are_told_to_come_again_and_places_come_back() -> None:
    receiver = FewBodies()
    async with served(receiver) as upstream:
        first = Pieces(b"12345", b"67")
        under_way = asyncio.create_task(upstream.post(f"/callbacks/{GOOD}", content=first))
        await first.asked.wait()
        refused = await upstream.post(f"/callbacks/{GOOD}", content=b"123456")
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_connections")
        assert refused.json()["detail"] == "Too many bytes of callbacks at once; try again."
        assert int(refused.headers["retry-after"]) > 0
        assert refused.headers["connection"] == "close"
        first.go.set()
        receiver.go.set()
        assert (await under_way).status_code == 204
        assert (await upstream.post(f"/callbacks/{GOOD}", content=b"1234567890")).status_code == 204
        assert (await upstream.post(f"/callbacks/{GOOD}", content=b"12345678901")).status_code == 503
        assert (await upstream.post(f"/callbacks/{GOOD}", content=b"1234567890")).status_code == 204
    assert receiver.received == [b"1234567", b"1234567890", b"1234567890"]


async def test_the_bodies_of_strangers_take_no_room() -> None:
    receiver = FewBodies()
    async with served(receiver) as stranger:
        answers = [await stranger.post(f"/callbacks/{UNKNOWN}", content=b"x" * 1000) for _ in range(3)]
        too_long = await stranger.post(f"/callbacks/{UNKNOWN}", content=b"x" * (BODY_MAX + 1))
    assert [answer.status_code for answer in answers] == [404] * 3
    assert too_long.status_code == 413
    assert (receiver.away, receiver.received) == ([1000] * 3, [])


class Pieces:
    """A body whose last piece comes when it is let go."""

    def __init__(self, first: bytes, last: bytes) -> None:
        self._first, self._last = first, last
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._first
        self.asked.set()  # for the next piece: the first was taken
        await self.go.wait()
        yield self._last


def served(receiver: FewBodies) -> httpx.AsyncClient:
    app = FastAPI()
    problems.install(app)
    app.include_router(router)

    async def with_gateway(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": {"gateway": SimpleNamespace(callbacks=receiver)}}, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(with_gateway), base_url="http://gateway")


@contextmanager
def called_here() -> Iterator[set[Any]]:
    """The code of every function that this thread calls meanwhile."""
    called: set[Any] = set()

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            called.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(before)
