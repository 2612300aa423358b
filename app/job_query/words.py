"""A search as a person writes it, in a box or on a command line: `state:failed tenant:design q:"red fox" after:-7d`.

It says the same as the query string of `GET /jobs`, whose names may be written too; only the spelling is decided here. What the
values may be, `app.job_query.filters` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from app.errors import GatewayError
from app.instants import written

TEXT_MAX = 4000  #: characters of a search

#: How people write the names, and what the query string calls them.
NAMES = {
    "state": "state", "tenant": "tenant", "q": "q", "task": "task_id", "key": "idempotency_key", "via": "completed_via",
    "error": "error_code", "after": "created_after", "before": "created_before",
}  # fmt: skip

#: What a pair's name begins with, as people write it and in the query string; its key follows.
META, METADATA = "meta.", "metadata."

SHORT = {full: short for short, full in NAMES.items()}
KNOWN = ", ".join([*NAMES, f"{META}<key>"])  #: for whoever wrote another name
_INSTANTS = frozenset({"created_after", "created_before"})
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_BARE = r'[^\s"]\S*'
_NAME = rf'(?P<name>(?:{META}|{METADATA}){_QUOTED}|[^\s":]+):'
_TOKEN = re.compile(rf"(?:{_NAME})?(?P<value>{_QUOTED}|{_BARE})(?=\s|\Z)", re.DOTALL)
_WORD = re.compile(rf"(?:{_QUOTED}|{_BARE})(?=\s|\Z)", re.DOTALL)
_BARE_VALUE = re.compile(_BARE)  #: stands behind its name without quotation marks
_BARE_WORD = re.compile(r'[^\s":][^\s:]*')  #: stands alone without them
_BARE_KEY = re.compile(r'[^\s":]+')
_AGE = re.compile(r"-?([0-9]{1,5})([smhdw])")


class SearchWordsError(GatewayError):
    """A search that cannot be read."""

    def __init__(self, token: str, message: str) -> None:
        super().__init__(f"{token}: {message}" if token else message)
        self.token, self.message = token, message


def parse(text: str, *, now: datetime) -> list[tuple[str, str]]:
    """The pairs of the query string that this search means: filters as they stand, then `q` with all bare words.

    Args:
        text: `name:value`, by blanks apart; a value with blanks, and a word with a colon, is quoted. What has no name is a word
            of the prompt.
        now: what ages count from: `after:-7d` and `after:7d` are seven days ago; s, m, h, d and w are known.

    Raises:
        SearchWordsError: a name that is none, or quotation marks that do not fit; says which and what is known.
    """
    if len(text) > TEXT_MAX:
        raise SearchWordsError("", f"write at most {TEXT_MAX} characters")
    pairs, words = [], []
    for name, value in _tokens(text):
        full = "q" if name is None else _full(name)
        if full == "q":
            words.append(quoted(value))
        else:
            pairs.append((full, _instant(value, now) if full in _INSTANTS else value))
    return [*pairs, *([("q", " ".join(words))] if words else [])]


def spell(pairs: Iterable[tuple[str, str]]) -> str:
    """The pairs of a query string as a person would write them. `parse` reads them back."""
    given = list(pairs)
    tokens = [f"{_short(name)}:{quoted(value)}" for name, value in given if name != "q"]
    return " ".join([*tokens, *(_spelled(word) for name, value in given if name == "q" for word in _lenient(value))])


def split(q: str) -> Iterator[str]:
    """The words and phrases of a `q`, in order.

    Raises:
        ValueError: a quotation mark that is not closed, or has no blank behind it.
    """
    place = 0
    while rest := q[place:].lstrip():
        place = len(q) - len(rest)
        word = _WORD.match(q, place)
        if word is None:
            raise ValueError("close the quotation mark, and put a blank behind it")
        yield _unquoted(word.group())
        place = word.end()


def quoted(value: str, bare: re.Pattern[str] = _BARE_VALUE) -> str:
    """In quotation marks where it needs them."""
    return value if bare.fullmatch(value) else '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def _tokens(text: str) -> Iterator[tuple[str | None, str]]:
    place = 0
    while rest := text[place:].lstrip():
        place = len(text) - len(rest)
        token = _TOKEN.match(text, place)
        if token is None or (token["name"] is None and ":" in token["value"] and token["value"][0] != '"'):
            raise _unreadable(rest)
        yield token["name"], _unquoted(token["value"])
        place = token.end()


def _unreadable(rest: str) -> SearchWordsError:
    token = rest.split(None, 1)[0]
    if '"' in token:
        return SearchWordsError(token, "close the quotation mark, and put a blank behind it")
    return SearchWordsError(token, f'write name:value; a word with a colon is quoted: "{token}"')


def _full(name: str) -> str:
    for prefix in (META, METADATA):
        if name.startswith(prefix) and len(name) > len(prefix):
            return METADATA + _unquoted(name.removeprefix(prefix))
    if name in NAMES or name in SHORT:
        return NAMES.get(name, name)
    raise SearchWordsError(name, f"is no filter; known are {KNOWN}; a word with a colon is quoted")


def _short(name: str) -> str:
    if name.startswith(METADATA):
        return META + quoted(name.removeprefix(METADATA), _BARE_KEY)
    return SHORT.get(name, name)


def _instant(value: str, now: datetime) -> str:
    age = _AGE.fullmatch(value)
    if age is None:
        return value
    then = now - timedelta(**{_UNITS[age[2]]: int(age[1])})
    return written(then, timespec="seconds")


def _lenient(q: str) -> list[str]:
    """Also what no `q` may be has to be shown to whoever wrote it."""
    try:
        return list(split(q))
    except ValueError:
        return [q]


def _spelled(word: str) -> str:
    return quoted(word, _BARE_WORD)


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL) if value.startswith('"') else value
