"""One process of the gateway, as a supervisor sees it: it is killed, frozen, and started again until it stays up."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.cli.exits import OUT_OF_REACH, USAGE
from tests.chaos.hurry import READY
from tests.crash.processes import Process, wait_for

#: A start that found its database, or its picture store, away; a supervisor tries again.
_MAY_REFUSE = (OUT_OF_REACH, USAGE)


class Replica:
    """Named, at one address for its whole life.

    Args:
        port: where it serves the API; None for a worker.
    """

    def __init__(self, name: str, port: int | None, environment: Mapping[str, str], directory: Path) -> None:
        self.name, self.url = name, f"http://127.0.0.1:{port}" if port else None
        self._arguments = ["serve", str(port)] if port else ["worker"]
        self._environment, self._directory = dict(environment), directory
        self.ever: list[Process] = []  #: all that ran
        self._down: list[tuple[float, float | None]] = []  #: monotonic seconds, from the kill to the start

    def start(self, *, clock_offset: float = 0) -> None:
        """Returns once it works."""
        environment = {**self._environment, "CLOCK_OFFSET": str(clock_offset)}
        self._begin(environment)

        def works() -> bool:
            if any(line.strip() == READY for line in list(self._process.stderr)):
                return True
            if (code := self._process._child.poll()) is not None:
                said = "".join(self._process.stderr)
                assert code in _MAY_REFUSE, f"{self.name} did not start (exit code {code}):\n{said}"
                self._begin(environment)
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

    def end(self) -> None:
        for process in self.ever:
            process.end()

    @property
    def pid(self) -> int:
        return self._process.pid

    def was_down(self, began: float, ended: float) -> bool:
        """Whether it was dead at any moment between these two (monotonic seconds)."""
        return any(since <= ended and (until is None or began <= until) for since, until in self._down)

    def log(self) -> Iterator[dict[str, Any]]:
        """The whole lines of its log, of all its lives; what is no JSON is told as `{"raw": line}`."""
        for process in self.ever:
            for line in list(process.stderr):
                try:
                    found = json.loads(line)
                except ValueError:
                    found = None
                yield found if isinstance(found, dict) else {"raw": line.rstrip()}

    @property
    def _process(self) -> Process:
        return self.ever[-1]

    def _begin(self, environment: dict[str, str]) -> None:
        self.ever.append(Process(["-m", "tests.chaos.hurried_gateway", *self._arguments], environment, self._directory))

    def _told(self) -> str:
        return "".join(self._process.stderr[-20:])
