"""The bells of the duties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from app.loops import Wake

Kind = Literal["dispatch", "reconcile", "watch", "archive", "deliver", "operate"]


@dataclass(slots=True)
class Wakes:
    """The bells of the duties, rung by whoever makes work for them: here, and through `tell_others` in other replicas."""

    dispatch: Wake = field(default_factory=Wake)
    reconcile: Wake = field(default_factory=Wake)
    watch: Wake = field(default_factory=Wake)
    archive: Wake = field(default_factory=Wake)
    deliver: Wake = field(default_factory=Wake)
    operate: Wake = field(default_factory=Wake)
    tell_others: Callable[[str], None] = lambda _kind: None

    def ring(self, kind: Kind) -> None:
        self.heard(kind)
        self.tell_others(kind)

    def heard(self, kind: str) -> None:
        """Rings for what another replica told; anything else than a kind rings all."""
        named = [wake for name, wake in self._bells().items() if name == kind]
        for wake in named or self._bells().values():
            wake.ring()

    def _bells(self) -> dict[str, Wake]:
        return {kind: getattr(self, kind) for kind in get_args(Kind)}
