"""The search of the jobs page: the query string of `GET /jobs`, as a person types it, and the searches next to it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from app.job_query import words
from app.problems import FieldProblem

PATH = "/console/jobs"

_APART = ("cursor", "limit")  #: of the query string, what is no filter


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter that is set, and the address of the search without it."""

    text: str
    without: str


@dataclass(frozen=True, slots=True)
class JobSearch:
    """A search, and the addresses of those next to it. All of them are of the first page."""

    pairs: tuple[tuple[str, str], ...]  #: filters, as `GET /jobs` takes them
    limit: str | None = None  #: jobs a page, where that was asked for

    @classmethod
    def of(cls, query: Iterable[tuple[str, str]]) -> JobSearch:
        """The search of a page's address."""
        given = list(query)
        limit = next((value for name, value in given if name == "limit"), None)
        return cls(tuple(pair for pair in given if pair[0] not in _APART), limit)

    @property
    def text(self) -> str:
        """As it stands in the box."""
        return words.spell(self.pairs)

    @property
    def query(self) -> str:
        return urlencode(self.pairs)

    @property
    def href(self) -> str:
        return self.at(None)

    def at(self, cursor: str | None) -> str:
        """The address of the page behind the cursor."""
        apart = [("limit", self.limit), ("cursor", cursor)]
        query = urlencode([*self.pairs, *((name, value) for name, value in apart if value is not None)])
        return f"{PATH}?{query}" if query else PATH

    def taken_to(self, path: str, name: str, value: str) -> str:
        """The address of something that is done with what is found; `name` says what."""
        return f"{path}?{urlencode([(name, value), *self.pairs])}"

    @property
    def states(self) -> frozenset[str]:
        return frozenset(value for name, value in self.pairs if name == "state")

    def toggled(self, state: str) -> str:
        """With this state as well; or without it, where it is asked for already."""
        pair = ("state", state)
        rest = [p for p in self.pairs if p != pair]
        return self._with([*rest, pair] if pair not in self.pairs else rest)

    def narrowed(self, name: str, value: str) -> str:
        """With this value, instead of any other of this name."""
        return self._with([*(p for p in self.pairs if p[0] != name), (name, value)])

    @property
    def chips(self) -> list[Chip]:
        return [
            Chip(words.spell([pair]), self._with([*self.pairs[:n], *self.pairs[n + 1 :]])) for n, pair in enumerate(self.pairs)
        ]

    def _with(self, pairs: Sequence[tuple[str, str]]) -> str:
        return replace(self, pairs=tuple(pairs)).href


def complaint(error: FieldProblem) -> str:
    """What is wrong with one filter, by the name that people write."""
    name = error.field.removesuffix(".0").split(".")[0] if not error.field.startswith(words.METADATA) else error.field
    if name not in (*words.SHORT, "metadata", *_APART) and not name.startswith(words.METADATA):
        return f"{name} is no filter; known are {words.KNOWN}"
    return f"{words.SHORT.get(name, name)}: {error.message}"
