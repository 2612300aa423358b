"""A job as its callers see it. Source: the public contract, "A job"."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from app.lifecycle.job import Life
from app.lifecycle.request import OutputFormat, Size
from app.lifecycle.states import CompletedVia, ErrorCode, JobState, Outcome


class ImageView(BaseModel):
    """A picture. What is known of its bytes is known once it is stored."""

    url: str = Field(description="Where the gateway serves it.")
    source_url: str = Field(description="Where the upstream serves it, for as long as it does.")
    stored: bool = Field(description="Whether the gateway keeps a copy.")
    media_type: str | None = None
    width: int | None = Field(None, description="In pixels.")
    height: int | None = Field(None, description="In pixels.")
    bytes: int | None = None
    sha256: str | None = Field(None, description="Of the bytes, in hex.")


class ErrorView(BaseModel):
    """Why a job failed, or why a canceled job's task did."""

    code: ErrorCode
    message: str
    retryable: bool = Field(description="Whether the same request may succeed if it is sent again.")


class JobCreditsView(BaseModel):
    """What the job costs, over all of its submissions."""

    reserved: int = Field(description="Set aside for work that is going as it should.")
    consumed: int = Field(description="Told by the upstream.")
    unresolved: int = Field(description="May have been spent; nobody knows yet.")


class UpstreamView(BaseModel):
    """The job's task, as the last check saw it."""

    task_id: str | None = None
    status: str | None = Field(None, description="The upstream's own word.")


class LinksView(BaseModel):
    """Where to go on from here."""

    self: str
    events: str
    cancel: str | None = Field(description="Present while the job can still be canceled.")
    retry: str | None = Field(None, description="Present once the job is settled and did not succeed.")


class EstimateView(BaseModel):
    """Judged by recent jobs; no promise."""

    p50_at: datetime = Field(description="By then, half of such jobs are settled.")
    p90_at: datetime = Field(description="By then, nine in ten are.")


class JobView(BaseModel):
    """A job. `state` and `upstream` say only what our own submit answer or a check has shown."""

    id: UUID
    state: JobState = Field(description="The last three never change again: `succeeded`, `failed`, `canceled`.")
    tenant: str = Field(description="Whose it is.")
    prompt: str
    size: Size
    seed: int
    output_format: OutputFormat
    callback_url: str | None
    metadata: dict[str, str]
    priority: Literal["high", "normal", "low"]
    idempotency_key: str | None
    images: list[ImageView] = Field(description="Empty until there are some; also of a canceled job whose task went on.")
    error: ErrorView | None
    credits: JobCreditsView
    upstream: UpstreamView
    attempts: int = Field(description="Sends.")
    submissions: int = Field(description="Sends not proven unaccepted.")
    completed_via: CompletedVia | None = Field(
        description="What news of its task, or which result, settled it. Null until then, and for a job that was rejected, "
        "canceled in the queue, or ended by a deadline without a check."
    )
    cancel_requested: bool
    retry_of: UUID | None = Field(description="The job that this one repeats.")
    created_at: datetime
    submitted_at: datetime | None = Field(description="Of the last send.")
    finished_at: datetime | None = Field(description="When it was settled.")
    updated_at: datetime
    poll_after_ms: int | None = Field(description="When asking again is worth it; null once settled.")
    place: int | None = Field(None, description="While queued, its place in the tenant's queue, 1 being next; not in lists.")
    estimate: EstimateView | None = Field(None, description="When it will probably be settled; not in lists.")
    links: LinksView


class CanceledView(JobView):
    """A job after a cancel request."""

    upstream_will_bill: Literal["no", "yes", "unknown"] = Field(
        description="`yes` while it runs, and where its task was billed; `no` where nothing was sent, or nothing billed; "
        "`unknown` where a submit has no answer, or the books are open or were closed unread."
    )


def job_view(life: Life, base_url: str) -> JobView:
    """The job as its callers see it. `base_url` is where they reach the gateway, without a slash at the end."""
    return JobView(**_fields(life, base_url))


def canceled_view(view: JobView, life: Life) -> CanceledView:
    """The view of a job whose cancel was asked for, with what that costs."""
    return CanceledView(**dict(view), upstream_will_bill=_will_bill(life))


def retry_after_seconds(view: JobView) -> int | None:
    return None if view.poll_after_ms is None else math.ceil(view.poll_after_ms / 1000)


def _fields(life: Life, base_url: str) -> dict[str, Any]:
    job, task, credits = life.job, life.task, life.credits
    here = f"{base_url}/jobs/{job.job_id}"
    return {
        "id": job.job_id,
        "state": job.state,
        "tenant": job.tenant,
        "prompt": job.request.prompt,
        "size": job.request.size,
        "seed": job.request.seed,
        "output_format": job.request.output_format,
        "metadata": dict(job.metadata),
        "priority": job.priority.name.lower(),
        "idempotency_key": job.batch.idempotency_key if job.batch else job.idempotency_key,
        "callback_url": job.callback_url,
        "retry_of": job.retry_of,
        "images": [_image_view(life, index, url, here) for index, url in enumerate(job.images)],
        "error": ErrorView(code=job.error.code, message=job.error.message, retryable=job.error.retryable)
        if job.error
        else None,
        "credits": JobCreditsView(reserved=credits.reserved, consumed=credits.consumed, unresolved=credits.unresolved),
        "upstream": UpstreamView(task_id=task.task_id, status=task.upstream_status) if task else UpstreamView(),
        "attempts": life.attempts,
        "submissions": life.unproven,
        "completed_via": job.completed_via,
        "cancel_requested": job.cancel_requested,
        "created_at": job.created_at,
        "submitted_at": job.submitted_at,
        "finished_at": job.finished_at,
        "updated_at": job.updated_at,
        "poll_after_ms": _poll_after_ms(job.state),
        "links": LinksView(
            self=here,
            events=f"{here}/events",
            cancel=None if job.is_settled else f"{here}/cancel",
            retry=f"{here}/retry" if job.is_settled and job.state is not JobState.SUCCEEDED else None,
        ),
    }


def _image_view(life: Life, index: int, source_url: str, here: str) -> ImageView:
    stored = next((picture for picture in life.pictures if picture.index == index and picture.is_stored), None)
    view = ImageView(url=f"{here}/images/{index}", source_url=source_url, stored=stored is not None)
    if stored is None:
        return view
    facts = {name: getattr(stored, name) for name in ("media_type", "width", "height", "bytes", "sha256")}
    return view.model_copy(update=facts)


def _poll_after_ms(state: JobState) -> int | None:
    return {JobState.QUEUED: 1000, JobState.SUBMITTING: 1000, JobState.RUNNING: 2000, JobState.UNCONFIRMED: 5000}.get(state)


def _will_bill(life: Life) -> Literal["no", "yes", "unknown"]:
    if life.job.state is JobState.RUNNING or life.credits.consumed:
        return "yes"
    return "unknown" if any(s.outcome in (Outcome.OPEN, Outcome.WRITTEN_OFF) for s in life.submissions) else "no"
