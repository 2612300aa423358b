"""What goes wrong around the gateway: one small class each. `begin`, then `felt` until it matters, then `end`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from app.lifecycle.ownership import hash_token
from tests.chaos.callers import Callers
from tests.chaos.full_disk import Volume
from tests.chaos.hurry import LEASE
from tests.chaos.receiver import Mood, Receiver
from tests.chaos.replica import Log, Replica
from tests.chaos.stage import Stage
from tests.chaos.trouble import Kind
from tests.crash.processes import wait_for
from tests.databases import PostgresServer

ENOUGH = 3  #: answers of callers by which a fault was felt
TRIES = 10  #: times that a process is frozen until it was amid a submit, and amid no transaction
TAKEOVER = 3.0  #: seconds after a lease in which another process has surely looked
LONG_ENOUGH = 10.0  #: seconds that a process gets to send something
LOOK_EVERY = 0.5  #: seconds between two looks into the database

_LEASED = "SELECT job_id, number, token_hash FROM submissions WHERE lease_until IS NOT NULL"
_LOST = "SELECT job_id, data FROM events WHERE type = 'answer_lost'"
_LEASE_ENDED = "before its lease ended"
_STUCK = """
    SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'qwen-image-gateway%' AND datname = current_database()
      AND state = 'idle in transaction' AND state_change < now() - interval '2 seconds'"""
_END_THEM = """
    WITH ours AS (SELECT pid, state FROM pg_stat_activity
                  WHERE application_name LIKE 'qwen-image-gateway%' AND datname = current_database())
    SELECT state, pg_terminate_backend(pid) FROM ours WHERE EXISTS (SELECT 1 FROM ours WHERE state <> 'idle')"""

Submission = tuple[Any, int]  #: its job and number


class AtAnyTime:
    """A fault that needs to wait for nothing before it begins."""

    def ready(self) -> None:
        return


@dataclass
class Killed:
    """SIGKILL while something is being sent, and started again."""

    stage: Stage = field(repr=False)
    replica: Replica
    callers: Callers = field(repr=False)
    kind: Kind = Kind.KILLED
    _before: int = field(default=0, repr=False)

    def ready(self) -> None:
        self.replica.hands.acquire()
        _until_it_sends(self.stage, self.replica)

    def begin(self) -> None:
        self._before = self._count()
        self.replica.kill()

    def felt(self) -> bool:
        return self._count() >= self._before + ENOUGH

    def end(self) -> None:
        try:
            self.replica.start()
        finally:
            self.replica.hands.release()

    def _count(self) -> int:
        """Whoever asks an API is refused; of a worker's death nobody hears, and jobs are accepted all the same."""
        return self.callers.refused_by(self.replica) if self.replica.url else self.callers.accepted()


@dataclass
class Frozen:
    """SIGSTOP amid a submit until its lease has run out, then SIGCONT: it wakes up in the middle of what it did.

    Felt when another process has taken over a submission that it had in hand, or when any lease that it held is long over.
    """

    stage: Stage = field(repr=False)
    replica: Replica
    kind: Kind = Kind.FROZEN
    _since: float = field(default=0, repr=False)
    _in_hand: set[Submission] = field(default_factory=set, repr=False)
    _tries: int = field(default=0, repr=False)
    _looked_at: float = field(default=0, repr=False)

    def ready(self) -> None:
        self.replica.hands.acquire()
        _until_it_sends(self.stage, self.replica)

    def begin(self) -> None:
        self._tries = 0
        self._freeze()

    def felt(self) -> bool:
        """Asked now and then: each time looks into the database."""
        now = time.monotonic()
        if now < self._looked_at + LOOK_EVERY:
            return False
        self._looked_at = now
        idle = not self._in_hand or (now < self._since + LEASE.total_seconds() / 2 and self._holds_up_all())
        if idle and self._tries < TRIES:
            self._freeze_again()
            return False
        long_over = now > self._since + LEASE.total_seconds() + TAKEOVER
        return long_over or (len(self.stage.replicas) > 1 and self._was_taken_over())

    def end(self) -> None:
        self.replica.thaw()
        self.replica.hands.release()

    def _freeze(self) -> None:
        self._tries += 1
        self.replica.freeze()
        self._since, self._in_hand = time.monotonic(), _in_hand(self.stage, self.replica)

    def _freeze_again(self) -> None:
        self.replica.thaw()
        _until_it_sends(self.stage, self.replica)
        self._freeze()

    def _holds_up_all(self) -> bool:
        """It was struck amid a transaction, and others wait for it: for 30 s, until the database ends its connection."""
        return not self.stage.is_sqlite and self.stage.rows(_STUCK) != [(0,)]

    def _was_taken_over(self) -> bool:
        lost = self.stage.rows(_LOST)
        return any((job_id, data["submission"]) in self._in_hand for job_id, data in lost if _LEASE_ENDED in data["detail"])


def _in_hand(stage: Stage, replica: Replica) -> set[Submission]:
    """What it has sent, and holds a lease of, and has no answer to: as the upstream says, by the port that it sent from."""
    ports = replica.ports()
    tokens = {hash_token(token) for port, token in stage.upstream.under_way() if port in ports}
    return {(job_id, number) for job_id, number, token in stage.rows(_LEASED) if bytes(token) in tokens}


