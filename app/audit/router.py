"""`/audit`: what operators did, when, and by which key."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.access.callers import CurrentCaller, Scope
from app.answers import json_answer, next_link, problem_responses
from app.storage.audit import COMMAND_LINE, START, Audited
from app.texts import Text

router = APIRouter(prefix="/audit", tags=["operators"], responses=problem_responses(401, 403, 422, 503))

_ID_MAX = 2**63 - 1


class AuditQuery(BaseModel):
    """The query of `GET /audit`. What is not named here is refused, never ignored."""

    model_config = ConfigDict(extra="forbid")

    job: UUID | None = Field(None, description="Only acts on this job.")
    key: Annotated[Text, Field(min_length=1, max_length=100)] | None = Field(None, description="Only acts by this key.")
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[int, Field(ge=1, le=_ID_MAX)] | None = Field(None, description="`next_cursor` of an earlier page.")


class ActView(BaseModel):
    """Something that an operator did."""

    id: int = Field(description="Grows with time, with gaps.")
    at: datetime
    key_id: str = Field(
        description=f"By which key; `{START}` for a process at its start, `{COMMAND_LINE}` for somebody at the machine.",
        examples=["3fb1c2d4"],
    )
    action: str = Field(description="A noun and a verb.", examples=["job.cancel"])
    tenant: str | None = Field(description="Whose it was done to; null where it was done to no single tenant.")
    job_id: UUID | None
    data: dict[str, Any]


class AuditPage(BaseModel):
    acts: list[ActView]
    next_cursor: int | None = Field(description="Where to go on; null when there is nothing more.")
    has_more: bool


@router.get("", response_model=AuditPage, summary="List what operators did")
async def list_acts(request: Request, caller: CurrentCaller, query: Annotated[AuditQuery, Query()]) -> Response:
    """Newest first. What an operation did to each of its jobs is on their timelines; here is that it was made, and stopped."""
    caller.require(Scope.ADMIN)
    found = await request.state.gateway.audit.newest(query.limit + 1, before=query.cursor, job_id=query.job, key_id=query.key)
    page = found[: query.limit]
    cursor = page[-1].audit_id if len(found) > query.limit else None
    views = [act_view(audited) for audited in page]
    answer = AuditPage(acts=views, next_cursor=cursor, has_more=cursor is not None)
    return json_answer(answer, headers=next_link(request, cursor))


def act_view(audited: Audited) -> ActView:
    act = audited.act
    return ActView(
        id=audited.audit_id, at=audited.at, key_id=act.key_id, action=act.action, tenant=act.tenant, job_id=act.job_id,
        data=act.data,
    )  # fmt: skip
