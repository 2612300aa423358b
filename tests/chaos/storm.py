"""Faults, one after the other in each of several lanes, each until it was felt."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from random import Random
from typing import Protocol

from tests.chaos.callers import Callers
from tests.chaos.trouble import Kind, Trouble
from tests.crash.processes import wait_for

LONG = 240.0  #: seconds that a fault may need until it is felt, on a machine that is busy
BETWEEN = 2  #: jobs that are accepted after a fault before the next begins


class Fault(Protocol):
    """Something that goes wrong, and is mended."""

    @property
    def kind(self) -> Kind:
        """What is wrong meanwhile."""
        ...

    def ready(self) -> None:
        """Returns when it may begin."""
        ...

    def begin(self) -> None: ...

    def felt(self) -> bool:
        """Whether it has lasted long enough to matter; asked again and again."""
        ...

    def end(self) -> None: ...


def rage(lanes: Iterable[Sequence[Fault]], callers: Callers, trouble: Trouble, dice: Random) -> None:
    """All faults of all lanes, each lane in an order of its own; returns when the last is mended.

    Raises:
        AssertionError: a fault was never felt, or could not be mended; the message names it.
    """
    failures: list[str] = []

    def walk(lane: list[Fault]) -> None:
        for fault in lane:
            try:
                _strike(fault, callers, trouble)
            except BaseException as error:
                failures.append(f"{fault}: {error!r}")
                return

    orders = [dice.sample(list(lane), len(lane)) for lane in lanes]
    threads = [threading.Thread(target=walk, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def _strike(fault: Fault, callers: Callers, trouble: Trouble) -> None:
    fault.ready()
    with trouble.during(fault.kind, str(fault)):
        try:
            fault.begin()
            wait_for(fault.felt, LONG)
        finally:
            fault.end()
    callers.until_accepted(BETWEEN)
