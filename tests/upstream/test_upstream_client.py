"""The client against real sockets: what lands on which side, and what the upstream receives."""

from __future__ import annotations

import asyncio
import errno
import gzip
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import pytest
from httpx_aiohttp.transport import map_aiohttp_exceptions

from app import __version__
from app.lifecycle.answers import (
    Accepted,
    NoAnswer,
    NotFound,
    Refusal,
    Refused,
    Rejected,
    StillGoing,
    SubmitAnswer,
    Succeeded,
    Unproven,
)
from app.lifecycle.request import GenerationRequest
from app.upstream.client import BODY_MAX, Timeouts, UpstreamClient
from tests.raw_server import Conversation, Script, Serve
from tests.upstream.conftest import http

KEY = "sk-very-secret-key"
TOKEN = "tok_0123456789abcdef0123"
CALLBACK = f"https://gateway.example/callbacks/{TOKEN}"
REQUEST = GenerationRequest(prompt="山 at sunset \U0001f304", size="768*1024", seed=7, output_format="png")
ACCEPTED = '{"code": 200, "message": "success", "data": {"task_id": "n43abc", "status": "IN_PROGRESS"}}'
RUNNING = '{"code": 200, "message": "success", "data": {"task_id": "n43abc", "status": "PENDING"}}'
SHORT = Timeouts(connect=timedelta(seconds=0.1), submit=timedelta(seconds=0.2), status=timedelta(seconds=0.2))
#: For servers that take the connection and then misbehave: connecting must not run out of time on a busy machine.
BRIEF = Timeouts(connect=timedelta(seconds=5), submit=timedelta(seconds=2), status=timedelta(seconds=2))
PATIENT = Timeouts()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., UpstreamClient]]:
    made: list[UpstreamClient] = []

    def make(url: str, timeouts: Timeouts = PATIENT, **kwargs: Any) -> UpstreamClient:
        made.append(UpstreamClient(url, KEY, timeouts=timeouts, **kwargs))
        return made[-1]

    yield make
    for client in made:
        await client.aclose()


Connect = Callable[..., UpstreamClient]


async def submit(client: UpstreamClient) -> SubmitAnswer:
    answer = await client.submit(REQUEST, CALLBACK)
    for secret in (KEY, CALLBACK, TOKEN):
        assert secret not in repr(answer)
    return answer


def answering(*answers: bytes) -> Script:
    """Give these answers on one connection, then wait for the client to leave."""

    async def script(conversation: Conversation) -> None:
        for answer in answers:
            await conversation.request()
            await conversation.send(answer)
        await conversation.client_left()

    return script


# What is sent


async def test_a_submit_sends_exactly_what_the_document_asks_for(serve: Serve, connect: Connect) -> None:
    server = await serve(answering(http(ACCEPTED)))
    assert await submit(connect(server.url + "/")) == Accepted("n43abc", "IN_PROGRESS")

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first == "POST /api/generate HTTP/1.1"
    headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
    assert sorted(headers) == [
        ("accept", "application/json"),
        ("accept-encoding", "identity"),
        ("authorization", f"Bearer {KEY}"),
        ("connection", "keep-alive"),
        ("content-length", str(len(body))),
        ("content-type", "application/json"),
        ("host", f"127.0.0.1:{server.port}"),
        ("user-agent", f"qwen-image-gateway/{__version__}"),
    ]
    assert body == (
        rb'{"prompt":"\u5c71 at sunset \ud83c\udf04","size":"768*1024","seed":7,"output_format":"png",'
        rb'"callback_url":"' + CALLBACK.encode() + rb'"}'
    )


async def test_without_a_callback_none_is_sent(serve: Serve, connect: Connect) -> None:
    server = await serve(answering(http(ACCEPTED)))
    await connect(server.url).submit(GenerationRequest("a"), None)
    assert json.loads(server.requests[0].partition(b"\r\n\r\n")[2]) == {
        "prompt": "a",
        "size": "1024*1024",
        "seed": -1,
        "output_format": "jpeg",
    }


