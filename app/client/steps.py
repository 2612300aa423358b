"""What a call asks of the network, step by step, and what it hears. No I/O happens here.

A call is a generator: it yields steps, and a driver, with or without asyncio, takes them and sends back what became of each.
So every call is written once.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. It never holds the API key: drivers add that to those that are `ours`.

    Sending it twice is as good as once: it is a read, or the gateway knows a repetition when it sees it.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    silence: float = 30.0  #: seconds without a byte after which the answer counts as lost
    ours: bool = True  #: goes to the gateway, with the key; else to somebody else, without


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an answer; its body is still to be read. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer, or the end of one is missing."""

    reason: str
    sent: bool  #: the request may have arrived; false only where no connection was made
    cause: Exception | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Open:
    """Send the request; yields its `Head`, or `Lost`. What was open before is closed."""

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """Yields the next bytes of the answer, None at its end, or `Lost`."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so many seconds. What is open is closed first."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit(Generic[Result]):
    """Hand this to the program that iterates."""

    item: Result


Step: TypeAlias = Open | Read | Pause
Reply: TypeAlias = Head | Lost | bytes | None
Call: TypeAlias = Generator[Step, Any, Result]  #: ends with one result
Flow: TypeAlias = Generator[Step | Emit[Result], Any, None]  #: emits any number of items
