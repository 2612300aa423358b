"""Which jobs a list or an export holds. Source: the public contract, "`GET /jobs` filters"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypedDict

from app.client.errors import BadArgumentError


class JobFilters(TypedDict, total=False):
    """All must hold. What is left out does not filter."""

    state: str | Sequence[str]  #: any of these
    tenant: str  #: for admin keys
    q: str  #: words in the prompt
    task_id: str
    idempotency_key: str
    completed_via: str
    error_code: str
    metadata: Mapping[str, str]  #: all of these pairs
    created_after: datetime | str
    created_before: datetime | str


def query_of(filters: JobFilters) -> list[tuple[str, str]]:
    """As the query of the address has it. A name that is no filter is sent too: the gateway refuses it, clearly.

    Raises:
        BadArgumentError: an instant without a time zone.
    """
    return [pair for name, value in filters.items() for pair in _pairs(name, value)]


def _pairs(name: str, value: object) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if isinstance(value, Mapping):
        yield from ((f"{name}.{key}", str(one)) for key, one in value.items())
    elif isinstance(value, datetime):
        if value.utcoffset() is None:
            raise BadArgumentError(f"{name} needs a time zone")
        yield name, value.isoformat()
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield from ((name, str(one)) for one in value)
    else:
        yield name, str(value)
