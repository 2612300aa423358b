"""HTTP whose requests must come in time and within bounds: uvicorn has no such limits of its own.

What it leaves open (0.54): a connection that says nothing, a head that drips or has no end, bytes after an answer that put off
the end of the idle connection for ever, a body that nobody reads, and an offer to upgrade, for which a body is lost. Source:
Kludex/uvicorn#157.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.cli.plain_parser import PlainParser

HEAD_SECONDS = 10.0  #: from the connection, or the first byte of a further request, to the end of the head
BODY_SECONDS = 15.0  #: from there to the end of the body; routes that read one have shorter deadlines and answer 408
HEAD_MAX = 64 * 1024  #: bytes of a head; and what chunks add to a body, beyond as much again as the body
SENDERS_MAX = 1000  #: connections at once that still owe a request
UNANSWERED_MAX = 100  #: connections beyond those that are served


@dataclass(slots=True)
class Senders:
    """The connections of one server that still owe a request, or the rest of one; who has owed it longest is first.

    One too many costs the first its place, unless it is we who do not read from it. So however many drip, a caller who sends
    without delay is served: its request is whole long before so many others have come after it.
    """

    most: int = SENDERS_MAX
    _owing: dict[BoundedProtocol, None] = field(default_factory=dict)

    def add(self, sender: BoundedProtocol) -> None:
        self._owing.pop(sender, None)
        self._owing[sender] = None
        if len(self._owing) > self.most and (first := next((s for s in self._owing if not s.flow.read_paused), None)):
            first.give_up()

    def discard(self, sender: BoundedProtocol) -> None:
        self._owing.pop(sender, None)


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    A head that is late gets 408, one that is too long 431 and one that is none 400, unless an answer is under way; then the
    connection is closed. No clock runs while a whole request is at work, and none runs out while it is we who do not read.

    Args:
        senders: shared by the connections of a server.
        connections_max: one beyond so many is answered by `crowded`, and one beyond `UNANSWERED_MAX` more closed at once.
    """

    def __init__(
        self,
        *args: Any,
        senders: Senders,
        connections_max: int,
        crowded: ASGIApp,
        head_seconds: float = HEAD_SECONDS,
        body_seconds: float = BODY_SECONDS,
        **named: Any,
    ) -> None:
        super().__init__(*args, **named)
        self.parser: PlainParser = PlainParser(self)
        self._senders, self._connections_max, self._crowded = senders, connections_max, crowded
        self._head_seconds, self._body_seconds = head_seconds, body_seconds
        self._owed: float | None = None  # how long what is owed may take; None where nothing is
        self._deadline: asyncio.TimerHandle | None = None
        self._in_head = self._in_body = self._ended = False
        self._framing = self._content = 0  # bytes of the message that is coming: its head and what chunks add; its content
        self._head = 0  # bytes of its head alone, as far as it was understood

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        beyond = len(self.connections) - self._connections_max
        if beyond > UNANSWERED_MAX:
            transport.close()
            return
        if beyond > 0:
            self.app = self._crowded
        self._expect(self._head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._ended, before = False, self._content
        super().data_received(data)
        if self.transport.is_closing():
            return
        # Where a message ended amid the data, what follows it is too little to matter.
        self._framing = 0 if self._ended else self._framing + len(data) - (self._content - before)
        if self._framing > HEAD_MAX + self._content:
            self._refuse(b"431 Request Header Fields Too Large")
        elif (owed := self._what_is_owed()) != self._owed or self._ended:
            self._expect(owed)

    def on_message_begin(self) -> None:
        self._in_head, self._head = True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._head += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value) + len(b": \r\n")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.is_offer:
            return
        if self._head > HEAD_MAX:
            raise _HeadTooLongError
        self._in_head, self._in_body = False, True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._content += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.is_offer:
            return
        self._in_body, self._ended, self._content = False, True, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if self._in_head and (self._head > HEAD_MAX or self._is_answering):
            self._refuse(b"431 Request Header Fields Too Large")
        else:
            super().send_400_response(msg)

    def give_up(self) -> None:
        """Waits no longer for what is owed."""
        self._refuse(b"408 Request Timeout")

    def _what_is_owed(self) -> float | None:
        """Line ends between requests begin none, but they have ended uvicorn's own clock of the idle connection."""
        if self._in_body:
            return self._body_seconds
        return self._head_seconds if self._in_head or not self._is_answering else None

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect(self, owed: float | None) -> None:
        self._owed = owed
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if owed is None:
            self._senders.discard(self)
        else:
            self._deadline = self.loop.call_later(owed, self._too_late)
            self._senders.add(self)

    def _too_late(self) -> None:
        if self.flow.read_paused:
            self._expect(self._owed)
        else:
            self.give_up()

    def _refuse(self, status: bytes) -> None:
        self._expect(None)
        if self._in_head and not self._is_answering:
            self.transport.write(b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % status)
        self.transport.close()


class _HeadTooLongError(Exception):
    """Ends the parsing; what the sender is told is in `send_400_response`."""