async def test_a_prompt_that_is_no_valid_text_can_be_sent_all_the_same(serve: Serve, connect: Connect) -> None:
    server = await serve(answering(http(ACCEPTED)))
    assert await connect(server.url).submit(GenerationRequest("\ud800"), None) == Accepted("n43abc", "IN_PROGRESS")


async def test_a_check_names_its_task_whatever_the_id_looks_like(serve: Serve, connect: Connect) -> None:
    task_id = "a+b&c=d/e%2Fé#?;~"
    server = await serve(answering(http(RUNNING.replace("n43abc", task_id))))
    assert await connect(server.url + "/v1").status(task_id) == StillGoing("PENDING")
    path = server.requests[0].split(b" ")[1].decode()
    assert httpx.URL(path).path == "/v1/api/status"
    assert dict(httpx.URL(path).params) == {"task_id": task_id}
    assert f"Bearer {KEY}".encode() in server.requests[0]


async def test_cookies_are_not_kept(serve: Serve, connect: Connect) -> None:
    cookie = "Set-Cookie: session=1; Path=/"
    server = await serve(answering(http(RUNNING, "200 OK", cookie), http(RUNNING, "200 OK", cookie)))
    client = connect(server.url)
    await client.status("n43abc")
    await client.status("n43abc")
    assert len(server.requests) == 2
    assert b"cookie" not in server.requests[1].lower()


