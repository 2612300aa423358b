"""`/console/jobs/{id}`: all that is known of one job, and what can be done about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from fastapi import APIRouter, Request, Response

from app.access.callers import Scope
from app.answers import base_url
from app.callbacks.receive import SAMPLE_MAX
from app.clock import system_clock
from app.console.acts import WITHOUT_KEY
from app.console.asking import asked, request_with
from app.console.curl import curl_of
from app.console.form import read_form
from app.console.happenings import happenings
from app.console.job_path import job_path
from app.console.lifecycle_chart import BOX_HEIGHT, BOX_WIDTH, HEIGHT, START, WIDTH, lifecycle_chart
from app.console.page import PageRoute, go_to, page
from app.console.picture_address import picture_address
from app.console.refusal import say_refusal
from app.console.timeline import part_of, whole_timeline
from app.console.visitor import Visitor
from app.deliveries.router import show_deliveries
from app.deliveries.views import DeliveryView, JobDeliveries
from app.job_view import CanceledView, ImageView, JobView
from app.jobs.doubtful_task import check_job, name_candidate
from app.jobs.router import cancel_job, retry_job, show_job
from app.lifecycle.delivery import DeliveryState
from app.lifecycle.job import Life, PictureState
from app.lifecycle.states import ErrorCode, Outcome
from app.own_job import own_life
from app.problems import Problem
from app.storage.receipts import StoredReceipt

router = APIRouter(prefix="/console", include_in_schema=False, route_class=PageRoute)

OPEN_EVERY, SETTLED_EVERY, REST = 2, 5, 0  #: seconds between two looks; while something is still to come, and after all


class Retry(StrEnum):
    """What a retry of this job does, as the question before it says."""

    NEW = "new"  #: sends the same request again
    DOUBTFUL = "doubtful"  #: the same, and it may be billed a second time
    TAKES_OVER = "takes_over"  #: settles at once with the pictures that its task has brought
    FOUND = "found"  #: nothing: it was retried before


@dataclass(frozen=True, slots=True)
class ShownPicture:
    view: ImageView
    address: str | None  #: None where it is not stored
    state: PictureState | None  #: of its archiving; None where this gateway keeps no pictures


@router.get("/jobs/{job_id}")
async def show_a_job(request: Request, caller: Visitor, job_id: str, after: int | None = None) -> Response:
    plainly, now = request_with(request), system_clock()
    # First of all reads: it says when to look again, and what is read after it is no older than what it knows.
    life = await own_life(request, caller, job_id, Scope.JOBS_READ)
    job = await asked(show_job(plainly, caller, job_id, None), JobView)
    timeline = await whole_timeline(plainly, caller, job_id)
    part = part_of(timeline, after)
    deliveries = (await asked(show_deliveries(plainly, caller, job_id), JobDeliveries)).deliveries
    keeps = request.state.gateway.archive is not None
    chart = lifecycle_chart(job_path(timeline.events), job.state)
    return page(
        request, "job.html", caller,
        now=now, job=job, life=life, pictures=_pictures(request, job, life, keeps=keeps),
        late=life.late_images if not job.images else (),
        happenings=happenings(part.events), part=part, without_key=WITHOUT_KEY, deliveries=deliveries,
        receipts=await _receipts(request, life), sample_max=SAMPLE_MAX,
        chart=chart, chart_start=START, width=WIDTH, height=HEIGHT, box_width=BOX_WIDTH, box_height=BOX_HEIGHT,
        curl=curl_of(job, base_url(request)),
        every=_every(life, deliveries, keeps=keeps),
        may_write=caller.is_admin or Scope.JOBS_WRITE in caller.scopes,
        retry=await _what_a_retry_does(request, job, life) if job.links.retry else None,
        can_be_checked=caller.is_admin and any(s.can_be_checked for s in life.submissions),
        wants_a_task=_whose_task_is_unknown(life) if caller.is_admin else [],
    )  # fmt: skip


@router.post("/jobs/{job_id}/cancel")
async def cancel(request: Request, caller: Visitor, job_id: str) -> Response:
    here = f"/console/jobs/{job_id}"
    try:
        canceled = await asked(cancel_job(request, caller, job_id), CanceledView)
    except Problem as problem:
        return say_refusal(request, here, problem)
    return go_to(request, here, _SAID_OF_CANCEL[canceled.upstream_will_bill] if canceled.finished_at is None else "Canceled.")


_SAID_OF_CANCEL = {
    "no": "It ends as canceled; nothing was sent.",
    "yes": "It ends as canceled; the upstream bills what it was sent.",
    "unknown": "It ends as canceled; the upstream may bill what it was sent.",
}


@router.post("/jobs/{job_id}/retry")
async def retry(request: Request, caller: Visitor, job_id: str) -> Response:
    accepts = "accept_double_billing" in await read_form(request)
    try:
        new = await asked(retry_job(request, caller, job_id, accepts), JobView)
    except Problem as problem:
        return say_refusal(request, f"/console/jobs/{job_id}", problem)
    return go_to(request, f"/console/jobs/{new.id}", "This is the retry of that job.")


@router.post("/jobs/{job_id}/check")
async def check(request: Request, caller: Visitor, job_id: str) -> Response:
    here = f"/console/jobs/{job_id}"
    try:
        await check_job(request, caller, job_id)
    except Problem as problem:
        return say_refusal(request, here, problem)
    return go_to(request, here, "Its tasks are checked now; the timeline tells what the checks read.")


@router.post("/jobs/{job_id}/candidates")
async def name_a_candidate(request: Request, caller: Visitor, job_id: str) -> Response:
    here, form = f"/console/jobs/{job_id}", await read_form(request)
    number = form.get("submission", "")
    submission = int(number) if re.fullmatch("[0-9]{1,7}", number) else number or None  # the API refuses what is no number
    body = {"task_id": form.get("task_id", "").strip(), "submission": submission}
    try:
        await name_candidate(request_with(request, body=body), caller, job_id)
    except Problem as problem:
        return say_refusal(request, here, problem)
    return go_to(request, here, "The task is checked now; the timeline tells whether it is this job's.")


def _pictures(request: Request, job: JobView, life: Life, *, keeps: bool) -> list[ShownPicture]:
    """Where no pictures are kept, what was stored once is not served, and what was pending is never stored."""
    if not keeps:
        return [ShownPicture(view, None, None) for view in job.images]
    links, states = request.state.gateway.picture_links, {picture.index: picture.state for picture in life.pictures}
    return [
        ShownPicture(view, picture_address(links, job.id, n, links.clock()) if view.stored else None, states.get(n))
        for n, view in enumerate(job.images)
    ]


async def _receipts(request: Request, life: Life) -> list[StoredReceipt]:
    """The callbacks that came for a job that the visitor may see: no route tells of them."""
    found: list[StoredReceipt] = await request.state.gateway.receipts.of_job(life.job.job_id)
    return found


def _every(life: Life, deliveries: list[DeliveryView], *, keeps: bool) -> int:
    if not life.job.is_settled:
        return OPEN_EVERY
    to_come = (
        any(s.is_open or s.can_be_checked for s in life.submissions)
        or (keeps and any(picture.state is PictureState.PENDING for picture in life.pictures))
        or any(delivery.state is DeliveryState.PENDING for delivery in deliveries)
    )
    return SETTLED_EVERY if to_come else REST


def _whose_task_is_unknown(life: Life) -> list[int]:
    """The submissions that a task may be named for: not those that cost nothing for sure. A refusal may have been a lie."""
    return [s.number for s in life.submissions if s.task_id is None and s.outcome in (Outcome.OPEN, Outcome.RELEASED)]


async def _what_a_retry_does(request: Request, job: JobView, life: Life) -> Retry:
    if await request.state.gateway.intake.retried([job.id]):
        return Retry.FOUND
    if life.late_images:
        return Retry.TAKES_OVER
    doubtful = job.error is not None and job.error.code is ErrorCode.SUBMISSION_UNCONFIRMED
    return Retry.DOUBTFUL if doubtful else Retry.NEW
