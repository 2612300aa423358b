"""Fetches a picture from where the upstream keeps it, through the guard.

GatewayError
└── FetchFailedError     it did not come; trying again later may help
    └── NotThereError    whoever keeps it says that it is not there, or not for us
"""

from __future__ import annotations

from datetime import timedelta

from app.errors import GatewayError
from app.images.inspect import MAX_BYTES
from app.outbound.client import OutboundClient

DEADLINE = timedelta(seconds=60)  #: for a whole download with its redirects, however slowly it drips
REDIRECTS = 3  #: each is checked like the first address

_NOT_THERE = (401, 403, 404, 410)


class FetchFailedError(GatewayError):
    """The picture could not be fetched."""


class NotThereError(FetchFailedError):
    """The picture is not where the upstream said, or not for us."""


async def fetch(client: OutboundClient, url: str, *, deadline: timedelta = DEADLINE) -> bytes:
    """All bytes that the address serves, whatever they are; at most 32 MiB.

    Raises:
        OutboundError: as `OutboundClient.get` does; its message may be shown, since it tells no address.
        FetchFailedError: an answer came that is no success; NotThereError where asking often will not help.
    """
    answer = await client.get(url, deadline=deadline, body_max=MAX_BYTES, redirects=REDIRECTS)
    if answer.status in _NOT_THERE:
        raise NotThereError(f"HTTP {answer.status}")
    if answer.status != 200:
        raise FetchFailedError(f"HTTP {answer.status}")
    return answer.body