async def test_proxies_and_netrc_of_the_environment_are_ignored(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy = await serve(answering(http(RUNNING)))
    server = await serve(answering(http(ACCEPTED)))
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert await submit(connect(server.url)) == Accepted("n43abc", "IN_PROGRESS")
    assert proxy.connections == 0
    assert f"Bearer {KEY}".encode() in server.requests[0]


async def test_any_number_of_submits_are_on_the_way_at_once(serve: Serve, connect: Connect) -> None:
    wanted, everybody = 150, asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        if len(server.requests) == wanted:
            everybody.set()
        await everybody.wait()
        await conversation.send(http(ACCEPTED))

    server = await serve(script)
    client = connect(server.url)
    answers = await asyncio.gather(*(submit(client) for _ in range(wanted)))
    assert set(answers) == {Accepted("n43abc", "IN_PROGRESS")}


# No connection was made


async def test_a_refused_connection_is_proof(connect: Connect) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening
        client = connect(f"http://127.0.0.1:{unused.getsockname()[1]}")
        answer = await submit(client)
        assert answer == Refused(Refusal.NOT_CONNECTED, "no connection could be made (ClientConnectorError, ECONNREFUSED)")
        assert isinstance(await client.status("n43abc"), NoAnswer)


async def test_an_unknown_host_is_proof(connect: Connect) -> None:
    answer = await submit(connect("http://nonexistent.invalid"))
    assert isinstance(answer, Refused)
    assert answer.reason is Refusal.NOT_CONNECTED
    assert answer.detail.startswith("the host name did not resolve")


@pytest.mark.parametrize("timeouts", [SHORT, Timeouts(submit=timedelta(seconds=0.2))], ids=["connect", "deadline"])
async def test_a_connection_that_never_comes_about_is_proof(connect: Connect, timeouts: Timeouts) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        queue = [socket.socket() for _ in range(4)]
        try:
            for waiting in queue:  # fills the backlog; the kernel then ignores whoever else knocks
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
            answer = await submit(connect(f"http://127.0.0.1:{listener.getsockname()[1]}", timeouts))
        finally:
            for waiting in queue:
                waiting.close()
    assert isinstance(answer, Refused)
    assert answer.reason is Refusal.NOT_CONNECTED


@pytest.mark.parametrize("timeouts", [SHORT, Timeouts(submit=timedelta(seconds=0.2))], ids=["connect", "deadline"])
async def test_a_tls_handshake_that_never_ends_is_proof(serve: Serve, connect: Connect, timeouts: Timeouts) -> None:
    server = await serve(lambda conversation: conversation.client_left())
    answer = await submit(connect(server.url.replace("http:", "https:"), timeouts))
    assert isinstance(answer, Refused)
    assert answer.reason is Refusal.NOT_CONNECTED


@pytest.mark.parametrize("ending", ["garbage", "close", "reset"])
async def test_a_tls_handshake_that_fails_is_proof(serve: Serve, connect: Connect, ending: str) -> None:
    async def script(conversation: Conversation) -> None:
        if ending == "garbage":
            await conversation.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif ending == "reset":
            await conversation.reader.read(1)
            conversation.reset()

    server = await serve(script)
    answer = await submit(connect(server.url.replace("http:", "https:")))
    assert isinstance(answer, Refused)
    assert answer.reason is Refusal.NOT_CONNECTED


async def test_a_certificate_that_nobody_signed_is_proof(serve: Serve, connect: Connect) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(Path(__file__).with_name("nobody_signed_this.pem"))
    server = await serve(answering(http(ACCEPTED)), tls=tls)
    answer = await submit(connect(server.url))
    assert isinstance(answer, Refused)
    assert answer.reason is Refusal.NOT_CONNECTED
    assert answer.detail.startswith("the TLS certificate was not accepted")
    assert server.requests == []


async def test_a_closed_client_sends_nothing(serve: Serve, connect: Connect) -> None:
    server = await serve(answering(http(ACCEPTED)))
    client = connect(server.url)
    await client.aclose()
    assert await submit(client) == Refused(Refusal.NOT_CONNECTED, "the client is closed")
    assert isinstance(await client.status("n43abc"), NoAnswer)
    assert server.connections == 0


# A connection was made, and nobody can say


async def close_at_once(conversation: Conversation) -> None:
    pass


async def reset_at_once(conversation: Conversation) -> None:
    conversation.reset()


async def close_after_the_request(conversation: Conversation) -> None:
    await conversation.request()


async def reset_after_the_request(conversation: Conversation) -> None:
    await conversation.request()
    conversation.reset()


async def reset_amid_the_request(conversation: Conversation) -> None:
    await conversation.reader.read(20)
    conversation.reset()


async def never_answer(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.client_left()


async def left_within(conversation: Conversation, seconds: float) -> None:
    """Waits for the client to leave; the pace of a server that drips."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await conversation.client_left()


async def drip_headers(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.send(b"HTTP/1.1 200 OK\r\n")
    while not conversation.writer.is_closing():
        await conversation.send(b"X: y\r\n")
        await left_within(conversation, 0.02)


async def drip_body(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not conversation.writer.is_closing():
        await conversation.send(b" ")
        await left_within(conversation, 0.02)


async def continue_for_ever(conversation: Conversation) -> None:
    await conversation.request()
    while not conversation.writer.is_closing():
        await conversation.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await left_within(conversation, 0.02)


async def endless_body(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while not conversation.writer.is_closing():
        await conversation.send(b" " * 65536)


def saying(*parts: bytes) -> Script:
    """Answer with these bytes and close."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        for part in parts:
            await conversation.send(part)

    return script


BROKEN: dict[str, Script] = {
    "accept and close": close_at_once,
    "accept and reset": reset_at_once,
    "close after the request": close_after_the_request,
    "reset after the request": reset_after_the_request,
    "reset amid the request": reset_amid_the_request,
    "never answer": never_answer,
    "drip headers": drip_headers,
    "drip body": drip_body,
    "100 Continue for ever": continue_for_ever,
    "endless body": endless_body,
    "a body of declared size beyond the cap": saying(http(b" " * (BODY_MAX + 1))),
    "partial status line": saying(b"HTTP/1."),
    "partial headers": saying(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "partial body": saying(http(ACCEPTED)[:-1]),
    "partial chunk": saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"),
    "bad chunk": saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{"),
    "two lengths": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"),
    "not HTTP": saying(b"\x16\x03\x01\x02 what?\r\n\r\n"),
    "one long header": saying(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
    "endless header": saying(b"HTTP/1.1 200 OK\r\nX: ", *[b"x" * 65536] * 64),
    "many headers": saying(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100_000, b"\r\n"),
    "gzip bomb": saying(http(gzip.compress(b" " * 50_000_000), "200 OK", "Content-Encoding: gzip")),
    "no body": saying(http("")),
    "204": saying(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "switching protocols": saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "307 elsewhere": saying(http("", "307 Temporary Redirect", "Location: /api/other")),
    "302 to nowhere": saying(http("", "302 Found", "Location: http://[")),
    "301 without a place": saying(http("", "301 Moved Permanently")),
    "HTML in a 200": saying(http("<html>", "200 OK")),
    "HTML in a 500": saying(http("<html>", "500 Internal Server Error")),
    "502": saying(http('{"code": 500}', "502 Bad Gateway")),
}


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN.keys())
async def test_an_answer_that_is_lost_proves_nothing_and_nothing_is_sent_twice(
    serve: Serve, connect: Connect, script: Script
) -> None:
    server = await serve(script)
    answer = await submit(connect(server.url, BRIEF))
    assert isinstance(answer, Unproven)
    assert 0 < len(answer.detail) < 200
    assert server.connections == 1
    assert len(server.requests) <= 1


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN.keys())
async def test_a_check_whose_answer_is_lost_says_nothing_of_the_task(serve: Serve, connect: Connect, script: Script) -> None:
    server = await serve(script)
    reading = await connect(server.url, BRIEF).status("n43abc")
    assert isinstance(reading, NoAnswer)
    assert reading.detail
    assert KEY not in reading.detail


async def test_an_answer_beyond_the_cap_is_not_read_to_its_end(serve: Serve, connect: Connect) -> None:
    server = await serve(endless_body)
    answer = await submit(connect(server.url))
    assert answer == Unproven("the answer is too long (_TooLongError)")
    await server.ended.get()


async def test_an_answer_as_long_as_the_cap_is_read(serve: Serve, connect: Connect) -> None:
    server = await serve(answering(http(ACCEPTED.ljust(BODY_MAX))))
    assert await submit(connect(server.url)) == Accepted("n43abc", "IN_PROGRESS")


async def test_a_redirect_is_not_followed(serve: Serve, connect: Connect) -> None:
    elsewhere = await serve(answering(http(ACCEPTED)))
    server = await serve(answering(*[http("", "308 Permanent Redirect", f"Location: {elsewhere.url}/")] * 2))
    client = connect(server.url)
    assert isinstance(await submit(client), Unproven)
    assert elsewhere.connections == 0


# An answer that broke off, yet said enough


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + ACCEPTED.encode(),), Accepted("n43abc", "IN_PROGRESS")),
        ((b"HTTP/1.1 400 Bad\r\nContent-Length: 999\r\n\r\n" + b'{"code":400,"message":"no"}',), Rejected("no")),
        (
            (b"HTTP/1.1 429 Slow\r\nContent-Length: 999\r\n\r\n" + b'{"code":429}',),
            Refused(Refusal.THROTTLED, "HTTP 429, code 429"),
        ),
    ],
)
async def test_an_answer_that_breaks_off_after_its_proof_is_believed(
    serve: Serve, connect: Connect, parts: tuple[bytes, ...], expected: SubmitAnswer
) -> None:
    server = await serve(saying(*parts))
    assert await submit(connect(server.url)) == expected


