"""The bodies of callbacks that are in hand at once: bounded together, so that no number of senders fills the memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.problems import too_many

IN_HAND_MAX = 64 * 1024 * 1024  #: bytes


class BodiesInHand:
    """Those of one process. `most` is in bytes."""

    def __init__(self, most: int = IN_HAND_MAX) -> None:
        self._most, self._held = most, 0

    @contextmanager
    def one_more(self) -> Iterator[BodyInHand]:
        """A body to be filled, which counts until the block ends."""
        body = BodyInHand(self)
        try:
            yield body
        finally:
            self._held -= body.size

    def count(self, size: int) -> None:
        """Raises `Problem`, 503, where so many bytes more are too many."""
        if self._held + size > self._most:
            raise too_many("bytes of callbacks")
        self._held += size


class BodyInHand:
    """One of them, as it comes."""

    def __init__(self, bodies: BodiesInHand) -> None:
        self._bodies, self._content = bodies, bytearray()
        self.size = 0  #: bytes that count

    def add(self, piece: bytes) -> None:
        """Raises `Problem`, 503, where there are too many bytes in hand."""
        self._bodies.count(len(piece))
        self.size += len(piece)
        self._content += piece

    def handed_on(self) -> bytes:
        """The whole body, which is not held here any longer."""
        content, self._content = bytes(self._content), bytearray()
        return content
