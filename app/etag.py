"""What a caller has already: `If-None-Match`. Source: RFC 9110, 13.1.2."""

from __future__ import annotations

from collections.abc import Iterable


def is_known(if_none_match: Iterable[str], etag: str) -> bool:
    """Whether these headers, of which there may be several, name this `ETag`; a weak one does as well."""
    known = [tag.strip().removeprefix("W/") for tag in ",".join(if_none_match).split(",")]
    return etag in known or known == ["*"]
