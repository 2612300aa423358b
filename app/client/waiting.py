"""A job, once it is settled: long polls, and no failed one is a reason to give up. Source: RFC 7240, `wait`."""

from __future__ import annotations

from dataclasses import replace

from app.client.errors import ClientError, StillOpenError
from app.client.exchange import Exchange
from app.client.job import Job
from app.client.reading import read
from app.client.refusal import is_passing
from app.client.steps import Call, Pause, Request

LONG_POLL = 30  #: seconds; the gateway allows 60, but many proxies cut a silent connection there


def settled(exchange: Exchange, path: str, timeout: float | None) -> Call[Job]:
    """See `Calls.wait`."""
    outage, clock = exchange.outage(), exchange.monotonic
    until = None if timeout is None else clock() + timeout
    while True:
        asked_at = clock()
        seconds = LONG_POLL if until is None else max(0, min(LONG_POLL, int(until - asked_at)))
        try:
            job = yield from _look(exchange, path, seconds)
            if job.is_settled:
                return job
            outage.is_over()
            trouble: ClientError = StillOpenError(job)
            waited_in_vain = seconds > 0 and clock() - asked_at > seconds - 0.5
            pause = 0.0 if waited_in_vain else (job.poll_after_ms or 1000) / 1000
        except ClientError as error:
            if not is_passing(error):
                raise
            trouble, pause = error, outage.pause(error)
        if until is not None:
            if clock() >= until:
                raise trouble
            pause = min(pause, until - clock())
        if pause > 0:
            yield Pause(pause)


def _look(exchange: Exchange, path: str, seconds: int) -> Call[Job]:
    request = exchange.get(path)
    if seconds:
        request = _preferring(request, seconds)
    answer = yield from exchange.once(request, until=exchange.patient_until() + seconds)
    return read(Job, answer)


def _preferring(request: Request, seconds: int) -> Request:
    headers = {**request.headers, "Prefer": f"wait={seconds}"}
    return replace(request, headers=headers, silence=request.silence + seconds)
