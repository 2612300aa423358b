"""A name server that changes its mind gains nothing."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from app.outbound.allow import AllowList
from app.outbound.client import OutboundClient
from app.outbound.errors import ForbiddenAddressError, UnreachableError
from app.outbound.guard import Guard
from tests.outbound.conftest import DEADLINE, answers
from tests.outbound.name_server import NameServer, name_server
from tests.raw_server import RawServer, Serve


async def outer_and_inner(serve: Serve) -> tuple[RawServer, RawServer]:
    """Two servers on one port: 127.0.0.1 is listed below, 127.0.0.2 is what must not be reached."""
    outer = await serve(answers("200 OK", b"outer"))
    return outer, await serve(answers("200 OK", b"inner"), address="127.0.0.2", port=outer.port)


def client(server: NameServer, allow: str = "127.0.0.1") -> OutboundClient:
    return OutboundClient(Guard(AllowList.parse(allow)), resolver=server.resolver())


async def test_a_name_that_moves_inside_after_the_lookup_is_reached_where_it_was_checked(serve: Serve) -> None:
    outer, inner = await outer_and_inner(serve)

    async with name_server(("127.0.0.1",), ("127.0.0.2",)) as names:
        answer = await client(names).get(outer.url_of("hooks.example"), deadline=DEADLINE, body_max=100)

        assert answer.body == b"outer"
        assert names.lookups == 1
    assert inner.connections == 0


async def test_a_name_that_has_moved_inside_is_refused_at_the_next_call(serve: Serve) -> None:
    outer, inner = await outer_and_inner(serve)

    async with name_server(("127.0.0.1",), ("127.0.0.2",)) as names:
        calls = client(names)
        await calls.get(outer.url_of("hooks.example"), deadline=DEADLINE, body_max=100)
        with pytest.raises(ForbiddenAddressError):
            await calls.get(outer.url_of("hooks.example"), deadline=DEADLINE, body_max=100)

        assert names.lookups == 2
    assert inner.connections == 0


async def test_a_redirect_to_the_same_name_is_looked_up_and_checked_anew(serve: Serve) -> None:
    outer = await serve(answers("302 Found", b"", "Location: /again"))
    inner = await serve(answers(), address="127.0.0.2", port=outer.port)

    async with name_server(("127.0.0.1",), ("127.0.0.2",)) as names:
        with pytest.raises(ForbiddenAddressError):
            await client(names).get(outer.url_of("hooks.example"), deadline=DEADLINE, body_max=100, redirects=3)

        assert names.lookups == 2
    assert (outer.connections, inner.connections) == (1, 0)


@pytest.mark.parametrize("order", [("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "127.0.0.1"), ("127.0.0.1", "::1")])
async def test_a_name_with_one_inner_address_among_others_is_refused_whole(serve: Serve, order: tuple[str, ...]) -> None:
    outer, inner = await outer_and_inner(serve)

    async with name_server(order) as names:
        with pytest.raises(ForbiddenAddressError):
            await client(names).get(outer.url_of("hooks.example"), deadline=DEADLINE, body_max=100)

    assert (outer.connections, inner.connections) == (0, 0)


@pytest.mark.parametrize("url", ["https://hooks.example/", "https://hooks.example:80/"])
@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:7f00:1", "64:ff9b::7f00:1"])
async def test_a_name_that_leads_inside_is_refused_and_the_refusal_does_not_tell_where(url: str, address: str) -> None:
    async with name_server((address,)) as names:
        with pytest.raises(ForbiddenAddressError) as refused:
            await client(names, "").post(url, b"{}", headers={}, deadline=DEADLINE, excerpt_max=100)

    assert str(refused.value) == "the host is not at a public address"


@pytest.mark.parametrize("address", ["169.254.169.254", "168.63.129.16", "fd00:ec2::254", "fe80::1", "::ffff:a9fe:a9fe"])
async def test_a_listed_name_that_leads_to_metadata_is_refused(address: str) -> None:
    async with name_server((address,)) as names:
        calls = client(names, "hooks.example,0.0.0.0/0,::/0")
        with pytest.raises(ForbiddenAddressError):
            await calls.post("http://hooks.example/", b"{}", headers={}, deadline=DEADLINE, excerpt_max=100)

        assert names.lookups == 1


async def test_a_name_without_addresses_is_unreachable() -> None:
    async with name_server(()) as names:
        with pytest.raises(UnreachableError, match="did not resolve"):
            await client(names).post("https://hooks.example/", b"{}", headers={}, deadline=DEADLINE, excerpt_max=100)


async def test_a_listed_name_is_looked_up_once_for_each_connection(serve: Serve) -> None:
    server = await serve(answers())
    asked: list[Any] = []

    def resolver(*question: Any) -> Any:
        asked.append(question[0])
        return socket.getaddrinfo("127.0.0.1", *question[1:])

    calls = OutboundClient(Guard(AllowList.parse("internal.example")), resolver=resolver)
    for _ in range(3):
        await calls.post(server.url_of("internal.example"), b"{}", headers={}, deadline=DEADLINE, excerpt_max=100)

    assert asked == ["internal.example"] * 3
    assert server.connections == 3
