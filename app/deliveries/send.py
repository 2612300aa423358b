"""One call to a receiver, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import structlog

from app.clock import system_clock
from app.deliveries.signing import sign
from app.lifecycle.delivery import AttemptOutcome
from app.outbound.client import Answer, OutboundClient
from app.outbound.errors import OutboundError
from app.retry_after import retry_after
from app.storage.deliveries import Attempt, ClaimedDelivery
from app.traces.spans import Traces

log = structlog.get_logger(__name__)

CALL_DEADLINE = timedelta(seconds=15)  #: from the lookup of the name to the end of the answer
EXCERPT_MAX = 2000  #: characters that are kept of an answer's body
_EXCERPT_BYTES = 4 * EXCERPT_MAX
_REDIRECT = "redirects are not followed: give the final address"

#: What signs a tenant's deliveries at an instant, newest first.
Secrets = Callable[[str, datetime], Awaitable[Sequence[str]]]


class Sender:
    """Makes the call of an attempt. Only what the receiver said, or did not say, is an outcome; what fails here is raised."""

    def __init__(
        self,
        client: OutboundClient,
        secrets: Secrets,
        *,
        deadline: timedelta = CALL_DEADLINE,
        monotonic: Callable[[], float] = time.monotonic,
        traces: Traces | None = None,
    ) -> None:
        self.deadline = deadline
        self._client, self._secrets, self._monotonic = client, secrets, monotonic
        self._traces = traces or Traces()

    async def attempt(self, delivery: ClaimedDelivery) -> Attempt:
        """Sends the body once.

        A 2xx is a success as soon as its head is here: whatever becomes of its body, the receiver has said that it took it.
        """
        assert delivery.body is not None
        headers = await self._headers(delivery, delivery.body)
        began = self._monotonic()
        answer, error = await self._call(delivery, delivery.body, headers)
        milliseconds = round((self._monotonic() - began) * 1000)
        if answer is None:
            return Attempt(delivery, AttemptOutcome(None), milliseconds, error)
        asked = retry_after(answer.headers, now=system_clock())
        told = _REDIRECT if 300 <= answer.status <= 399 else None
        return Attempt(delivery, AttemptOutcome(answer.status, asked), milliseconds, told, _excerpt(answer.body))

    async def _headers(self, delivery: ClaimedDelivery, body: bytes) -> dict[str, str]:
        content = {"content-type": "application/json"}
        if (traceparent := self._traces.current().traceparent) is not None:
            content["traceparent"] = traceparent
        secrets = await self._secrets(delivery.receiver.tenant, delivery.claimed_at)
        return {**content, **sign(secrets, str(delivery.delivery_id), delivery.claimed_at, body)}

    async def _call(
        self, delivery: ClaimedDelivery, body: bytes, headers: dict[str, str]
    ) -> tuple[Answer, None] | tuple[None, str]:
        try:
            call = self._client.post(
                delivery.url, body, headers=headers, deadline=self.deadline, excerpt_max=_EXCERPT_BYTES
            )  # fmt: skip
            return await call, None
        except OutboundError as error:
            return None, str(error)
        except Exception as error:  # noqa: BLE001 - an address that trips the client must not be called for ever
            # Without its text and trace: they may hold the address, and that a secret of the caller's.
            log.error("the client failed", error=type(error).__name__, origin=delivery.receiver.origin)
            return None, f"the call failed: {type(error).__name__}"


def _excerpt(body: bytes) -> str:
    """Text that both databases can keep: PostgreSQL's has no NUL."""
    return body.decode("utf-8", "replace").replace("\0", "\ufffd")[:EXCERPT_MAX]
