"""Where a page loads a stored picture from: this gateway, by a link that needs no key."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from app.images.links import PictureLinks

HOLDS = timedelta(hours=2)  #: at most; then the page must be loaded again


def picture_address(links: PictureLinks, job_id: UUID, index: int, now: datetime) -> str:
    """Without a host, so that the content policy knows it as our own.

    It ends at a full hour, so that a page that is asked for again names the same address, and the browser keeps the picture.
    """
    hour = now.replace(minute=0, second=0, microsecond=0)
    return links.signed_url("", job_id, index, hour + HOLDS)
