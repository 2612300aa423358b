"""`GET /jobs/{id}/events`: a job's timeline, as a list or as a live stream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.security.utils import get_authorization_scheme_param
from pydantic import BaseModel, ConfigDict, Field

from app.access.callers import Caller, CurrentCaller, Scope
from app.answers import json_answer, next_link, problem_responses
from app.jobs.event_stream import EventStream
from app.jobs.event_view import EventView, event_view
from app.lifecycle.job import Life
from app.own_job import own_life
from app.problems import FieldProblem, invalid
from app.response_headers import headers

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=problem_responses(401, 403, 503))

EVENTS_MAX = 1000  #: in one list
_EVENT_ID_MAX = 2**63 - 1
_VARY = {"Vary": "Accept"}
_WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")

LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        description="For the stream: the id of the last event that was received; browsers send it when they come again. "
        "It goes before `after`. Anything but a number → 422.",
    ),
]

_EXAMPLE = """retry: 2000

event: running
data: {"id": 42, "at": "2026-11-02T09:30:00.123456Z", "type": "running", "data": {"submission": 1, "task_id": "…"}}
id: 42

event: end
data: {"state": "succeeded"}

"""


class EventList(BaseModel):
    events: list[EventView]
    has_more: bool


class EventQuery(BaseModel):
    """The query of `GET /jobs/{id}/events`. What is not named here is refused, never ignored."""

    model_config = ConfigDict(extra="forbid")

    after: int = Field(0, ge=0, le=_EVENT_ID_MAX, description="Only events behind this one.")
    limit: int = Field(EVENTS_MAX, ge=1, le=EVENTS_MAX, description="For the list; the stream has no end but the job's.")


@router.get(
    "/{job_id}/events",
    response_model=EventList,
    summary="A job's timeline",
    responses={
        200: {
            "description": "The events as JSON; or, with `Accept: text/event-stream`, the stream.",
            "headers": headers("Link"),
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        204: {"description": "Stream only: the job is settled, all of its events were received. Do not come again."},
        **problem_responses(404, 422),
    },
)
async def list_events(
    request: Request,
    caller: CurrentCaller,
    job_id: str,
    query: Annotated[EventQuery, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Everything that happened to the job, oldest first. What somebody asked for is among it (a cancel, a retry, a check, a
    candidate, a redelivery); for admin keys with the id of the key as `by`, and where it was part of an operation on many
    jobs, with the id of that as `operation`.

    With `Accept: text/event-stream` a live stream of Server-Sent Events: each with its `id`, its type as `event`, and itself
    as `data`; a comment after 15 seconds of silence. It ends with `event: end` when the job is settled. A stream that ends
    without it may be resumed with `Last-Event-ID`, as browsers do by themselves; nothing is lost or told twice.
    """
    life = await own_life(request, caller, job_id, Scope.JOBS_READ)
    if wants_stream(", ".join(request.headers.getlist("accept"))):
        after = read_last_event_id(last_event_id) if last_event_id else query.after
        return await _stream(request, caller, life, after)
    return await _page(request, caller, life, query)


def wants_stream(accept: str) -> bool:
    """Whether `Accept` names text/event-stream and prefers nothing that the list would satisfy. Source: RFC 9110, 12.5.1."""
    weights = dict(_weights(accept))
    of_list = next((weights[r] for r in ("application/json", "application/*", "*/*") if r in weights), 0.0)
    of_stream = weights.get("text/event-stream", 0.0)
    return of_stream > 0 and of_stream >= of_list


def read_last_event_id(text: str) -> int:
    """The id.

    Raises:
        Problem: 422, no event can have it.
    """
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > _EVENT_ID_MAX:
        raise invalid([FieldProblem(field="Last-Event-ID", message="use the id of an event of this job")])
    return int(text)


async def _page(request: Request, caller: Caller, life: Life, query: EventQuery) -> Response:
    found = await request.state.gateway.history.events(life.job.job_id, after=query.after, limit=query.limit + 1)
    has_more, events = len(found) > query.limit, found[: query.limit]
    link = next_link(request, events[-1].event_id if has_more else None, name="after")
    views = [event_view(event, for_admin=caller.is_admin) for event in events]
    return json_answer(EventList(events=views, has_more=has_more), headers={**_VARY, **link})


async def _stream(request: Request, caller: Caller, life: Life, after: int) -> Response:
    """The stream from behind `after`. A settled job of which all was told gets 204: browsers come again after every end of a
    stream, and only this stops them (WHATWG HTML, 9.2)."""
    gateway, job_id = request.state.gateway, life.job.job_id
    newest = (await gateway.history.newest_events([job_id])).get(job_id, 0) if after else None
    if newest is not None and after >= newest:
        if life.job.is_settled:
            return Response(status_code=204, headers={"Cache-Control": "no-store", **_VARY})
        # An id from beyond the timeline would wait for its like for ever. From where the timeline was to now, the job may
        # have been settled, and no event behind `newest` would tell.
        after, life = newest, await gateway.lives.find(job_id) or life

    async def admitted() -> bool:
        """A key that was revoked hears no more of what happens."""
        _scheme, api_key = get_authorization_scheme_param(request.headers.get("Authorization"))
        return bool(await gateway.access.caller(api_key) == caller)

    return EventStream(gateway.watchers, life, after, for_admin=caller.is_admin, admitted=admitted, headers=_VARY)


def _weights(accept: str) -> Iterator[tuple[str, float]]:
    """Each media range with its weight; those whose weight is none are left out."""
    for element in accept.split(","):
        media_range, *parameters = (part.strip().lower() for part in element.split(";"))
        weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        if _WEIGHT.fullmatch(weight):
            yield media_range, float(weight)
