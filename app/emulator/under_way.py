"""The submits that are being answered just now, those whose answer is held back among them."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager


class UnderWay:
    """Who waits for an answer to a submit, and for which."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._waiting: dict[int, tuple[int | None, bytes]] = {}

    @contextmanager
    def one_more(self, client_port: int | None, body: bytes) -> Iterator[None]:
        """A client waits while the block runs."""
        number = next(self._numbers)
        self._waiting[number] = client_port, body
        try:
            yield
        finally:
            del self._waiting[number]

    def describe(self) -> list[dict[str, object]]:
        """Each by the port of its client, and the callback URL that it gave, if that can be read."""
        return [{"client_port": port, "callback_url": _callback_url(body)} for port, body in self._waiting.values()]


def _callback_url(body: bytes) -> object:
    try:
        read = json.loads(body)
    except ValueError:
        return None
    return read.get("callback_url") if isinstance(read, dict) else None
