"""Where a stored picture opens without a key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta
from uuid import UUID

#: Of a job's stored picture, by its index; None where there is no address to give.
PictureLink = Callable[[UUID, int], str | None]
#: The gateway's base URL, a job, the picture's index, and until when it opens; to the signed address.
SignedUrl = Callable[[str, UUID, int, datetime], str]


def picture_link(signed_url: SignedUrl, base_url: str | None, now: datetime) -> PictureLink:
    """Links that open for six to seven days.

    They end at midnight, so that all answers of a day name the same address.

    Args:
        base_url: where a caller reaches the gateway, without a slash at the end; None where nobody knows.
        now: aware, UTC.
    """
    expires_at = datetime.combine(now, time.min, now.tzinfo) + timedelta(days=7)
    return lambda job_id, index: signed_url(base_url, job_id, index, expires_at) if base_url is not None else None