async def test_a_task_id_is_kept_when_the_answer_never_ends(serve: Serve, connect: Connect) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + ACCEPTED.encode())
        await conversation.client_left()

    server = await serve(script)
    assert await submit(connect(server.url, BRIEF)) == Accepted("n43abc", "IN_PROGRESS")


async def test_a_reading_is_kept_when_its_answer_breaks_off(serve: Serve, connect: Connect) -> None:
    server = await serve(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + RUNNING.encode()))
    assert await connect(server.url).status("n43abc") == StillGoing("PENDING")


@pytest.mark.parametrize("reason", [b"", b" \xff\xfe", b" \xb3\xc9\xb9\xa6", " 成功".encode()])
async def test_a_strange_reason_phrase_costs_no_task_id(serve: Serve, connect: Connect, reason: bytes) -> None:
    server = await serve(answering(http(ACCEPTED).replace(b" OK", reason, 1)))
    assert await submit(connect(server.url)) == Accepted("n43abc", "IN_PROGRESS")


# Connections that are used again


async def test_a_fresh_connection_is_used_again(serve: Serve, connect: Connect) -> None:
    server = await serve(answering(*[http(ACCEPTED)] * 3))
    client = connect(server.url)
    for _ in range(3):
        assert await submit(client) == Accepted("n43abc", "IN_PROGRESS")
    assert (server.connections, len(server.requests)) == (1, 3)


