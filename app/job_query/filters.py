"""Which jobs a caller asks for, by the names of a query string: `state=failed&metadata.order=42`.

One set of filters for lists, exports, the search box and the command line; how people spell them is `app.job_query.words`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from app.access.callers import Caller
from app.instants import DATE, TIME, written
from app.job_query import words
from app.lifecycle.states import CompletedVia, ErrorCode, JobState
from app.storage.job_filter import JobFilter
from app.texts import MetadataKey, MetadataValue, Text

WORDS_MAX = 10  #: words and phrases in `q`

_INSTANT = re.compile(f"{DATE}(T{TIME})?", re.ASCII | re.IGNORECASE)
_INSTANT_WANTED = (
    "write 2026-01-31T12:00:00Z, or another offset (its + as %2B in a query), or a date, which begins at 00:00 UTC"
)


def _words(q: str) -> tuple[str, ...]:
    """The words and phrases of `q`, each once."""
    found = list(words.split(q))
    if not found or not all(found):
        raise ValueError("write at least one word, and none that is empty")
    if len(found) > WORDS_MAX:
        raise ValueError(f"write at most {WORDS_MAX} words")
    return tuple(dict.fromkeys(found))


def _checked_words(q: str) -> str:
    _words(q)
    return q


def _instant(value: object) -> object:
    """RFC 3339, or a date. An instant without an offset is refused: nobody can tell whose clock it is from."""
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise ValueError(_INSTANT_WANTED)
    try:
        found = datetime.fromisoformat(value.upper())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(_INSTANT_WANTED) from None


_WRITTEN = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}
InstantText = Annotated[datetime, BeforeValidator(_instant), WithJsonSchema(_WRITTEN)]


class JobQuery(BaseModel):
    """The filters of a list. What is not named here is refused, never ignored."""

    model_config = ConfigDict(extra="forbid")

    state: list[JobState] = Field([], description="One of these; may be repeated.")
    tenant: Annotated[Text, Field(min_length=1, max_length=200)] | None = Field(
        None, description="One tenant's jobs; for admin keys. With another key, a tenant that is not its own has none."
    )
    q: Annotated[Text, Field(max_length=200), AfterValidator(_checked_words)] | None = Field(
        None,
        description="Words that all occur in the prompt, in capitals or not, also as parts of other words; in any script. "
        'A "quoted phrase" counts as one word; inside it a backslash takes the next character as it is. At most 10.',
        examples=['fox "in the snow"'],
    )
    task_id: Annotated[Text, Field(min_length=1, max_length=500)] | None = Field(
        None, description="The job that was sent as this task of the upstream."
    )
    idempotency_key: Annotated[Text, Field(min_length=1, max_length=255)] | None = Field(
        None, description="The job that was accepted with this key, or all the jobs of the batch that was."
    )
    completed_via: CompletedVia | None = Field(None, description="What settled it.")
    error_code: ErrorCode | None = Field(None, description="Why it failed, or why a canceled job's task did.")
    created_after: InstantText | None = Field(
        None,
        description="At this instant or later: RFC 3339 with an offset, or a date, which is its midnight in UTC.",
        examples=["2026-01-31T12:00:00Z", "2026-01-31"],
    )
    created_before: InstantText | None = Field(
        None, description="Before this instant; written like `created_after`.", examples=["2026-02-01"]
    )
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict,
        max_length=16,
        description="Jobs whose metadata holds exactly this value under this key: `metadata.order=42`. May be repeated with "
        "other keys; all must hold.",
    )

    def wanted(self) -> JobFilter:
        """What the query asks for, whoever asks."""
        return JobFilter(
            tenant=self.tenant,
            states=tuple(sorted(set(self.state))),
            words=_words(self.q) if self.q is not None else (),
            task_id=self.task_id,
            idempotency_key=self.idempotency_key,
            completed_via=self.completed_via,
            error_code=self.error_code,
            metadata=tuple(sorted(self.metadata.items())),
            created_after=self.created_after,
            created_before=self.created_before,
        )


def seen_by(caller: Caller, wanted: JobFilter) -> JobFilter | None:
    """What of it the caller may see; None where that is nothing."""
    if wanted.tenant is not None and not caller.may_see(wanted.tenant):
        return None
    return wanted if caller.is_admin else replace(wanted, tenant=caller.tenant)


def to_query(wanted: JobFilter) -> str:
    """The filter as the query of `GET /jobs`, always in the same order."""
    return urlencode(list(pairs_of(wanted)))


def pairs_of(wanted: JobFilter) -> Iterator[tuple[str, str]]:
    """The pairs of that query; `read_query(JobQuery, …)` reads them back, and `words.spell` writes them for a person."""
    values: dict[str, Any] = {
        "tenant": wanted.tenant,
        "q": " ".join(words.quoted(word) for word in wanted.words) or None,
        "task_id": wanted.task_id,
        "idempotency_key": wanted.idempotency_key,
        "completed_via": wanted.completed_via,
        "error_code": wanted.error_code,
        "created_after": wanted.created_after and written(wanted.created_after),
        "created_before": wanted.created_before and written(wanted.created_before),
    }
    yield from (("state", state.value) for state in sorted(wanted.states))
    yield from ((name, str(value)) for name, value in values.items() if value is not None)
    yield from ((words.METADATA + key, value) for key, value in wanted.metadata)
