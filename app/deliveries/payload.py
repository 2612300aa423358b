"""What a signed delivery says. Source: docs/webhooks.md, "What arrives"."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from app.job_view import JobView, job_view
from app.lifecycle.job import Life


class DeliveryBody(BaseModel):
    """The body of a delivery (Standard Webhooks 1.0.0). Fields may be added to it."""

    type: Literal["job.succeeded", "job.failed", "job.canceled"]
    timestamp: datetime = Field(description="When the job was settled.")
    data: JobView


def signed_body(life: Life, base_url: str) -> bytes:
    """The settled job, told to its receiver.

    `base_url` stands before the links, without a slash at the end; where it is empty, they are paths alone.
    """
    told = {"type": f"job.{life.job.state}", "timestamp": life.job.finished_at, "data": job_view(life, base_url)}
    return DeliveryBody.model_validate(told).model_dump_json().encode()
