"""What the rest of the code knows of tracing. The classes here make no spans: they are what runs where tracing is off.

A job is traced as several traces, for it may wait for hours and move between processes: the request that made it has one (its
caller's, where there is one), each submit, check, delivery and fetched picture has one of its own, and those bear a link to the
request's. What links them is the request's `traceparent`, which is stored on the job.

No span holds what a caller wrote, a key, a token, or an address that may have one in it. Facts are ids, names and single words.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

Fact = str | int | None  #: None is not written down


class Span:
    """A piece of work that is under way."""

    @property
    def traceparent(self) -> str | None:
        """Its place in its trace, to be handed on. Source: W3C Trace Context, "traceparent header"."""
        return None

    def note(self, **facts: Fact) -> None:
        """What is known of it; see the module for what must not be among it."""

    def link(self, traceparent: str | None) -> None:
        """It belongs with another span, of whatever trace."""

    def ended(self, outcome: str, *, failed: bool) -> None:
        """What came of it, in a word."""

    def answered(self, method: str, route: str | None, status: int) -> None:
        """It was a request to us. `route` is the template of its path, None where none fits; `status` 0: it got no answer."""


class Traces:
    """The spans of one process. Made by `opening` and handed to whoever does what is worth a span."""

    def request(self, traceparent: Sequence[str] = ()) -> AbstractContextManager[Span]:
        """A request to us; it goes on with its caller's trace where there is just one header and it is sane.

        Args:
            traceparent: the values of all headers of that name.
        """
        return nullcontext(_NOTHING)

    def work(self, name: str, *, caused_by: str | None, **facts: Fact) -> AbstractContextManager[Span]:
        """Something done for a job, which calls elsewhere.

        Args:
            caused_by: the traceparent of the request that the job came by.
        """
        return nullcontext(_NOTHING)

    def current(self) -> Span:
        """The span that the caller runs in."""
        return _NOTHING

    async def aclose(self) -> None:
        """Sends what is still to be sent, for a short time."""


_NOTHING = Span()
