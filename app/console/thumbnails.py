"""Where a page finds the small pictures of jobs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from fastapi import Request

from app.console.picture_address import picture_address
from app.job_view import JobView


def thumbnails(request: Request, jobs: Iterable[JobView], now: datetime) -> dict[UUID, str]:
    """By job, the address of its first picture's thumbnail, where it is stored with us: pages load nothing from elsewhere."""
    gateway = request.state.gateway
    if gateway.archive is None:
        return {}
    stored = [job.id for job in jobs if job.images and job.images[0].stored]
    return {job_id: picture_address(gateway.picture_links, job_id, 0, now) + "&thumbnail=1" for job_id in stored}
