"""An answer of the emulated API: bytes for the wire, and how the wire treats them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: What becomes of an answer on its way.
#: ``no``: it arrives. ``truncated``: the connection breaks inside it. ``hang``: it is held back for ``delay`` seconds.
Lost = Literal["no", "truncated", "hang"]

JSON = "application/json"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, and what the connection does to it."""

    #: HTTP status code.
    status: int
    #: HTTP headers without the content length, which the server adds.
    headers: Mapping[str, str]
    body: bytes
    #: Seconds for which the answer is held back before its first byte.
    delay: float = 0.0
    lost: Lost = "no"
    #: The task whose callback must have been answered before this answer leaves; ``None`` for nearly all.
    held_for: str | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """The document's wrapper of every JSON answer: ``code``, ``message``, ``data``."""

    code: int
    message: str
    data: object = None
    #: True to spell ``code`` as a string, as no documented answer does (fault ``numbers-as-strings``).
    code_as_string: bool = False

    def to_bytes(self) -> bytes:
        """UTF-8 JSON, keys in the document's order."""
        code = str(self.code) if self.code_as_string else self.code
        return to_json({"code": code, "message": self.message, "data": self.data})


def enveloped(status: int, message: str, data: object = None, **headers: str) -> Answer:
    """An answer whose HTTP status and envelope agree.

    The document lists one table of codes for both, so both carry the same number.
    """
    return Answer(status, {"content-type": JSON, **headers}, Envelope(status, message, data).to_bytes())


def html(status: int, title: str) -> Answer:
    """A proxy's page where the API's JSON was expected."""
    page = f"<html><head><title>{status} {title}</title></head><body><h1>{status} {title}</h1></body></html>\n"
    return Answer(status, {"content-type": HTML}, page.encode())


def to_json(value: object) -> bytes:
    """Compact JSON in UTF-8; text which UTF-8 cannot hold (a lone surrogate) is escaped instead."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
