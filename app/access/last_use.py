"""When each key was last used: remembered here, written later, never in a request's way."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.loops import Wake
from app.storage.keys import USE_EVERY, KeyStore


class LastUse:
    """Gathers the keys that were used, for a sweep to write. What is lost with the process does no harm."""

    def __init__(self, keys: KeyStore, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds from any start."""
        self._keys, self._clock = keys, clock
        self._noted: dict[str, float] = {}  # when this process last noted a key
        self._unwritten: set[str] = set()
        self.wake = Wake()  #: rung when there is something to write

    def note(self, key_id: str) -> None:
        """The key was used now; at most once a minute that is worth writing."""
        now, before = self._clock(), self._noted.get(key_id)
        if before is None or now - before >= USE_EVERY.total_seconds():
            self._noted[key_id] = now
            self._unwritten.add(key_id)
            self.wake.ring()

    async def sweep(self) -> None:
        """Writes what was gathered."""
        used, self._unwritten = self._unwritten, set()
        if used:
            await self._keys.note_use(used)
