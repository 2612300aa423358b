"""The cursors of lists of jobs: each is good for the filters of its own list only."""

from __future__ import annotations

import hashlib

from app import cursors
from app.job_query.filters import to_query
from app.storage.job_filter import JobFilter
from app.storage.search import Key

_VERSION = 2  #: 1 had no hash of the filters
_HASH_LENGTH = 6


def write_cursor(key: Key, wanted: JobFilter) -> str:
    """The cursor of a place in the list that `wanted` makes; good for no other list."""
    return cursors.write_cursor(key, version=_VERSION, more=_hash(wanted))


def read_cursor(text: str, wanted: JobFilter) -> Key:
    """The place that the cursor names.

    Raises:
        Problem: 422, it is not one of ours, or of a list with other filters.
    """
    key, filters = cursors.read_cursor(text, version=_VERSION, more=_HASH_LENGTH)
    if filters != _hash(wanted):
        raise cursors.refused("use it with the filters of the page that it came from, or begin anew without it")
    return key


def _hash(wanted: JobFilter) -> bytes:
    return hashlib.sha256(to_query(wanted).encode()).digest()[:_HASH_LENGTH]
