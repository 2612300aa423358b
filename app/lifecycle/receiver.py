"""Receivers, and when one is left alone. Pure.

A receiver is a tenant and an origin, not one URL: jobs have addresses of their own, and what is down is the server behind them.
Two tenants that name the same server are two receivers: neither can park the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from app.lifecycle.delivery import AttemptOutcome

PARK_AFTER = timedelta(days=5)  #: of failures only
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is parked and resumed as one."""

    tenant: str
    origin: str  #: `https://host` or `https://host:port`, as `receiver_of` spells it


@dataclass(frozen=True, slots=True)
class ReceiverHealth:
    """What is remembered of a receiver; a new one, and one that an operator resumed, start with nothing."""

    failing_since: datetime | None = None  #: the first failure after the last success
    failed_at: datetime | None = None  #: the last failure
    parked_at: datetime | None = None  #: while set, its deliveries are kept and not attempted


def receiver_of(tenant: str, url: str) -> Receiver:
    """Whose server this URL is on.

    Raises:
        ValueError: it is no `http` or `https` URL with a host.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in _PORTS or not host:
        raise ValueError("not an http or https address with a host")
    host = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port not in (None, _PORTS[parts.scheme]) else ""
    return Receiver(tenant, f"{parts.scheme}://{host}{port}")


def after_attempt(health: ReceiverHealth, outcome: AttemptOutcome, now: datetime) -> ReceiverHealth:
    """What is known of the receiver after an attempt that ended now.

    A success proves it alive, also one that came while it was parked, so it is forgotten that it ever failed; so does a 410,
    by which it refuses one delivery as it should. Failures that lie further apart than five days are not one failure of five
    days: nobody looked in between.
    """
    if outcome.succeeded or outcome.is_gone:
        return ReceiverHealth()
    since = health.failing_since
    if since is None or health.failed_at is None or now - health.failed_at >= PARK_AFTER:
        since = now
    parked_at = health.parked_at or (now if now - since >= PARK_AFTER else None)
    return ReceiverHealth(since, now, parked_at)
