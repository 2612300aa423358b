"""Calls to real servers on loopback, which the list opens."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from typing import Any

import pytest

from app.outbound.allow import AllowList
from app.outbound.client import Answer, OutboundClient
from app.outbound.errors import ForbiddenAddressError, TooLargeError, UnreachableError, UnreadableError
from app.outbound.guard import Guard
from tests.outbound.conftest import DEADLINE, SHORT, SOON, Certificate, answers, http
from tests.raw_server import Conversation, RawServer, Script, Serve


def client(allow: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None) -> OutboundClient:
    """Finds every name on 127.0.0.1."""

    def resolver(_: str, *question: Any) -> Any:
        return socket.getaddrinfo("127.0.0.1", *question)

    return OutboundClient(Guard(AllowList.parse(allow)), resolver=resolver, tls=tls)


async def get(url: str, *, body_max: int = 1000, **more: Any) -> Answer:
    return await client().get(url, **{"deadline": DEADLINE, "body_max": body_max, **more})


async def post(url: str, *, excerpt_max: int = 1000, **more: Any) -> Answer:
    return await client().post(url, b'{"a":1}', **{"headers": {}, "deadline": DEADLINE, "excerpt_max": excerpt_max, **more})


def then(*parts: bytes) -> Script:
    """Answers with `parts` and then keeps the connection open for as long as the client does."""

    async def script(talk: Conversation) -> None:
        await talk.request()
        for part in parts:
            await talk.send(part)
        await talk.client_left()

    return script


def endlessly(start: bytes, drip: bytes) -> Script:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(start)
        while not await talk.client_left_within(0.01):
            await talk.send(drip)

    return script


# What is sent


async def test_a_post_arrives_once_as_it_was_given(serve: Serve) -> None:
    server = await serve(answers("202 Accepted", b"thanks", "X-Note: Yes"))

    answer = await post(f"{server.url}/hook?x=1", headers={"webhook-id": "msg_1", "Content-Type": "application/json"})

    assert (answer.status, answer.body, answer.headers["x-note"]) == (202, b"thanks", "Yes")
    assert server.requests[0].endswith(b'\r\n\r\n{"a":1}')
    [head] = [request.decode().lower() for request in server.requests]
    assert head.startswith("post /hook?x=1 http/1.1\r\n")
    for line in (
        f"host: 127.0.0.1:{server.port}",
        "webhook-id: msg_1",
        "content-type: application/json",
        "content-length: 7",
        "accept-encoding: identity",
        "connection: close",
    ):
        assert f"\r\n{line}\r\n" in head
    assert "cookie" not in head


async def test_a_header_of_the_caller_replaces_ours(serve: Serve) -> None:
    server = await serve(answers())

    await post(server.url, headers={"user-agent": "mine"})

    assert [line for line in server.requests[0].lower().split(b"\r\n") if line.startswith(b"user-agent")] == [
        b"user-agent: mine"
    ]


async def test_no_cookie_is_kept(serve: Serve) -> None:
    server = await serve(answers("200 OK", b"", "Set-Cookie: a=b; Path=/"))
    calls = client()

    for _ in range(2):
        await calls.get(server.url, deadline=DEADLINE, body_max=10)

    assert len(server.requests) == 2
    assert b"a=b" not in b"".join(server.requests)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"])
async def test_proxies_of_the_environment_are_ignored(serve: Serve, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    server, proxy = await serve(answers("200 OK", b"direct")), await serve(answers("200 OK", b"proxy"))
    monkeypatch.setenv(name, proxy.url)

    assert (await get(server.url)).body == b"direct"
    assert proxy.connections == 0


# TLS


async def test_tls_and_the_host_header_keep_the_name(serve: Serve, certificate: Certificate) -> None:
    names: list[str | None] = []
    certificate.server.sni_callback = lambda _socket, name, _context: names.append(name)
    server = await serve(answers(), tls=certificate.server)

    await client("hooks.example", tls=certificate.client).get(server.url_of("hooks.example"), deadline=DEADLINE, body_max=10)

    assert names == ["hooks.example"]
    assert f"\r\nHost: hooks.example:{server.port}\r\n".encode() in server.requests[0]


@pytest.mark.parametrize("host", ["other.example", "127.0.0.1"])
async def test_a_certificate_for_another_name_is_not_accepted(serve: Serve, certificate: Certificate, host: str) -> None:
    server = await serve(answers(), tls=certificate.server)
    calls = client("other.example,127.0.0.1", tls=certificate.client)

    with pytest.raises(UnreachableError, match="certificate"):
        await calls.post(server.url_of(host), b"{}", headers={}, deadline=DEADLINE, excerpt_max=10)
    assert server.requests == []


async def test_a_certificate_that_nobody_knows_is_not_accepted(serve: Serve, certificate: Certificate) -> None:
    server = await serve(answers(), tls=certificate.server)

    with pytest.raises(UnreachableError, match="certificate"):
        await client("hooks.example").get(server.url_of("hooks.example"), deadline=DEADLINE, body_max=10)


# Redirects


async def stairs(serve: Serve, steps: int) -> RawServer:
    """/4 leads to /3, and so on; /0 is the picture."""

    async def script(talk: Conversation) -> None:
        step = int((await talk.request()).split()[1].strip(b"/"))
        await talk.send(http("200 OK", b"picture") if step == 0 else http("302 Found", b"", f"Location: /{step - 1}"))

    assert steps < 10
    return await serve(script)


async def test_as_many_redirects_as_allowed_are_followed(serve: Serve) -> None:
    server = await stairs(serve, 3)

    answer = await get(f"{server.url}/3", redirects=3)

    assert (answer.status, answer.body, answer.url) == (200, b"picture", f"{server.url}/0")
    assert server.connections == 4


@pytest.mark.parametrize(("allowed", "connections"), [(0, 1), (3, 4)])
async def test_one_redirect_more_is_an_answer_like_any_other(serve: Serve, allowed: int, connections: int) -> None:
    server = await stairs(serve, 4)

    answer = await get(f"{server.url}/4", redirects=allowed)

    assert (answer.status, answer.body) == (302, b"")
    assert server.connections == connections


@pytest.mark.parametrize("location", ["/elsewhere", "http://169.254.169.254/", "http://[::1/"])
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_post_follows_no_redirect(serve: Serve, status: str, location: str) -> None:
    server = await serve(answers(status, b"", f"Location: {location}"))

    answer = await post(server.url)

    assert answer.status == int(status[:3])
    assert server.connections == 1


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "//169.254.169.254/",
        "http://127.0.0.2:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f.1:{port}/",
        "http://[::ffff:7f00:1]:{port}/",
        "http://user:secret@127.0.0.1:{port}/",
        "file:///etc/passwd",
        "http://[::1/",
        "http://localhost:{port}/\\x",
    ],
)
async def test_every_hop_is_checked(serve: Serve, location: str) -> None:
    inner = await serve(answers(), address="127.0.0.2")
    server = await serve(answers("302 Found", b"", f"Location: {location.format(port=inner.port)}"))

    with pytest.raises(ForbiddenAddressError):
        await get(server.url, redirects=3)
    assert (server.connections, inner.connections) == (1, 0)


async def test_a_redirect_to_no_address_is_an_answer_where_none_is_followed(serve: Serve) -> None:
    server = await serve(answers("302 Found", b"", "Location: http://[::1/"))

    assert (await get(server.url)).status == 302


async def test_a_redirect_leads_to_another_origin_without_its_fragment(serve: Serve) -> None:
    other = await serve(answers("200 OK", b"picture"))

    async def script(talk: Conversation) -> None:
        at_home = b"GET /home" in await talk.request()
        await talk.send(http("302 Found", b"", f"Location: {other.url}/x#part" if at_home else "Location: /home"))

    server = await serve(script)

    answer = await get(server.url, redirects=2)

    assert answer.body == b"picture"
    assert len(server.requests) == 2
    assert other.requests[0].startswith(b"GET /x HTTP/1.1\r\n")


async def test_a_redirect_loop_ends_where_it_must(serve: Serve) -> None:
    server = await serve(answers("302 Found", b"", "Location: /"))

    assert (await get(server.url, redirects=3)).status == 302
    assert server.connections == 4


# Size


@pytest.mark.parametrize("size", [0, 999, 1000])
async def test_a_body_up_to_the_limit_comes_whole(serve: Serve, size: int) -> None:
    server = await serve(answers("200 OK", b"x" * size))

    answer = await get(server.url, body_max=1000)

    assert answer.body == b"x" * size


@pytest.mark.parametrize(
    "script",
    [
        then(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"),
        then(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3e9\r\n" + b"x" * 1001),
        then(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1001),
        endlessly(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 100),
    ],
    ids=["declared", "chunked", "undeclared", "endless"],
)
async def test_a_longer_body_is_refused_and_the_connection_closed(serve: Serve, script: Script) -> None:
    server = await serve(script)

    with pytest.raises(TooLargeError):
        await get(server.url, body_max=1000)
    await server.ended.get()


async def test_a_post_takes_an_excerpt_of_whatever_comes(serve: Serve) -> None:
    server = await serve(endlessly(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 100))

    answer = await post(server.url, excerpt_max=1000)

    assert (answer.status, answer.body) == (200, b"x" * 1000)
    await server.ended.get()


@pytest.mark.parametrize("coding", ["gzip", "identity, gzip", "br", "x-unheard-of", "GZIP"])
async def test_a_compressed_body_is_refused(serve: Serve, coding: str) -> None:
    server = await serve(answers("200 OK", gzip.compress(bytes(20_000_000)), f"Content-Encoding: {coding}"))

    with pytest.raises(UnreadableError, match="compressed"):
        await get(server.url, body_max=1_000_000)


async def test_an_excerpt_of_a_compressed_body_does_not_inflate(serve: Serve) -> None:
    bomb = gzip.compress(bytes(20_000_000))
    server = await serve(answers("200 OK", bomb, "Content-Encoding: gzip"))

    answer = await post(server.url, excerpt_max=100_000)

    assert answer.body == bomb


async def test_a_body_encoded_as_itself_is_taken(serve: Serve) -> None:
    server = await serve(answers("200 OK", b"picture", "Content-Encoding: identity"))

    assert (await get(server.url)).body == b"picture"


@pytest.mark.parametrize(
    "script",
    [
        endlessly(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"x" * 4000 + b"\r\n"),
        endlessly(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 4000),
        endlessly(b"", b"x" * 4000),
    ],
    ids=["many", "long", "no status line"],
)
async def test_endless_headers_are_refused(serve: Serve, script: Script) -> None:
    server = await serve(script)

    with pytest.raises(UnreadableError):
        await post(server.url)
    await server.ended.get()


async def test_the_body_of_an_error_is_not_read(serve: Serve) -> None:
    server = await serve(then(b"HTTP/1.1 404 Not Found\r\nContent-Length: 100000000\r\n\r\n"))

    answer = await get(server.url, body_max=10)

    assert (answer.status, answer.body) == (404, b"")


# Time


@pytest.mark.parametrize(
    "script",
    [
        then(),
        endlessly(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        endlessly(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
    ids=["silence", "dripping headers", "hints without end"],
)
async def test_an_answer_that_does_not_come_ends_the_call_at_its_deadline(serve: Serve, script: Script) -> None:
    server = await serve(script)

    with pytest.raises(UnreachableError, match="deadline"):
        await post(server.url, deadline=SOON)
    await server.ended.get()
    with pytest.raises(UnreachableError, match="deadline"):
        await get(server.url, deadline=SHORT)


async def test_a_dripping_body_ends_a_get_at_its_deadline(serve: Serve) -> None:
    server = await serve(endlessly(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"))

    with pytest.raises(UnreachableError, match="deadline"):
        await get(server.url, deadline=SOON, body_max=100_000)
    await server.ended.get()


async def test_a_dripping_body_does_not_undo_the_answer_to_a_post(serve: Serve) -> None:
    server = await serve(endlessly(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"))

    answer = await post(server.url, deadline=SOON, excerpt_max=100_000)

    assert answer.status == 200
    assert answer.body.startswith(b"x")
    await server.ended.get()


async def test_redirects_share_one_deadline(serve: Serve) -> None:
    silent = await serve(then())
    server = await serve(answers("302 Found", b"", f"Location: {silent.url}/"))

    with pytest.raises(UnreachableError, match="deadline"):
        await get(server.url, deadline=SOON, redirects=3)
    await silent.ended.get()


async def test_a_call_that_is_cancelled_is_cancelled(serve: Serve) -> None:
    server = await serve(then(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"x"))
    call = asyncio.create_task(post(server.url))
    while not server.requests:
        await asyncio.sleep(0)

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    await server.ended.get()


# What fails


async def test_nobody_listening_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"

        with pytest.raises(UnreachableError, match="no connection"):
            await post(url)


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"\x00" * 50]
)
async def test_what_is_not_http_is_unreadable(serve: Serve, answer: bytes) -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(answer)

    server = await serve(script)

    with pytest.raises(UnreadableError):
        await post(server.url)
    with pytest.raises(UnreadableError):
        await get(server.url)


async def test_a_connection_that_is_reset_is_unreachable(serve: Serve) -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        talk.reset()

    server = await serve(script)

    with pytest.raises(UnreachableError, match="broke"):
        await post(server.url)


async def test_a_body_that_breaks_off_fails_a_get_and_is_an_excerpt_to_a_post(serve: Serve) -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    server = await serve(script)

    with pytest.raises(UnreadableError, match="broke off"):
        await get(server.url)
    answer = await post(server.url)
    assert (answer.status, answer.body) == (200, b"half")


async def test_plain_http_behind_an_https_address_is_a_failure_of_tls(serve: Serve) -> None:
    async def script(talk: Conversation) -> None:
        await talk.send(http("400 Bad Request"))
        await talk.client_left()

    server = await serve(script)

    with pytest.raises(UnreachableError, match="TLS"):
        await post(server.url.replace("http://", "https://"))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.2:8080/", "https://2130706433/", "http://example.com/", "nonsense", "http://[::1/#x"]
)
async def test_what_the_guard_refuses_is_not_even_looked_up(url: str) -> None:
    def resolver(*_: Any) -> Any:
        raise AssertionError("nobody is to be asked")

    calls = OutboundClient(Guard(AllowList.parse("internal.example")), resolver=resolver)

    with pytest.raises(ForbiddenAddressError):
        await calls.post(url, b"{}", headers={}, deadline=DEADLINE, excerpt_max=10)
    with pytest.raises(ForbiddenAddressError):
        await calls.get(url, deadline=DEADLINE, body_max=10)


async def test_an_answer_keeps_its_address_out_of_its_repr(serve: Serve) -> None:
    server = await serve(answers("200 OK", b"body", "X-Key: secret"))

    answer = await get(f"{server.url}/token")

    assert repr(answer) == "Answer(status=200)"
