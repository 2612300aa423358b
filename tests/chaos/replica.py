"""One process of the gateway, as a supervisor sees it: it is killed, frozen, and started again until it stays up."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.exits import OUT_OF_REACH, USAGE
from tests.chaos.hurry import READY
from tests.chaos.shifted_clock import set_offset
from tests.crash.processes import Process, wait_for

#: A start that found its database, or its picture store, away; a supervisor tries again.
_MAY_REFUSE = (OUT_OF_REACH, USAGE)


class Replica:
    """Named, at one address for its whole life.

    Args:
        port: where it serves the API; None for a worker.

    Attributes:
        hands: held by the one fault that may kill, freeze or hinder it just now.
    """

    def __init__(self, name: str, port: int | None, environment: Mapping[str, str], directory: Path) -> None:
        self.name, self.url = name, f"http://127.0.0.1:{port}" if port else None
        self._arguments = ["serve", str(port)] if port else ["worker"]
        self._clock_file = directory / f"{name}.clock"
        self._environment, self._directory = {**environment, "CLOCK_FILE": str(self._clock_file)}, directory
        self.ever: list[Process] = []  #: all that ran
        self.hands = threading.Lock()
        self._down: list[tuple[float, float | None]] = []  #: monotonic seconds, from the kill to the start
        self.set_clock(0)

    def __repr__(self) -> str:
        return self.name

    def start(self) -> None:
        """Returns once it works."""
        self._begin()

        def works() -> bool:
            if any(line.strip() == READY for line in list(self._process.stderr)):
                return True
            if (code := self._process.exit_code) is not None:
                said = "".join(self._process.stderr)
                assert code in _MAY_REFUSE, f"{self.name} did not start (exit code {code}):\n{said}"
                self._begin()
            return False

        wait_for(works)
        self._down = [(since, until if until is not None else time.monotonic()) for since, until in self._down]

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, closed or said."""
        self._down.append((time.monotonic(), None))
        os.kill(self._process.pid, signal.SIGKILL)
        assert self._process.ended() == -signal.SIGKILL, f"{self.name} had ended by itself:\n{self._told()}"

    def freeze(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def set_clock(self, offset: float) -> None:
        """Its wall clock is off by so many seconds from now on, whether it runs or is yet to be started."""
        set_offset(self._clock_file, offset)

    def end(self) -> None:
        for process in self.ever:
            process.end()

    @property
    def pid(self) -> int:
        return self._process.pid

    def was_down(self, began: float, ended: float) -> bool:
        """Whether it was dead at any moment between these two (monotonic seconds)."""
        return any(since <= ended and (until is None or began <= until) for since, until in self._down)

    def ports(self) -> set[int]:
        """Of its connections, on its own side; they are there while it is frozen, too. As Linux tells it in /proc."""
        mine = set(map(_target, Path(f"/proc/{self.pid}/fd").glob("*")))
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return {int(line[1].rpartition(":")[2], 16) for line in lines if f"socket:[{line[9]}]" in mine}

    def log(self) -> Log:
        """Of all its lives, from the beginning on."""
        return Log(self.ever)

    @property
    def _process(self) -> Process:
        return self.ever[-1]

    def _begin(self) -> None:
        self.ever.append(Process(["-m", "tests.chaos.hurried_gateway", *self._arguments], self._environment, self._directory))

    def _told(self) -> str:
        return "".join(self._process.stderr[-20:])


class Log:
    """The lines of processes, each read once."""

    def __init__(self, processes: list[Process]) -> None:
        self._processes = processes
        self._read: dict[int, int] = {}  #: lines read so far, by the place of the process

    def skip(self) -> None:
        """What was said so far is not wanted."""
        self._read = {place: len(process.stderr) for place, process in enumerate(list(self._processes))}

    def lines(self) -> Iterator[dict[str, Any]]:
        """What came since it was last asked; what is no JSON is told as `{"raw": line}`."""
        for place, process in enumerate(list(self._processes)):
            fresh = process.stderr[self._read.get(place, 0) :]
            self._read[place] = self._read.get(place, 0) + len(fresh)
            yield from map(_parsed, fresh)


def _target(link: Path) -> str | None:
    try:
        return str(link.readlink())
    except OSError:
        return None  # it was closed meanwhile


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"raw": line.rstrip()}
