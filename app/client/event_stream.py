"""Server-sent events, read from bytes. Source: the HTML standard, "Server-sent events"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.client.errors import UnexpectedAnswerError

MESSAGE_MAX = 1024 * 1024  #: bytes of one message
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")  # a \r at the end may be half of a \r\n


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `id` is None where it has none."""

    event: str
    data: str
    id: str | None


class EventStream:
    """Cuts one connection's bytes into messages."""

    def __init__(self) -> None:
        self._rest = b""
        self._fields: dict[str, str] = {}
        self._data: list[str] = []
        self._size = 0
        self.retry: float | None = None  #: seconds that the server asks for before the next connection

    def feed(self, chunk: bytes) -> Iterator[Message]:
        """The messages that are whole now. What the end of the stream cuts off is no message.

        Raises:
            UnexpectedAnswerError: a message over `MESSAGE_MAX`.
        """
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        for line in lines:
            self._size += len(line)
            if (message := self._take(line.decode("utf-8", "replace"))) is not None:
                yield message
        if self._size + len(self._rest) > MESSAGE_MAX:
            raise UnexpectedAnswerError("a message of the event stream is too large")

    def _take(self, line: str) -> Message | None:
        if not line:
            return self._ended()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "retry" and value.isdecimal() and value.isascii():
            self.retry = int(value[:9]) / 1000
        elif name in ("id", "event"):
            self._fields[name] = value
        return None

    def _ended(self) -> Message | None:
        data, fields = self._data, self._fields
        self._data, self._fields, self._size = [], {}, 0
        return Message(fields.get("event") or "message", "\n".join(data), fields.get("id")) if data else None
