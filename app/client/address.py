"""Where the gateway is, and what may go into an address or a header."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlencode
from uuid import UUID

import httpx

from app.client.errors import BadArgumentError, UnexpectedAnswerError
from app.client.job import Job

JobId = Job | UUID | str
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_HOST = re.compile(rb"[A-Za-z0-9._:-]+")  # as httpx writes it: other characters it would escape, and look for the result
_VISIBLE = re.compile(r"[\x21-\x7e]+")


def base_address(url: str) -> str:
    """Without a slash at the end. It may have a path, where a proxy serves the gateway below one.

    Raises:
        BadArgumentError: it is not an http or https address, or holds a password, a query or a fragment. It is not repeated.
    """
    found = _parsed(url.strip())
    if found is None:
        raise BadArgumentError("the gateway's address is an http:// or https:// URL")
    if found.userinfo or found.query or found.fragment:
        raise BadArgumentError("the gateway's address has no user, no query and no fragment")
    return str(found).rstrip("/")


def next_address(url: str, location: str) -> str:
    """Where a redirect leads.

    Raises:
        UnexpectedAnswerError: to nothing that HTTP can fetch.
    """
    try:
        found = _parsed(str(httpx.URL(url).join(location)))
    except (httpx.InvalidURL, ValueError):
        found = None
    if found is None:
        raise UnexpectedAnswerError("a redirect leads to no address")
    return str(found)


def with_query(url: str, query: Sequence[tuple[str, str]]) -> str:
    return f"{url}?{urlencode(query, errors='replace')}" if query else url


def job_path(job: JobId) -> str:
    """`/jobs/<id>`.

    Raises:
        BadArgumentError: characters that no id has; they could lead elsewhere.
    """
    job_id = str(job.id if isinstance(job, Job) else job)
    if not _ID.fullmatch(job_id):
        raise BadArgumentError("a job id is letters, digits, _ and -")
    return f"/jobs/{job_id}"


def header_value(name: str, value: str, longest: int = 1000) -> str:
    """The value, if it may stand in a header.

    Raises:
        BadArgumentError: it may not. The message does not repeat it.
    """
    if not _VISIBLE.fullmatch(value) or len(value) > longest:
        raise BadArgumentError(f"{name} is 1 to {longest} visible ASCII characters")
    return value


def _parsed(url: str) -> httpx.URL | None:
    try:
        found = httpx.URL(url)
    except httpx.InvalidURL:
        return None
    return found if found.scheme in ("http", "https") and _HOST.fullmatch(found.raw_host) else None