@pytest.mark.parametrize(
    ("idle", "submits_connections", "checks_connections"), [(1.9, 1, 1), (2.1, 2, 1), (14.9, 2, 1), (15.1, 2, 2)]
)
async def test_a_submit_never_uses_a_connection_idle_for_more_than_two_seconds(
    serve: Serve,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    idle: float,
    submits_connections: int,
    checks_connections: int,
) -> None:
    now = [1000.0]
    monkeypatch.setattr("aiohttp.connector.monotonic", lambda: now[0])
    server = await serve(answering(*[http(ACCEPTED)] * 2))
    client = connect(server.url)
    await submit(client)
    now[0] += idle
    await submit(client)
    assert server.connections == submits_connections
    checked = await serve(answering(*[http(RUNNING)] * 2))
    client = connect(checked.url)
    await client.status("n43abc")
    now[0] += idle
    await client.status("n43abc")
    assert checked.connections == checks_connections


async def test_a_submit_after_the_idle_connection_was_closed_arrives_once(serve: Serve, connect: Connect) -> None:
    server = await serve(saying(http(ACCEPTED)))  # says keep-alive by saying nothing, and closes
    client = connect(server.url)
    for number in (1, 2, 3):
        assert await submit(client) == Accepted("n43abc", "IN_PROGRESS")
        await server.ended.get()
        assert (server.connections, len(server.requests)) == (number, number)


