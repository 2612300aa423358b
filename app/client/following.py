"""A job's live timeline, through broken connections, to its end."""

from __future__ import annotations

from dataclasses import replace

from app.client.event import Event
from app.client.event_stream import EventStream
from app.client.exchange import Exchange, require_type
from app.client.reading import read_bytes
from app.client.refusal import is_worth_another_try
from app.client.steps import Emit, Flow, Head, Lost, Open, Pause, Read, Request

SILENCE = 45.0  #: seconds; the gateway says something every 15
_CUT = Lost("the stream ended before the job did", sent=True)


def followed(exchange: Exchange, path: str, after: int | None) -> Flow[Event]:
    """See `Calls.stream`. The gateway ends a stream that is complete with the message `end`; any other end is a break."""
    outage = exchange.outage()
    while True:
        outcome: Head | Lost = yield Open(_from(exchange.get(path, accept="text/event-stream"), after))
        stream = EventStream()
        if isinstance(outcome, Head) and outcome.status == 200:
            require_type(outcome, "text/event-stream")
            while isinstance(chunk := (yield Read()), bytes):
                outage.is_over()  # a ping is enough: nothing may happen to a job for longer than one stream lives
                for message in stream.feed(chunk):
                    if message.event == "end":
                        return
                    if message.id is not None:
                        event = read_bytes(Event, message.data)
                        after = event.id
                        yield Emit(event)
            outcome = chunk or _CUT
        error = yield from exchange.why(outcome)
        if not is_worth_another_try(error):
            raise error
        yield Pause(max(outage.pause(error), stream.retry or 0.0))


def _from(request: Request, after: int | None) -> Request:
    resumed = {} if after is None else {"Last-Event-ID": str(after)}
    return replace(request, headers={**request.headers, **resumed}, silence=SILENCE)
