"""Lookups that nobody answers."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from app.outbound.allow import AllowList
from app.outbound.client import OutboundClient
from app.outbound.errors import UnreachableError
from app.outbound.guard import Guard
from app.outbound.lookups import Lookups
from tests.outbound.conftest import DEADLINE, SHORT, answers
from tests.raw_server import Serve


class MuteResolver:
    """Says that it was asked, and answers with 127.0.0.1 when `release` is set."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.release = threading.Event()

    def __call__(self, *question: Any) -> Any:
        self.asked.set()
        self.release.wait(30)
        return socket.getaddrinfo("127.0.0.1", *question[1:])


def test_one_lookup_too_many_is_refused_at_once_until_another_ends() -> None:
    mute = MuteResolver()
    lookups = Lookups(mute, 1)
    first = threading.Thread(target=lookups, args=("a.example", 443))
    first.start()
    assert mute.asked.wait(30)

    with pytest.raises(socket.gaierror, match="too many"):
        lookups("b.example", 443)

    mute.release.set()
    first.join()
    assert lookups("c.example", 443)


def test_a_lookup_that_fails_gives_its_place_back() -> None:
    def failing(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    lookups = Lookups(failing, 1)
    for _ in range(2):
        with pytest.raises(socket.gaierror, match="no such name"):
            lookups("a.example", 443)


async def test_the_event_loop_goes_on_while_a_name_is_looked_up(serve: Serve) -> None:
    server = await serve(answers("204 No Content"))
    mute = MuteResolver()
    calls = OutboundClient(Guard(AllowList.parse("hooks.example")), resolver=mute)

    call = asyncio.create_task(
        calls.post(server.url_of("hooks.example"), b"{}", headers={}, deadline=DEADLINE, excerpt_max=100)
    )
    assert await asyncio.to_thread(mute.asked.wait, 30)
    mute.release.set()  # only a loop that runs gets here

    assert (await call).status == 204


async def test_a_mute_name_server_holds_a_call_no_longer_than_its_deadline_and_takes_no_more_than_its_places() -> None:
    mute = MuteResolver()
    calls = OutboundClient(Guard(AllowList()), resolver=mute, lookups=1)
    try:
        with pytest.raises(UnreachableError, match="deadline"):
            await calls.post("https://a.example/", b"{}", headers={}, deadline=SHORT, excerpt_max=100)
        with pytest.raises(UnreachableError, match="did not resolve"):
            await calls.post("https://b.example/", b"{}", headers={}, deadline=DEADLINE, excerpt_max=100)
    finally:
        mute.release.set()
