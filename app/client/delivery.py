"""A delivery that arrived, proven genuine before it is read. Source: docs/webhooks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from app.client.errors import UnexpectedAnswerError
from app.client.job import Job
from app.client.reading import read_bytes
from app.client.told import Told
from app.deliveries.signing import UnverifiedDeliveryError, verify

__all__ = ["Delivery", "UnverifiedDeliveryError", "verify_delivery"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A genuine one. It may come more than once: act on each `webhook_id` only once."""

    webhook_id: str
    type: str  #: `job.succeeded`, `job.failed` or `job.canceled`
    timestamp: datetime
    job: Job


def verify_delivery(
    secrets: str | Sequence[str], headers: Mapping[str, str], body: bytes, *, now: datetime | None = None
) -> Delivery:
    """The delivery that these headers and this raw body are.

    Args:
        secrets: `whsec_…`; while one is rotated, both.
        headers: names in any case.
        body: the bytes as they came, before any parsing.
        now: with a time zone; the clock's time where none is given.

    Raises:
        UnverifiedDeliveryError: it is not proven to be the gateway's, untouched and of these minutes. Answer 4xx.
    """
    known = [secrets] if isinstance(secrets, str) else secrets
    webhook_id = verify(known, headers, body, now=now or datetime.now(UTC))
    try:
        envelope = read_bytes(_Envelope, body)
    except UnexpectedAnswerError as error:
        raise UnverifiedDeliveryError(f"signed, but no delivery: {error}") from None
    return Delivery(webhook_id, envelope.type, envelope.timestamp, envelope.data)


class _Envelope(Told):
    type: str
    timestamp: datetime
    data: Job
