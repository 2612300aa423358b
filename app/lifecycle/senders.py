"""Who gets a sender of deliveries, and whose turn it is. Pure.

A sender waits for one receiver, up to the deadline of a call. So no receiver and no tenant may hold all of them, and one that
fails holds few: others do not wait for what is slow or dead.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.lifecycle.receiver import Receiver

_REMEMBERED = 10_000  #: receivers and tenants whose last turn is remembered


@dataclass(frozen=True, slots=True)
class SenderLimits:
    """Calls under way at once in one process."""

    all: int = 100
    tenant: int = 50  #: of one tenant
    receiver: int = 8  #: to one receiver
    failing_receiver: int = 1  #: to one receiver whose last attempt failed
    failing: int = 50  #: to all such receivers together


class Room:
    """How many calls may begin; what begins is taken off."""

    def __init__(self, limits: SenderLimits, under_way: Iterable[tuple[Receiver, bool]] = ()) -> None:
        """`under_way`: the receiver of each call, and whether it was failing when the call began."""
        self._limits = limits
        self._all = self._failing = 0
        self._tenants: Counter[str] = Counter()
        self._receivers: Counter[Receiver] = Counter()
        for receiver, failing in under_way:
            self.take(receiver, 1, failing=failing)

    @property
    def is_full(self) -> bool:
        return self._all >= self._limits.all

    def for_receiver(self, receiver: Receiver, *, failing: bool) -> int:
        """How many more calls may go there now."""
        limits = self._limits
        room = min(
            limits.all - self._all,
            limits.tenant - self._tenants[receiver.tenant],
            (limits.failing_receiver if failing else limits.receiver) - self._receivers[receiver],
        )
        return max(min(room, limits.failing - self._failing) if failing else room, 0)

    def take(self, receiver: Receiver, count: int, *, failing: bool) -> None:
        self._all += count
        self._failing += count if failing else 0
        self._tenants[receiver.tenant] += count
        self._receivers[receiver] += count


@dataclass(slots=True)
class Turns:
    """Tenants in turn, and the receivers of a tenant in turn: who was served longest ago comes first."""

    _tenants: dict[str, int] = field(default_factory=dict)
    _receivers: dict[Receiver, int] = field(default_factory=dict)
    _turn: itertools.count[int] = field(default_factory=itertools.count)

    def in_order(self, receivers: Iterable[Receiver]) -> list[Receiver]:
        """The next receiver of every tenant, then the one after it of every tenant, and so on."""
        of_tenant: defaultdict[str, list[Receiver]] = defaultdict(list)
        for receiver in sorted(receivers, key=lambda r: (self._receivers.get(r, -1), r.origin)):
            of_tenant[receiver.tenant].append(receiver)
        tenants = sorted(of_tenant, key=lambda tenant: (self._tenants.get(tenant, -1), tenant))
        rounds = itertools.zip_longest(*(of_tenant[tenant] for tenant in tenants))
        return [receiver for one_round in rounds for receiver in one_round if receiver is not None]

    def served(self, receiver: Receiver) -> None:
        if len(self._receivers) > _REMEMBERED:
            self._receivers.clear()
            self._tenants.clear()
        self._receivers[receiver] = self._tenants[receiver.tenant] = next(self._turn)
