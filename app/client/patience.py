"""How long to try, and how long to pause between tries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.client.errors import ClientError


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call tries. All times are in seconds."""

    tries: int = 5  #: of one call
    deadline: float = 60.0  #: of one call, with all its tries and pauses; looked at between reads
    outage: float = 300.0  #: how long a wait, a stream or an export goes on while nothing but errors comes
    first_pause: float = 0.25  #: before the second try; doubles from there
    longest_pause: float = 10.0

    def backoff(self, failures: int, chance: Callable[[], float]) -> float:
        """Exponential. Half of it is chance, so that those who failed together do not come back together."""
        longest: float = min(self.first_pause * 2 ** min(failures - 1, 30), self.longest_pause)
        return longest * (0.5 + 0.5 * chance())


class Tries:
    """The tries of one call: so many, and all before `until`."""

    def __init__(self, patience: Patience, monotonic: Callable[[], float], chance: Callable[[], float]) -> None:
        self._patience, self._monotonic, self._chance = patience, monotonic, chance
        self._failed = 0
        self.until = monotonic() + patience.deadline

    def pause(self, error: ClientError) -> float:
        """Seconds before the next try, not less than `Retry-After`.

        Raises:
            ClientError: the one given, when there is no next try.
        """
        self._failed += 1
        seconds = self._patience.backoff(self._failed, self._chance) + (error.retry_after or 0.0)
        if self._failed >= self._patience.tries or self._monotonic() + seconds > self.until:
            raise error
        return seconds


class Outage:
    """What a long call lives through: any number of failures, as long as something goes well now and then."""

    def __init__(self, patience: Patience, monotonic: Callable[[], float], chance: Callable[[], float]) -> None:
        self._patience, self._monotonic, self._chance = patience, monotonic, chance
        self._failed = 0
        self._began = 0.0

    def is_over(self) -> None:
        """Something went well."""
        self._failed = 0

    def pause(self, error: ClientError) -> float:
        """Seconds before the next try, not less than `Retry-After`.

        Raises:
            ClientError: the one given, when it would last too long.
        """
        self._failed += 1
        if self._failed == 1:
            self._began = self._monotonic()
        seconds = self._patience.backoff(self._failed, self._chance) + (error.retry_after or 0.0)
        if self._monotonic() + seconds > self._began + self._patience.outage:
            raise error
        return seconds
