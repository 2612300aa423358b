"""Senders that drip, stall, or send too much, over raw sockets: each is left in time, and none keeps another waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import uvicorn

from app.cli.bounded_protocol import HEAD_MAX, UNANSWERED_MAX, BoundedProtocol, Senders

PATIENCE = 60  #: seconds
SOON = 0.4  #: what the deadlines of these tests are, in seconds
LATE = 3600.0  #: a deadline that does not come
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"

Connect = Callable[[], Awaitable["Line"]]


class Line:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """The status of the next answer, and its body."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            return int(head.split()[1]), await self.reader.readexactly(int(fields.get(b"content-length", 0)))

    async def rest(self) -> bytes:
        """All that comes until the server closes the connection."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def dripped(self, piece: bytes) -> bytes:
        """What came until the server closed the connection to whoever sends the piece over and over."""
        end = asyncio.create_task(self.rest())
        while not end.done():
            try:
                await self.send(piece)
            except ConnectionError:
                break
            await asyncio.wait([end], timeout=SOON / 10)
        return await end

    def close(self) -> None:
        self.writer.close()


class Echo:
    """Answers with the length of the body; does not read it on `/deaf`; answers on `/held` when it is let go."""

    def __init__(self) -> None:
        self.begun, self.held, self.go = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        size = 0
        self.scopes.append(scope)
        self.begun.set()
        if scope["path"] == "/held":
            self.held.set()
            await self.go.wait()
        elif scope["path"] != "/deaf":
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                size, more = size + len(message["body"]), message["more_body"]
        text = str(size).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
        await send({"type": "http.response.body", "body": text})


async def crowded(_scope: Any, _receive: Any, send: Any) -> None:
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body"})


@asynccontextmanager
async def serving(app: Any, **limits: Any) -> AsyncIterator[Connect]:
    """Serves the app under these limits; yields what opens a connection to it."""
    named = {
        "senders": Senders(), "connections_max": 100, "crowded": crowded, "head_seconds": LATE, "body_seconds": LATE, **limits,
    }  # fmt: skip
    config = uvicorn.Config(
        app, http=partial(BoundedProtocol, **named), host="127.0.0.1", port=0, ws="none", lifespan="off", log_config=None,
        timeout_graceful_shutdown=1, timeout_keep_alive=PATIENCE,
    )  # fmt: skip
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    async with AsyncExitStack() as opened:

        async def connect() -> Line:
            line = Line(*await asyncio.open_connection("127.0.0.1", port))
            opened.callback(line.close)
            return line

        yield connect
    app.go.set()
    await server.shutdown()


async def test_a_request_in_one_piece_and_one_in_many_are_served() -> None:
    async with serving(Echo()) as connect:
        line = await connect()
        for pieces in ([GET], [bytes([byte]) for byte in GET], [GET + GET[:5], GET[5:]]):
            for piece in pieces:
                await line.send(piece)
            assert await line.answer() == (200, b"0")
        assert await line.answer() == (200, b"0")


async def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    async with serving(Echo(), head_seconds=SOON) as connect:
        assert await (await connect()).rest() == b""


@pytest.mark.parametrize("begin", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nhost: x\r\nx-long: "])
async def test_a_head_that_drips_gets_408(begin: bytes) -> None:
    async with serving(Echo(), head_seconds=SOON) as connect:
        line = await connect()
        await line.send(begin)
        assert (await line.dripped(b"x" if begin.endswith(b" ") else b"")).startswith(b"HTTP/1.1 408 ")


async def test_a_head_that_drips_after_an_answer_gets_408_too() -> None:
    async with serving(Echo(), head_seconds=SOON) as connect:
        line = await connect()
        await line.send(GET)
        assert await line.answer() == (200, b"0")
        await line.send(b"GET / HTTP/1.1\r\nx-long: ")
        assert (await line.dripped(b"x")).startswith(b"HTTP/1.1 408 ")


async def test_line_ends_between_requests_keep_no_connection_open() -> None:
    async with serving(Echo(), head_seconds=SOON) as connect:
        line = await connect()
        await line.send(GET)
        assert await line.answer() == (200, b"0")
        assert await line.dripped(b"\r\n") == b""


async def test_a_body_that_nobody_reads_and_that_drips_ends_with_its_deadline() -> None:
    async with serving(Echo(), body_seconds=SOON) as connect:
        line = await connect()
        await line.send(b"POST /deaf HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n")
        assert await line.answer() == (200, b"0")
        assert await line.dripped(b"x") == b""


async def test_a_body_that_drips_while_it_is_read_ends_with_its_deadline() -> None:
    async with serving(Echo(), body_seconds=SOON) as connect:
        line = await connect()
        await line.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        assert await line.dripped(b"1\r\nx\r\n") == b""


async def test_no_clock_runs_while_a_request_is_at_work() -> None:
    app = Echo()
    async with serving(app, head_seconds=SOON, body_seconds=SOON) as connect:
        line, other = await connect(), await connect()
        await line.send(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n")
        await app.held.wait()
        assert await other.rest() == b"", "the same time was too much for one that owes a request"
        app.go.set()
        assert await line.answer() == (200, b"0")


async def test_no_clock_runs_out_while_it_is_the_server_that_does_not_read() -> None:
    app, size = Echo(), 1_000_000
    async with serving(app, body_seconds=SOON) as connect:
        line, other = await connect(), await connect()
        await line.send(b"POST /held HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size)
        line.writer.write(b"x" * size)
        await other.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nx")
        assert await other.rest() == b"", "the same time was too much for one that was read from"
        app.go.set()
        assert await line.answer() == (200, b"0")


@pytest.mark.parametrize("begin", [b"GET /" + b"x" * 100, b"GET / HTTP/1.1\r\nhost: x\r\nx-long: "])
async def test_a_head_without_end_gets_431(begin: bytes) -> None:
    async with serving(Echo()) as connect:
        line = await connect()
        await line.send(begin + b"x" * (HEAD_MAX + 1))
        assert (await line.rest()).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("piece", [b"1;" + b"x" * 10_000, b"0\r\nx-trailer: " + b"x" * 10_000])
async def test_what_chunks_add_to_a_body_without_end_closes_the_connection(piece: bytes) -> None:
    async with serving(Echo()) as connect:
        line = await connect()
        await line.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + piece)
        try:
            for _ in range(HEAD_MAX // 10_000 + 1):
                await line.send(b"x" * 10_000)
        except ConnectionError:
            pass
        assert await line.rest() == b""


async def test_a_body_in_small_chunks_is_taken() -> None:
    async with serving(Echo()) as connect:
        line = await connect()
        await line.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(50):
            await line.send(b"8\r\n12345678\r\n" * 500)
        await line.send(b"0\r\n\r\n")
        assert await line.answer() == (200, b"200000")


async def test_of_too_many_that_owe_a_request_the_one_that_owes_it_longest_goes() -> None:
    async with serving(Echo(), senders=Senders(most=5)) as connect:
        first = await connect()
        await first.send(b"GET / HTTP/1.1\r\nx-long: ")
        served = await connect()
        await served.send(GET)
        assert await served.answer() == (200, b"0")
        others = [await connect() for _ in range(5)]
        assert (await first.rest()).startswith(b"HTTP/1.1 408 ")
        for line in (served, *others):
            await line.send(GET)
            assert await line.answer() == (200, b"0")


async def test_hundreds_that_owe_a_request_keep_nobody_from_being_served() -> None:
    async with serving(Echo(), senders=Senders(most=20), connections_max=50) as connect:
        slow = [await connect() for _ in range(300)]
        caller = await connect()
        await caller.send(GET)
        assert await caller.answer() == (200, b"0")
        assert {await line.rest() for line in slow[:280]} == {b""}
        await slow[-1].send(GET)
        assert await slow[-1].answer() == (200, b"0")


async def test_connections_beyond_the_limit_get_503_or_are_closed_and_places_come_back() -> None:
    app = Echo()
    async with serving(app, connections_max=3) as connect:
        held = [await connect() for _ in range(3)]
        for line in held:
            await line.send(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n")
        await app.held.wait()
        beyond = [await connect() for _ in range(UNANSWERED_MAX)]
        assert await (await connect()).rest() == b""
        await beyond[-1].send(GET)
        assert await beyond[-1].answer() == (503, b"")
        app.go.set()
        for line in held:
            assert await line.answer() == (200, b"0")
        for line in (*held, *beyond):
            line.close()
        async with asyncio.timeout(PATIENCE):
            while True:
                late = await connect()
                await late.send(GET)
                try:
                    if await late.answer() == (200, b"0"):
                        break
                except (asyncio.IncompleteReadError, ConnectionError):
                    pass
                late.close()  # the server has not seen yet that the others are gone


async def test_a_websocket_is_not_spoken() -> None:
    async with serving(Echo()) as connect:
        line = await connect()
        await line.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        assert await line.answer() == (200, b"0")


async def test_what_came_before_is_not_held_against_the_next_request() -> None:
    async with serving(Echo()) as connect:
        line = await connect()
        await line.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1_000_000)
        assert await line.answer() == (200, b"1000000")
        for byte in GET:
            await line.send(bytes([byte]))
            await asyncio.sleep(0)  # so that each comes by itself
        assert await line.answer() == (200, b"0")


#: As Java's HttpClient offers it, and in other spellings.
OFFERS = [
    b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAABAAMAAABk\r\n",
    b"UPGRADE: websocket\r\nconnection: keep-alive\r\nConnection: upgrade\r\nupgrade: h2c\r\n",
]
OFFERED = b"POST /?a=b HTTP/1.1\r\nhost: x\r\n%scontent-length: 5\r\nx-last: y\r\n\r\n"


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("packets", ["one", "two", "many"])
async def test_a_body_behind_an_offer_to_upgrade_is_read_however_it_is_packed(offer: bytes, packets: str) -> None:
    app = Echo()
    async with serving(app) as connect:
        line, head = await connect(), OFFERED % offer
        for _ in range(2):  # the connection is good for a further request
            app.begun.clear()
            if packets == "one":
                await line.send(head + b"12345")
            else:
                for piece in [head] if packets == "two" else [bytes([byte]) for byte in head]:
                    await line.send(piece)
                await asyncio.wait_for(app.begun.wait(), PATIENCE)
                await line.send(b"12")
                await line.send(b"345")
            assert await line.answer() == (200, b"5")
    first, _ = app.scopes  # one for each request
    assert (first["method"], first["raw_path"], first["query_string"]) == ("POST", b"/", b"a=b")
    names = [name for name, _ in first["headers"]]
    assert b"upgrade" not in names
    assert [name for name in names if name in {b"host", b"content-length", b"x-last"}] == [
        b"host",
        b"content-length",
        b"x-last",
    ]


@pytest.mark.parametrize("offer", OFFERS)
async def test_a_chunked_body_behind_an_offer_to_upgrade_is_read_and_so_is_what_follows(offer: bytes) -> None:
    chunked = b"POST / HTTP/1.1\r\nhost: x\r\n%stransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" % offer
    async with serving(Echo()) as connect:
        line = await connect()
        await line.send(chunked + OFFERED % offer + b"12345" + GET)
        assert [await line.answer() for _ in range(3)] == [(200, b"3"), (200, b"5"), (200, b"0")]


async def test_what_is_no_request_puts_nothing_into_an_answer_under_way() -> None:
    app = Echo()
    async with serving(app) as connect:
        line = await connect()
        await line.send(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n")
        await app.held.wait()
        await line.send(b"\1\2\3 no request\r\n\r\n")
        assert await line.rest() == b""


async def test_a_sender_that_we_do_not_read_from_is_not_the_one_that_goes() -> None:
    app = Echo()
    async with serving(app, senders=Senders(most=2)) as connect:
        paused, slow = await connect(), await connect()
        await paused.send(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\nPOST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n1")
        await app.held.wait()
        await slow.send(b"GET / HTTP/1.1\r\nx-long: ")
        others = [await connect() for _ in range(2)]
        assert (await slow.rest()).startswith(b"HTTP/1.1 408 ")
        app.go.set()
        assert await paused.answer() == (200, b"0")
        await paused.send(b"2")
        assert await paused.answer() == (200, b"2")
        for line in others[1:]:
            await line.send(GET)
            assert await line.answer() == (200, b"0")


@pytest.mark.parametrize("owed", [b"", b"content-length: 5\r\n"])
@pytest.mark.parametrize(
    "begin", [b"GET /%s HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nx-long: %s\r\n", b"GET / HTTP/1.1\r\n%s: y\r\n"]
)
async def test_a_head_that_is_too_long_gets_431_though_it_came_whole(begin: bytes, owed: bytes) -> None:
    app = Echo()
    async with serving(app) as connect:
        line = await connect()
        await line.send(begin % (b"x" * HEAD_MAX) + owed + b"host: x\r\n\r\n")
        assert (await line.rest()).startswith(b"HTTP/1.1 431 ")
    assert app.scopes == []


async def test_a_head_of_many_short_lines_gets_431_too() -> None:
    async with serving(Echo()) as connect:
        line = await connect()
        await line.send(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * (HEAD_MAX // 6 + 1) + b"\r\n")
        assert (await line.rest()).startswith(b"HTTP/1.1 431 ")


async def test_a_request_of_http_1_0_is_answered_and_its_connection_closed() -> None:
    async with serving(Echo()) as connect:
        line = await connect()
        await line.send(b"POST / HTTP/1.0\r\ncontent-length: 3\r\n\r\nabc")
        assert await line.answer() == (200, b"3")
        assert await line.rest() == b""


async def test_who_expects_100_continue_is_told_to_go_on_before_the_body_comes() -> None:
    async with serving(Echo()) as connect:
        line = await connect()
        for _ in range(2):
            await line.send(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
            assert await line.answer() == (100, b"")
            await line.send(b"abc")
            assert await line.answer() == (200, b"3")


@pytest.mark.parametrize("packets", ["one", "many"])
async def test_pipelined_requests_with_bodies_are_answered_in_order(packets: str) -> None:
    requests = b"".join(
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (n, b"x" * n) for n in (3, 0, 70_000, 1)
    )
    async with serving(Echo()) as connect:
        line = await connect()
        if packets == "one":
            await line.send(requests)
        else:
            for start in range(0, len(requests), 50):
                await line.send(requests[start : start + 50])
        assert [await line.answer() for _ in range(4)] == [(200, b"3"), (200, b"0"), (200, b"70000"), (200, b"1")]
