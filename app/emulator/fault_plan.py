"""Rules which call for faults: always, at a rate, every Nth time, or the next N times."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal, Self

from app.emulator.fault import BadFaultValue, Fault, FaultValue, fault_named

_SPEC = re.compile(r"(?P<name>[^=@]+)(?:=(?P<value>[^@]*))?(?:@(?P<when>.*))?", re.DOTALL)
_COUNTED = re.compile(r"(every|next)-?([1-9][0-9]*)")


@dataclass(slots=True)
class FaultRule:
    """One fault, its value, and when it strikes. At most one of ``rate``, ``every``, ``remaining`` is given."""

    fault: Fault
    #: As given; ``None`` when it was left to the fault's default.
    value: FaultValue = None
    #: Probability, 0 to 1.
    rate: float | None = None
    #: Strikes the Nth, 2Nth, … request.
    every: int | None = None
    #: Strikes so many more requests.
    remaining: int | None = None
    #: Requests which this rule has looked at.
    seen: int = 0

    @classmethod
    def parse(cls, spec: str) -> Self:
        """Read ``NAME[=VALUE][@RATE]``; RATE is ``0.1``, ``every-3`` or ``next-3``, and without it every time.

        A fault which takes no value takes its rate after either sign: ``callback-lost=0.1``. Raises ``UnknownFault``
        and ``BadFaultValue``.
        """
        match = _SPEC.fullmatch(spec.strip())
        if match is None:
            raise BadFaultValue(f"a fault is NAME[=VALUE][@RATE], not '{spec}'")
        fault, value, when = fault_named(match["name"].strip()), match["value"], match["when"]
        if fault.takes == "nothing" and when is None:
            value, when = None, value
        rule = cls(fault, None if value is None else fault.read_value(value))
        rule._read_when(when)
        return rule

    @classmethod
    def from_control(cls, order: Mapping[str, object]) -> Self:
        """Read the control endpoint's ``{"fault", "value"?, "rate"|"every"|"next"?}``; raises as ``parse`` does."""
        name, value = order.get("fault"), order.get("value")
        if not isinstance(name, str):
            raise BadFaultValue("'fault' must be the name of a fault")
        fault = fault_named(name)
        rule = cls(fault, None if value is None else fault.read_value(str(value)))
        given = [word for word in ("rate", "every", "next") if order.get(word) is not None]
        if len(given) > 1:
            raise BadFaultValue(f"{' and '.join(given)} exclude each other")
        rule._read_when(_when(given[0], order[given[0]]) if given else None)
        return rule

    @property
    def strikes(self) -> Literal["submit", "status"]:
        """The request this rule looks at: a lasting fault with a value is bound to a task when that is submitted."""
        return "submit" if self.fault.lasts and self.value is not None else self.fault.strikes

    @property
    def used_up(self) -> bool:
        """True when the rule can never strike again."""
        return self.remaining == 0

    def effective_value(self) -> FaultValue:
        """The value given, or else the fault's default."""
        return self.fault.default if self.value is None else self.value

    def strike(self, rng: Random) -> bool:
        """Whether the request now looked at is struck; counts it."""
        self.seen += 1
        if self.rate is not None:
            return rng.random() < self.rate
        if self.every is not None:
            return self.seen % self.every == 0
        if self.remaining is not None:
            self.remaining -= 1
        return True

    def describe(self) -> dict[str, object]:
        """The rule in the control endpoint's words."""
        when = {"rate": self.rate, "every": self.every, "next": self.remaining}
        return {"fault": self.fault.name, "value": self.effective_value(), **when}

    def _read_when(self, when: str | None) -> None:
        if when is None:
            return
        if counted := _COUNTED.fullmatch(when.strip()):
            count = int(counted[2])
            self.every, self.remaining = (count, None) if counted[1] == "every" else (None, count)
            return
        self.rate = _read_rate(self.fault.name, when)


class FaultPlan:
    """The rules in force."""

    def __init__(self, rules: Iterable[FaultRule], rng: Random) -> None:
        self._rules = list(rules)
        self._rng = rng

    def add(self, rule: FaultRule) -> None:
        """Put one more rule in force."""
        self._rules.append(rule)

    def clear(self) -> None:
        """Drop every rule."""
        self._rules.clear()

    def strike(self, request: Literal["submit", "status"]) -> dict[str, FaultValue]:
        """The faults which strike one request of this kind; of two rules for one fault, the earlier gives the value."""
        if not self._rules:
            return {}
        struck: dict[str, FaultValue] = {}
        for rule in self._rules:
            if rule.strikes == request and rule.strike(self._rng):
                struck.setdefault(rule.fault.name, rule.effective_value())
        self._rules = [rule for rule in self._rules if not rule.used_up]
        return struck

    def describe(self) -> list[dict[str, object]]:
        """The rules in force, in the control endpoint's words."""
        return [rule.describe() for rule in self._rules]


def _when(word: str, value: object) -> str:
    return str(value) if word == "rate" else f"{word}-{value}"


def _read_rate(name: str, text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate <= 1:
        raise BadFaultValue(f"'{name}' strikes at a rate from 0 to 1, every-N or next-N, not '{text}'")
    return rate
