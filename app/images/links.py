"""Addresses of pictures that need no key, until they expire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from app.clock import Clock, system_clock
from app.images.signed_link import sign, verify

LONGEST = timedelta(days=7)  #: that a caller may ask for


@dataclass(frozen=True, slots=True)
class PictureLinks:
    """Signs with the first key, knows what any of them signed."""

    keys: Sequence[bytes] = field(repr=False)
    clock: Clock = system_clock

    def signed_url(self, base_url: str, job_id: UUID, index: int, expires_at: datetime) -> str:
        """The picture's address for people without a key.

        Args:
            base_url: where callers reach the gateway, without a slash at the end.
            expires_at: aware; counted in whole seconds.
        """
        path = picture_path(job_id, index)
        return f"{base_url}{path}?{sign(path, expires_at, self.keys[0])}"

    def opens(self, job_id: UUID, index: int, expires: str, signature: str) -> bool:
        """Whether this is a link of ours to this picture, and still good."""
        return verify(picture_path(job_id, index), expires, signature, now=self.clock(), keys=self.keys)


def picture_path(job_id: UUID, index: int) -> str:
    return f"/jobs/{job_id}/images/{index}"