def _until_it_sends(stage: Stage, replica: Replica) -> None:
    """Returns when it is amid a submit; or, so that a worker that gets little to do is struck too, after a while."""
    until = time.monotonic() + LONG_ENOUGH

    def sends() -> bool:
        ports = replica.ports()
        return any(port in ports for port, _ in stage.upstream.under_way()) or time.monotonic() > until

    wait_for(sends)


@dataclass
class ClockJumps(AtAnyTime):
    """The wall clock of a running process jumps, and later it jumps back."""

    stage: Stage = field(repr=False)
    replica: Replica
    callers: Callers = field(repr=False)
    by: float  #: seconds; negative is back first, and forward later
    kind: Kind = Kind.CLOCK
    _before: int = field(default=0, repr=False)

    def begin(self) -> None:
        self._before = self.callers.accepted()
        self.stage.set_clock(self.replica, self.by)

    def felt(self) -> bool:
        return self.callers.accepted() >= self._before + ENOUGH

    def end(self) -> None:
        self.stage.set_clock(self.replica, 0)


@dataclass
class PostgresStopped(AtAnyTime):
    """Stopped, `fast` or `immediate`, and started again."""

    server: PostgresServer = field(repr=False)
    callers: Callers = field(repr=False)
    mode: Literal["fast", "immediate"]
    kind: Kind = Kind.DATABASE
    _before: int = field(default=0, repr=False)

    def begin(self) -> None:
        self._before = self.callers.turned_away()
        self.server.stop(self.mode)

    def felt(self) -> bool:
        return self.callers.turned_away() >= self._before + ENOUGH

    def end(self) -> None:
        self.server.start()


@dataclass
class BackendsEnded(AtAnyTime):
    """Every connection of the gateway is cut, amid what at least one of them does."""

    stage: Stage = field(repr=False)
    kind: Kind = Kind.DATABASE

    def begin(self) -> None:
        return

    def felt(self) -> bool:
        return any(state != "idle" for state, _ in self.stage.rows(_END_THEM))

    def end(self) -> None:
        return


@dataclass
class DiskFull:
    """The volume of the database has no byte left, and then it has again."""

    volume: Volume
    replica: Replica
    callers: Callers = field(repr=False)
    kind: Kind = Kind.DATABASE
    _before: int = field(default=0, repr=False)

    def ready(self) -> None:
        self.replica.hands.acquire()  # a process that is started finds a disk to start on

    def begin(self) -> None:
        self._before = self.callers.turned_away()
        self.volume.fill()

    def felt(self) -> bool:
        return self.callers.turned_away() >= self._before + ENOUGH

    def end(self) -> None:
        self.volume.empty()
        self.replica.hands.release()


@dataclass
class StoreGone(AtAnyTime):
    """In the place of the picture store's folder lies a file; later the folder is back, with what it held.

    (Rights would not do: whoever is root writes all the same.)
    """

    stage: Stage = field(repr=False)
    kind: Kind = Kind.STORE
    _logs: list[Log] = field(default_factory=list, repr=False)

    def begin(self) -> None:
        self._logs = self.stage.log_from_now()
        self.stage.pictures.take_away()

    def felt(self) -> bool:
        return any("picture store" in str(line.get("reason")) for log in self._logs for line in log.lines())

    def end(self) -> None:
        self.stage.pictures.bring_back()


@dataclass
class ReceiverMoody(AtAnyTime):
    """A receiver fails, hangs, or is not there; then it is well again."""

    stage: Stage = field(repr=False)
    receiver: Receiver = field(repr=False)
    mood: Mood
    kind: Kind = Kind.RECEIVER
    _before: int = field(default=0, repr=False)
    _logs: list[Log] = field(default_factory=list, repr=False)

    def begin(self) -> None:
        self._before, self._logs = len(self.receiver.arrivals), self.stage.log_from_now()
        self.receiver.be(self.mood)

    def felt(self) -> bool:
        """As the receiver counts; where it is not there, as the gateway does."""
        if self.mood is not Mood.GONE:
            return len(self.receiver.arrivals) > self._before
        return any(self._is_mine(line) for log in self._logs for line in log.lines())

    def end(self) -> None:
        self.receiver.be(Mood.WELL)

    def _is_mine(self, line: dict[str, Any]) -> bool:
        tried = line.get("event") == "delivery" and line.get("status") is None
        return tried and str(line["origin"]).endswith(f":{self.receiver.port}")


@dataclass
class UpstreamAway(AtAnyTime):
    """Every request to the upstream is answered alike, and badly."""

    stage: Stage = field(repr=False)
    callers: Callers = field(repr=False)
    how: str
    kind: Kind = Kind.UPSTREAM
    _before: int = field(default=0, repr=False)

    def begin(self) -> None:
        self._before = self.callers.accepted()
        self.stage.upstream.be_away(self.how)

    def felt(self) -> bool:
        return self.callers.accepted() >= self._before + ENOUGH

    def end(self) -> None:
        self.stage.upstream.be_away(None)
