"""The rules of trying, without a network and without time: a call is driven by hand."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from app.client import OutOfReachError, Patience, StillOpenError, UnexpectedAnswerError
from app.client.calls import Calls
from app.client.exchange import BODY_MAX, Exchange
from app.client.steps import Head, Lost, Open, Pause, Read, Request
from app.client.waiting import LONG_POLL
from tests.client.stand_in import JOB_ID, job

UNSENT, UNHEARD = Lost("no route", sent=False), Lost("silence", sent=True)
JSON = {"content-type": "application/json"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Drive:
    """Takes the steps of a call: each Open gets the next reply, which takes `took` seconds; pauses pass at once."""

    def __init__(self, clock: Clock, took: float = 0.0) -> None:
        self.clock, self.took = clock, took
        self.requests: list[Request] = []
        self.pauses: list[float] = []

    def __call__(self, call: Generator[Any, Any, Any], *replies: Lost | tuple[int, bytes]) -> Any:
        left, body, reply = list(replies), [], None
        while True:
            try:
                step = call.send(reply)
            except StopIteration as end:
                assert not left
                return end.value
            reply = None
            if isinstance(step, Open):
                self.requests.append(step.request)
                self.clock.now += self.took
                said = left.pop(0) if len(left) > 1 or not isinstance(left[0], Lost) else left[0]
                reply, body = (said, []) if isinstance(said, Lost) else (Head(said[0], JSON), [said[1]])
            elif isinstance(step, Read):
                reply = body.pop() if body else None
            elif isinstance(step, Pause):
                self.pauses.append(step.seconds)
                self.clock.now += step.seconds


def shown(state: str, **fields: Any) -> tuple[int, bytes]:
    import json

    return 200, json.dumps(job(state, **fields)).encode()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def exchange(clock: Clock, chance: float = 1.0, **patience: Any) -> Exchange:
    return Exchange("http://gateway", Patience(**patience), monotonic=clock, chance=lambda: chance)


@pytest.mark.parametrize(("chance", "pauses"), [(0.0, [0.5, 1.0, 2.0, 4.0, 5.0]), (1.0, [1.0, 2.0, 4.0, 8.0, 10.0])])
def test_pauses_double_up_to_the_longest_and_half_of_each_is_chance(clock: Clock, chance: float, pauses: list[float]) -> None:
    drive = Drive(clock)
    calls = Calls(exchange(clock, chance, tries=6, first_pause=1.0, longest_pause=10.0))
    with pytest.raises(OutOfReachError):
        drive(calls.job(JOB_ID), UNSENT)
    assert drive.pauses == pauses


def test_no_try_begins_after_the_deadline(clock: Clock) -> None:
    drive = Drive(clock, took=25.0)
    with pytest.raises(OutOfReachError):
        drive(Calls(exchange(clock, tries=99, deadline=60.0)).job(JOB_ID), UNHEARD)
    assert len(drive.requests) == 3
    assert [round(request.silence) for request in drive.requests] == [30, 30, 9]


def test_an_answer_without_end_is_not_held(clock: Clock) -> None:
    call = Calls(exchange(clock)).job(JOB_ID)
    assert isinstance(next(call), Open)
    call.send(Head(200, JSON))
    mib = bytes(1024 * 1024)
    with pytest.raises(UnexpectedAnswerError, match="too large"):
        for _ in range(BODY_MAX // len(mib) + 1):
            call.send(mib)


def test_a_dripping_answer_is_left_at_the_deadline(clock: Clock) -> None:
    call = Calls(exchange(clock, tries=1, deadline=60.0)).job(JOB_ID)
    next(call)
    call.send(Head(200, JSON))
    drips = 0
    with pytest.raises(OutOfReachError, match="in time"):
        while True:
            clock.now += 20.0
            drips += 1
            call.send(b"{")
    assert drips == 4


def test_a_wait_outlives_any_trouble_that_passes(clock: Clock) -> None:
    drive = Drive(clock)
    troubles = [UNSENT, UNHEARD, (502, b"<h1>"), (404, b"<h1>"), (200, b"{"), (500, b""), (429, b""), shown("running")]
    found = drive(Calls(exchange(clock)).wait(JOB_ID), *troubles * 40, shown("succeeded"))
    assert found.succeeded
    assert len(drive.requests) == 321


def test_a_wait_ends_when_nothing_but_errors_came_for_too_long(clock: Clock) -> None:
    drive = Drive(clock)
    with pytest.raises(OutOfReachError):
        drive(Calls(exchange(clock, outage=120.0, longest_pause=10.0)).wait(JOB_ID), shown("running"), UNSENT)
    assert 100 < clock.now - 1000 <= 121 + 1


def test_a_wait_asks_again_at_once_where_the_gateway_waited_and_pauses_where_it_did_not(clock: Clock) -> None:
    drive = Drive(clock, took=LONG_POLL)
    assert drive(Calls(exchange(clock)).wait(JOB_ID), shown("running"), shown("running"), shown("failed")).state == "failed"
    assert drive.pauses == []
    assert {request.headers["Prefer"] for request in drive.requests} == {f"wait={LONG_POLL}"}
    impatient = Drive(clock)
    impatient(Calls(exchange(clock)).wait(JOB_ID), shown("running", poll_after_ms=2500), shown("failed"))
    assert impatient.pauses == [2.5]


def test_a_wait_that_is_over_holds_the_job_as_it_was(clock: Clock) -> None:
    drive = Drive(clock)
    with pytest.raises(StillOpenError) as caught:
        drive(Calls(exchange(clock)).wait(JOB_ID, timeout=2.2), *[shown("running")] * 4)
    assert caught.value.job.state == "running"
    assert [request.headers.get("Prefer") for request in drive.requests] == ["wait=2", "wait=1", None, None]
    assert clock.now == pytest.approx(1002.2)


def test_a_wait_of_no_time_looks_once(clock: Clock) -> None:
    assert Drive(clock)(Calls(exchange(clock)).wait(JOB_ID, timeout=0), shown("canceled")).state == "canceled"
    with pytest.raises(StillOpenError):
        Drive(clock)(Calls(exchange(clock)).wait(JOB_ID, timeout=0), shown("queued"))


def test_a_stream_on_which_nothing_happens_for_hours_is_no_outage(clock: Clock) -> None:
    flow = Calls(exchange(clock, outage=100.0)).stream(JOB_ID)
    step = next(flow)
    for _ in range(20):
        assert isinstance(step, Open)
        flow.send(Head(200, {"content-type": "text/event-stream"}))
        clock.now += 600.0
        flow.send(b": ping\n\n")
        assert isinstance(flow.send(None), Pause)
        step = flow.send(None)


def test_a_stream_that_nobody_answers_ends_after_the_outage(clock: Clock) -> None:
    with pytest.raises(OutOfReachError):
        Drive(clock)(Calls(exchange(clock, outage=100.0)).stream(JOB_ID), UNSENT)
    assert 80 < clock.now - 1000 <= 100
