"""Signatures of deliveries, as Standard Webhooks 1.0.0 has them: HMAC-SHA256 over `{webhook-id}.{webhook-timestamp}.{body}`.

The reference library signs. It is not asked to verify: its `verify` raises more than it says, reads the clock itself, takes
one secret, and stumbles over a malformed signature that stands before a good one.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from standardwebhooks import Webhook

from app.errors import GatewayError
from app.lifecycle.signing_secret import secret_bytes

TOLERANCE = timedelta(minutes=5)  #: how far the sender's clock and ours may be apart, either way
_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")  # no dot: it parts what is signed
_SECONDS = re.compile(r"[1-9][0-9]{0,10}")  # up to the year 5138


class UnverifiedDeliveryError(GatewayError):
    """This delivery is not proven to be ours, to be untouched and to be of these minutes."""


def sign(secrets: Sequence[str], webhook_id: str, timestamp: datetime, body: bytes) -> dict[str, str]:
    """The three headers of one attempt. Every live secret signs, so that a receiver may change from one to the other freely.

    Args:
        secrets: the live ones, newest first.
        webhook_id: the same for all attempts of a delivery.
        timestamp: of this attempt, with a time zone.
        body: UTF-8, exactly as it is sent.

    Raises:
        ValueError: no secret or a bad one, an id with other characters than letters, digits, `_` and `-`, an instant without
            a time zone, or a body that is no UTF-8.
    """
    if not secrets or not _ID.fullmatch(webhook_id) or timestamp.utcoffset() is None:
        raise ValueError("signing takes a secret, an id of letters, digits, _ and -, and an instant with a time zone")
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(timestamp.timestamp())),
        "webhook-signature": " ".join(_signatures(secrets, webhook_id, timestamp, body)),
    }


def verify(
    secrets: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
) -> str:
    """The `webhook-id` of a genuine delivery. It may arrive more than once: act on each id only once.

    Args:
        secrets: those that the receiver knows; one match is enough.
        headers: names in any case.
        body: the bytes as they came, before any parsing.
        now: with a time zone.

    Raises:
        UnverifiedDeliveryError: anything is missing, malformed, too old, too new, or signed with another secret.
    """
    said = {name.lower(): value for name, value in headers.items()}
    webhook_id, seconds = said.get("webhook-id", ""), said.get("webhook-timestamp", "")
    if not (_ID.fullmatch(webhook_id) and _SECONDS.fullmatch(seconds)):
        raise UnverifiedDeliveryError("webhook-id or webhook-timestamp is missing or malformed")
    timestamp = datetime.fromtimestamp(int(seconds), UTC)
    if abs(now - timestamp) > TOLERANCE:
        raise UnverifiedDeliveryError("webhook-timestamp is too far from now")
    try:
        expected = _signatures(secrets, webhook_id, timestamp, body)
    except ValueError as error:
        raise UnverifiedDeliveryError(f"nothing to compare with: {_fact(error)}") from None
    if not _any_equal(expected, said.get("webhook-signature", "").split(" ")):
        raise UnverifiedDeliveryError("no signature fits")
    return webhook_id


def _signatures(secrets: Sequence[str], webhook_id: str, timestamp: datetime, body: bytes) -> list[str]:
    at = timestamp.astimezone(UTC)  # the library takes any other zone's hour for UTC
    return [Webhook(secret_bytes(secret)).sign(webhook_id, at, body.decode()) for secret in secrets]


def _any_equal(expected: Sequence[str], given: Sequence[str]) -> bool:
    """Each comparison takes constant time: how long it took tells nothing of how near a guess was."""
    return any(hmac.compare_digest(a.encode(), b.encode("ascii", "replace")) for a in expected for b in given)


def _fact(error: ValueError) -> str:
    return "the body is no UTF-8" if isinstance(error, UnicodeError) else str(error)
