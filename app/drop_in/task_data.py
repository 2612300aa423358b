"""A job as the upstream's document tells a task: the `data` of a status answer and of a callback."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field

from app.drop_in.picture_link import PictureLink
from app.lifecycle.job import Life
from app.lifecycle.request import PRICE
from app.lifecycle.states import JobState

Status = Literal["PENDING", "IN_PROGRESS", "SUCCESS", "FAILED"]

CANCELED = "The task was canceled."


class RequestEcho(BaseModel):
    """What was asked for, defaults applied."""

    prompt: str
    size: str
    seed: int
    output_format: str
    callback_url: str | None = Field(None, exclude_if=lambda url: url is None, description="Left out where none was given.")


class TaskData(BaseModel):
    """A task, as the upstream's document has it."""

    task_id: str = Field(description="The job's id.")
    status: Status
    consumed_credits: int = Field(description="5 until the task has ended, then what it cost as far as is known.")
    error_message: str | None
    created_at: str = Field(description="To the second, in UTC.", examples=["2026-03-19T10:00:00Z"])
    request: RequestEcho
    response: list[str] | None = Field(description="Once it is a SUCCESS, the pictures' addresses; they need no key.")


def task_data(life: Life, link: PictureLink) -> TaskData:
    """The job's task. A canceled job reads FAILED."""
    job, status = life.job, status_of(life)
    return TaskData(
        task_id=str(job.job_id),
        status=status,
        consumed_credits=life.credits.consumed + life.credits.unresolved if job.is_settled else PRICE,
        error_message=_why(life) if status == "FAILED" else None,
        created_at=_to_the_second(job.created_at),
        request=RequestEcho(
            prompt=job.request.prompt,
            size=job.request.size,
            seed=job.request.seed,
            output_format=job.request.output_format,
            callback_url=job.callback_url,
        ),
        response=_addresses(life, link) if status == "SUCCESS" else None,
    )


def status_of(life: Life) -> Status:
    """The document's word. Of a running job it is the upstream's own, once a check has heard one."""
    job = life.job
    if job.is_settled:
        return "SUCCESS" if job.state is JobState.SUCCEEDED else "FAILED"
    if job.state is not JobState.RUNNING:
        return "PENDING"
    return "PENDING" if life.task and life.task.upstream_status == "PENDING" else "IN_PROGRESS"


def _why(life: Life) -> str:
    return life.job.error.message if life.job.error else CANCELED


def _addresses(life: Life, link: PictureLink) -> list[str]:
    """Ours where the gateway keeps the picture, else the upstream's."""
    stored = {picture.index for picture in life.pictures if picture.is_stored}
    ours = [link(life.job.job_id, index) if index in stored else None for index in range(len(life.job.images))]
    return [own or theirs for own, theirs in zip(ours, life.job.images, strict=True)]


def _to_the_second(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
