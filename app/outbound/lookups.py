"""Name lookups that cannot pile up."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from threading import BoundedSemaphore
from typing import Any

from ssrfguard import Resolver


class Lookups:
    """A resolver that runs at most `limit` lookups at a time and refuses the next one at once.

    A lookup runs in a thread that nothing can stop. A call whose deadline ran out leaves its thread behind until the
    resolver gives up, so whoever names hosts of a mute name server could otherwise take all threads there are.
    """

    def __init__(self, resolver: Resolver, limit: int) -> None:
        self._resolver = resolver
        self._free = BoundedSemaphore(limit)

    def __call__(self, *question: Any) -> Iterable[Any]:
        if not self._free.acquire(blocking=False):
            raise socket.gaierror(socket.EAI_AGAIN, "too many lookups are waiting for an answer")
        try:
            return self._resolver(*question)
        finally:
            self._free.release()
