"""What goes wrong around the gateway: one small class each. `begin`, then `felt` until it matters, then `end`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tests.chaos.callers import Callers
from tests.chaos.full_disk import Volume
from tests.chaos.hurry import LEASE
from tests.chaos.receiver import Mood, Receiver
from tests.chaos.replica import Replica
from tests.chaos.stage import Stage
from tests.databases import PostgresServer

ENOUGH = 3  #: answers of callers by which a fault was felt
OURS = "application_name LIKE 'qwen-image-gateway%' AND datname = current_database()"


@dataclass
class Killed:
    """SIGKILL, and started again."""

    replica: Replica
    callers: Callers
    _before: int = field(default=0, repr=False)

    def begin(self) -> None:
        self._before = self._count()
        self.replica.kill()

    def felt(self) -> bool:
        return self._count() >= self._before + ENOUGH

    def end(self) -> None:
        self.replica.start()

    def _count(self) -> int:
        """Whoever asks an API is refused; of a worker's death nobody hears, and jobs are accepted all the same."""
        return self.callers.refused_by(self.replica) if self.replica.url else self.callers.accepted()


@dataclass
class Frozen:
    """SIGSTOP until its leases have run out, then SIGCONT: it wakes up in the middle of what it did."""

    replica: Replica
    _since: float = field(default=0, repr=False)

    def begin(self) -> None:
        self._since = time.monotonic()
        self.replica.freeze()

    def felt(self) -> bool:
        return time.monotonic() > self._since + LEASE.total_seconds() + 1

    def end(self) -> None:
        self.replica.thaw()


@dataclass
class ClockJumps:
    """Killed, and started with a wall clock that is ahead; then killed again, and the clock is right again: it jumped back."""

    replica: Replica
    callers: Callers
    ahead: float  #: seconds
    _before: int = field(default=0, repr=False)

    def begin(self) -> None:
        self._before = self.callers.accepted()
        self.replica.kill()
        self.replica.start(clock_offset=self.ahead)

    def felt(self) -> bool:
        return self.callers.accepted() >= self._before + ENOUGH

    def end(self) -> None:
        self.replica.kill()
        self.replica.start()


@dataclass
class PostgresStopped:
    """Stopped, `fast` or `immediate`, and started again."""

    server: PostgresServer
    callers: Callers
    mode: str
    _before: int = field(default=0, repr=False)

    def begin(self) -> None:
        self._before = self.callers.turned_away()
        self.server._run("pg_ctl", "stop", "-w", "-s", "-m", self.mode, "-D", str(self.server._data))

    def felt(self) -> bool:
        return self.callers.turned_away() >= self._before + ENOUGH

    def end(self) -> None:
        self.server.start()


@dataclass
class BackendsEnded:
    """Every connection of the gateway is cut, amid whatever it does."""

    stage: Stage

    def begin(self) -> None:
        assert self.stage.rows(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}")

    def felt(self) -> bool:
        return True

    def end(self) -> None:
        return


@dataclass
class DiskFull:
    """The volume of the database has no byte left, and then it has again."""

    volume: Volume
    callers: Callers
    _before: int = field(default=0, repr=False)

    def begin(self) -> None:
        self._before = self.callers.turned_away()
        self.volume.fill()

    def felt(self) -> bool:
        return self.callers.turned_away() >= self._before + ENOUGH

    def end(self) -> None:
        self.volume.empty()


@dataclass
class StoreGone:
    """In the place of the picture store's folder lies a file; later the folder is back, with what it held.

    (Rights would not do: whoever is root writes all the same.)
    """

    stage: Stage
    _before: int = field(default=0, repr=False)

    def begin(self) -> None:
        self._before = self._complaints()
        self.stage.pictures.take_away()

    def felt(self) -> bool:
        return self._complaints() > self._before

    def end(self) -> None:
        self.stage.pictures.bring_back()

    def _complaints(self) -> int:
        return sum("picture store" in str(line.get("reason")) for line in self.stage.log())


@dataclass
class ReceiverMoody:
    """A receiver fails, hangs, or is not there; then it is well again."""

    stage: Stage
    receiver: Receiver
    mood: Mood
    _before: int = field(default=0, repr=False)

    def begin(self) -> None:
        self._before = self._attempts()
        self.receiver.be(self.mood)

    def felt(self) -> bool:
        return self._attempts() > self._before

    def end(self) -> None:
        self.receiver.be(Mood.WELL)

    def _attempts(self) -> int:
        """As the receiver counts them; where it is not there, as the gateway does."""
        if self.mood is not Mood.GONE:
            return len(self.receiver.arrivals)
        mine = f":{self.receiver.port}"
        tried = (line for line in self.stage.log() if line.get("event") == "delivery" and line.get("status") is None)
        return sum(str(line["origin"]).endswith(mine) for line in tried)


@dataclass
class UpstreamAway:
    """Every request to the upstream is answered alike, and badly."""

    stage: Stage
    callers: Callers
    how: str
    _before: int = field(default=0, repr=False)

    def begin(self) -> None:
        self._before = self.callers.accepted()
        self.stage.upstream.be_away(self.how)

    def felt(self) -> bool:
        return self.callers.accepted() >= self._before + ENOUGH

    def end(self) -> None:
        self.stage.upstream.be_away(None)
