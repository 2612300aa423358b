"""Operations as operators see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from app.job_query.filters import JobQuery, to_query
from app.lifecycle.operation import OperationKind, OperationState
from app.storage.counted import Counted
from app.storage.operations import REFUSALS_MAX, Operation, Refused


class MatchedView(BaseModel):
    """How many jobs it will look at."""

    jobs: int
    at_least: bool = Field(description="There are more, or may be: the count ends at 10,000, and after a bounded search.")


class ProgressView(BaseModel):
    """Counts of jobs; the last three add up to the first."""

    seen: int
    done: int = Field(description="Canceled, or their cancel asked for; or a new job was made.")
    skipped: int = Field(description="There was nothing to do.")
    failed: int = Field(description="Something stood against it.")


class OperationLinks(BaseModel):
    self: str
    stop: str | None = Field(description="Present while it runs.")


class OperationView(BaseModel):
    """An operation on many jobs."""

    id: UUID
    kind: OperationKind
    state: OperationState = Field(description="The last two never change again.")
    filter: dict[str, Any] | None = Field(description="As it was asked for; null where jobs were listed.")
    query: str | None = Field(description="The same as a query of `GET /jobs`.", examples=["state=failed&tenant=design"])
    accept_double_billing: bool
    by: str = Field(description="The key that asked for it.", examples=["3fb1c2d4"])
    stopped_by: str | None = Field(description="The key that stopped it.")
    matched: MatchedView
    progress: ProgressView
    codes: dict[str, int] = Field(
        description="Why jobs were skipped or failed, with their number.", examples=[{"already_retried": 3}]
    )
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: OperationLinks


class RefusedView(BaseModel):
    """A job that was not done."""

    job_id: UUID
    at: datetime
    result: Literal["skipped", "failed"]
    code: str = Field(examples=["credit_budget_exceeded"])


class OperationDetailView(OperationView):
    """An operation, with the jobs that were listed and those that were not done."""

    jobs: list[UUID] | None = Field(description="As they were listed; null where there is a filter.")
    refused: list[RefusedView] = Field(description=f"The first {REFUSALS_MAX} that were skipped, and as many that failed.")


class OperationPage(BaseModel):
    operations: list[OperationView]
    next_cursor: str | None = Field(description="Where to go on; null when there is nothing more.")
    has_more: bool


class OperationCount(BaseModel):
    """The answer to a dry run."""

    kind: OperationKind
    matched: MatchedView


def operation_view(operation: Operation, base_url: str) -> OperationView:
    return OperationView(**_fields(operation, base_url))


def operation_detail(operation: Operation, refused: list[Refused], base_url: str) -> OperationDetailView:
    shown = [RefusedView(job_id=r.job_id, at=r.at, result=r.result.value, code=r.code) for r in refused]
    return OperationDetailView(
        **_fields(operation, base_url), jobs=list(operation.jobs) if operation.jobs is not None else None, refused=shown
    )


def matched_view(counted: Counted) -> MatchedView:
    return MatchedView(jobs=counted.found, at_least=counted.more)


def _fields(operation: Operation, base_url: str) -> dict[str, Any]:
    here, progress = f"{base_url}/operations/{operation.operation_id}", operation.progress
    filter_ = dict(operation.filter) if operation.filter is not None else None
    return {
        "id": operation.operation_id,
        "kind": operation.kind,
        "state": operation.state,
        "filter": filter_,
        "query": to_query(JobQuery.model_validate(filter_).wanted()) if filter_ is not None else None,
        "accept_double_billing": operation.accept_double_billing,
        "by": operation.key_id,
        "stopped_by": operation.stopped_by,
        "matched": matched_view(operation.matched),
        "progress": ProgressView(seen=progress.seen, done=progress.done, skipped=progress.skipped, failed=progress.failed),
        "codes": dict(progress.codes),
        "created_at": operation.created_at,
        "started_at": operation.started_at,
        "finished_at": operation.finished_at,
        "links": OperationLinks(self=here, stop=f"{here}/stop" if operation.finished_at is None else None),
    }