async def test_a_close_that_came_while_the_loop_was_busy_is_noticed_before_a_submit(connect: Connect) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    requests: list[bytes] = []
    answered, close, closed = threading.Event(), threading.Event(), threading.Event()

    def play() -> None:
        first, _ = listener.accept()
        requests.append(first.recv(1 << 16))
        first.sendall(http(ACCEPTED))
        answered.set()
        close.wait(5)
        first.close()
        closed.set()
        second, _ = listener.accept()
        requests.append(second.recv(1 << 16))
        second.sendall(http(ACCEPTED))
        second.close()

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        client = connect(f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert await submit(client) == Accepted("n43abc", "IN_PROGRESS")
        close.set()
        assert closed.wait(5)  # blocks the loop on purpose: it cannot hear the close
        assert await submit(client) == Accepted("n43abc", "IN_PROGRESS")
        thread.join(5)
        assert len(requests) == 2
    finally:
        listener.close()


async def test_a_reset_on_a_connection_used_again_is_not_sent_again(serve: Serve, connect: Connect) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(http(ACCEPTED))
        await conversation.request()
        conversation.reset()

    server = await serve(script)
    client = connect(server.url)
    assert await submit(client) == Accepted("n43abc", "IN_PROGRESS")
    assert isinstance(await submit(client), Unproven)
    assert (server.connections, len(server.requests)) == (1, 2)


async def test_a_lost_answer_spoils_no_later_one(serve: Serve, connect: Connect) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        if server.connections == 1:
            await conversation.client_left()
        await conversation.send(http(ACCEPTED))

    server = await serve(script)
    client = connect(server.url, BRIEF)
    assert isinstance(await submit(client), Unproven)
    assert await submit(client) == Accepted("n43abc", "IN_PROGRESS")
    assert len(server.requests) == 2


async def test_our_own_cancellation_propagates(serve: Serve, connect: Connect) -> None:
    arrived = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        arrived.set()
        await conversation.client_left()

    server = await serve(script)
    task = asyncio.create_task(submit(connect(server.url)))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.ended.get()


# Answers, end to end


async def test_answers_are_read_by_their_meaning(serve: Serve, connect: Connect) -> None:
    echo = json.dumps({"code": 400, "message": f"bad callback_url {CALLBACK} of {KEY}"})
    server = await serve(
        answering(
            http('{"code": 429}', "200 OK", "Retry-After: 7"),
            http(echo, "400 Bad Request"),
        )
    )
    client = connect(server.url)
    assert await submit(client) == Refused(Refusal.THROTTLED, "HTTP 200, code 429", timedelta(seconds=7))
    assert await submit(client) == Rejected("bad callback_url [hidden] of [hidden]")


async def test_readings_are_read_by_their_meaning(serve: Serve, connect: Connect) -> None:
    done = {"task_id": "n43abc", "status": "SUCCESS", "consumed_credits": 5, "response": ["https://cdn.example/1.png"]}
    server = await serve(
        answering(
            http(json.dumps({"code": 200, "data": done})),
            http('{"code": 404, "message": "no such task"}', "404 Not Found"),
            http("<html>", "404 Not Found"),
            http(json.dumps({"code": 401, "message": f"bad key {KEY}"}), "401 Unauthorized"),
            http(RUNNING),
        )
    )
    client = connect(server.url)
    assert await client.status("n43abc") == Succeeded(("https://cdn.example/1.png",), 5)
    assert await client.status("n43abc") == NotFound()
    assert isinstance(await client.status("n43abc"), NoAnswer)
    assert await client.status("n43abc") == NoAnswer("HTTP 401, code 401: bad key [hidden]", unauthorized=True)
    assert await client.status("other") == NoAnswer("answered for another task")
    assert server.connections == 1


# Each error of the libraries, on its side, by the table alone (a foreign transport tells nothing else)

SPOT: Any = SimpleNamespace(host="h", port=1, ssl=True, is_ssl=True)
ASKED: Any = SimpleNamespace(real_url=CALLBACK)
REFUSED = OSError(errno.ECONNREFUSED, CALLBACK)
BEFORE: list[Exception] = [
    aiohttp.ClientConnectorDNSError(SPOT, socket.gaierror(-2, "Name or service not known")),
    aiohttp.ClientConnectorError(SPOT, REFUSED),
    aiohttp.ClientConnectorSSLError(SPOT, ssl.SSLError(1, CALLBACK)),
    aiohttp.ClientConnectorCertificateError(SPOT, ssl.SSLCertVerificationError(1, CALLBACK)),
    aiohttp.ConnectionTimeoutError(CALLBACK),
    aiohttp.InvalidUrlClientError(CALLBACK),
    aiohttp.NonHttpUrlClientError(CALLBACK),
    httpx.ConnectError(CALLBACK),
    httpx.ConnectTimeout(CALLBACK),
    httpx.UnsupportedProtocol(CALLBACK),
    httpx.InvalidURL(CALLBACK),
]
AFTER: list[Exception] = [
    aiohttp.SocketTimeoutError(CALLBACK),
    aiohttp.ServerTimeoutError(CALLBACK),
    aiohttp.ServerConnectionError(CALLBACK),
    aiohttp.ServerDisconnectedError(CALLBACK),
    aiohttp.ServerFingerprintMismatch(b"", b"", "h", 1),
    aiohttp.ClientOSError(errno.ECONNRESET, CALLBACK),
    aiohttp.ClientOSError(errno.ECONNREFUSED, CALLBACK),
    aiohttp.ClientConnectionResetError(CALLBACK),
    aiohttp.ClientConnectionError(CALLBACK),
    aiohttp.ClientPayloadError(CALLBACK),
    aiohttp.ClientResponseError(ASKED, (), message=CALLBACK),
    aiohttp.ClientHttpProxyError(ASKED, (), message=CALLBACK),
    aiohttp.TooManyRedirects(ASKED, ()),
    aiohttp.InvalidURL(CALLBACK),
    aiohttp.ClientError(CALLBACK),
    httpx.ReadTimeout(CALLBACK),
    httpx.WriteTimeout(CALLBACK),
    httpx.PoolTimeout(CALLBACK),
    httpx.TimeoutException(CALLBACK),
    httpx.ReadError(CALLBACK),
    httpx.WriteError(CALLBACK),
    httpx.CloseError(CALLBACK),
    httpx.NetworkError(CALLBACK),
    httpx.RemoteProtocolError(CALLBACK),
    httpx.LocalProtocolError(CALLBACK),
    httpx.ProtocolError(CALLBACK),
    httpx.ProxyError(CALLBACK),
    httpx.DecodingError(CALLBACK),
    httpx.TooManyRedirects(CALLBACK),
    httpx.TransportError(CALLBACK),
    httpx.RequestError(CALLBACK),
    httpx.StreamClosed(),
    httpx.CookieConflict(CALLBACK),
    TimeoutError(CALLBACK),
    ConnectionRefusedError(errno.ECONNREFUSED, CALLBACK),
    ConnectionResetError(errno.ECONNRESET, CALLBACK),
    ssl.SSLError(1, CALLBACK),
    socket.gaierror(-2, CALLBACK),
    RuntimeError(CALLBACK),
    ValueError(CALLBACK),
    UnicodeDecodeError("utf-8", CALLBACK.encode(), 0, 1, CALLBACK),
    ExceptionGroup(CALLBACK, [REFUSED]),
]


class Raising(httpx.AsyncBaseTransport):
    """Raises an error as the aiohttp transport would."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with map_aiohttp_exceptions():
            raise self.error
        raise AssertionError


def names(errors: list[Exception]) -> list[str]:
    return [f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}" for error in errors]


@pytest.mark.parametrize("error", BEFORE, ids=names(BEFORE))
async def test_an_error_before_the_connection_is_proof(connect: Connect, error: Exception) -> None:
    client = connect("http://upstream.example", transport=Raising(error))
    answer = await submit(client)
    assert isinstance(answer, Refused)
    assert answer.reason is Refusal.NOT_CONNECTED
    assert isinstance(await client.status("n43abc"), NoAnswer)


@pytest.mark.parametrize("error", AFTER, ids=names(AFTER))
async def test_an_error_that_may_come_after_the_connection_is_no_proof(connect: Connect, error: Exception) -> None:
    client = connect("http://upstream.example", transport=Raising(error))
    assert isinstance(await submit(client), Unproven)
    assert isinstance(await client.status("n43abc"), NoAnswer)


def test_every_error_of_both_libraries_has_its_side() -> None:
    """A new version may bring a new error; somebody must look at it."""
    about_websockets = {aiohttp.WSServerHandshakeError, aiohttp.WSMessageTypeError}
    never_raised = {
        aiohttp.ClientSSLError,
        aiohttp.ClientProxyConnectionError,
        aiohttp.ContentTypeError,
        aiohttp.UploadAbortedError,
        aiohttp.RedirectClientError,
        aiohttp.InvalidUrlRedirectClientError,
        aiohttp.NonHttpUrlRedirectClientError,
        httpx.HTTPError,
        httpx.HTTPStatusError,
        httpx.StreamError,
        httpx.StreamConsumed,
        httpx.ResponseNotRead,
        httpx.RequestNotRead,
    }
    known = about_websockets | never_raised | {type(error) for error in BEFORE + AFTER}
    offered = [vars(aiohttp.client_exceptions)[name] for name in aiohttp.client_exceptions.__all__]
    offered += [vars(httpx)[name] for name in httpx.__all__]
    errors = {each for each in offered if isinstance(each, type) and issubclass(each, Exception)}
    assert errors - known == set()


# Configuration


@pytest.mark.parametrize(
    "url",
    [
        "",
        "upstream.example",
        "ftp://upstream.example",
        "http://",
        "https://me:pw@upstream.example",
        "http://h?q=1",
        "http://h:0",
    ],
)
def test_a_base_url_that_cannot_work_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        UpstreamClient(url, KEY)


@pytest.mark.parametrize("key", ["", " ", "sk-\n", "sk-é", "sk-\x00"])
def test_a_key_that_no_header_can_hold_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII") as refused:
        UpstreamClient("https://upstream.example", key)
    assert "sk-" not in str(refused.value)


def test_the_key_does_not_show_in_the_client() -> None:
    assert KEY not in repr(UpstreamClient("https://upstream.example", KEY))
