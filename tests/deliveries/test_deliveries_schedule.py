"""When a delivery is attempted again, and when no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.lifecycle.delivery import (
    ATTEMPTS,
    PAUSES,
    AttemptOutcome,
    DeliveryState,
    NextStep,
    decide_next,
)

NOW = datetime(2026, 11, 5, 12, 0, tzinfo=UTC)
DELIVERY = UUID("019a5a00-0000-7000-8000-000000000001")
FAILED = AttemptOutcome(500)
HOUR = timedelta(hours=1)

any_attempt = st.integers(1, len(PAUSES))


def pause(attempt: int, outcome: AttemptOutcome = FAILED, delivery_id: UUID = DELIVERY) -> timedelta:
    step = decide_next(outcome, delivery_id=delivery_id, attempt=attempt, now=NOW)
    assert step.state is DeliveryState.PENDING
    assert step.attempt_at is not None
    return step.attempt_at - NOW


def state(status: int | None, attempt: int = 1) -> DeliveryState:
    step = decide_next(AttemptOutcome(status), delivery_id=DELIVERY, attempt=attempt, now=NOW)
    assert (step.attempt_at is not None) == (step.state is DeliveryState.PENDING)
    return step.state


def test_there_are_eight_attempts_over_a_day_and_a_bit() -> None:
    assert [pause.total_seconds() for pause in PAUSES] == [5, 300, 1800, 7200, 18000, 36000, 36000]
    assert ATTEMPTS == 8


@pytest.mark.parametrize("status", [200, 201, 204, 299])
@pytest.mark.parametrize("attempt", [1, ATTEMPTS])
def test_any_2xx_is_delivered(status: int, attempt: int) -> None:
    assert state(status, attempt) is DeliveryState.DELIVERED


@pytest.mark.parametrize("attempt", [1, ATTEMPTS])
def test_410_stops(attempt: int) -> None:
    assert state(410, attempt) is DeliveryState.GONE


@pytest.mark.parametrize("status", [None, 100, 199, 300, 301, 302, 304, 307, 308, 400, 401, 404, 409, 429, 500, 503, 599, 999])
def test_everything_else_is_tried_again_until_the_last_attempt(status: int | None) -> None:
    assert [state(status, attempt) for attempt in range(1, ATTEMPTS)] == [DeliveryState.PENDING] * 7
    assert state(status, ATTEMPTS) is DeliveryState.EXHAUSTED


def test_an_attempt_that_somebody_asked_for_after_the_last_does_not_start_anew() -> None:
    assert decide_next(FAILED, delivery_id=DELIVERY, attempt=ATTEMPTS + 1, now=NOW) == NextStep(DeliveryState.EXHAUSTED)


@given(st.uuids(), any_attempt)
def test_a_pause_is_a_fifth_shorter_or_longer_at_most(delivery_id: UUID, attempt: int) -> None:
    usual = PAUSES[attempt - 1]
    assert usual * 0.8 <= pause(attempt, delivery_id=delivery_id) <= usual * 1.2


def test_pauses_fill_the_whole_width_of_the_jitter() -> None:
    pauses = [pause(1, delivery_id=UUID(int=number)).total_seconds() for number in range(200)]
    assert min(pauses) < 4.2
    assert max(pauses) > 5.8
    assert len(set(pauses)) > 190


def test_the_same_past_has_the_same_future_and_each_attempt_its_own_spread() -> None:
    assert [pause(attempt) for attempt in range(1, ATTEMPTS)] == [pause(attempt) for attempt in range(1, ATTEMPTS)]
    shares = {round(pause(attempt) / PAUSES[attempt - 1], 6) for attempt in range(1, ATTEMPTS)}
    assert len(shares) == len(PAUSES)


@given(st.uuids(), any_attempt, st.timedeltas(timedelta(0)))
@example(DELIVERY, 1, timedelta.max)
def test_a_wish_to_wait_is_honoured_between_the_usual_pause_and_twice_that(
    delivery_id: UUID, attempt: int, wish: timedelta
) -> None:
    usual = PAUSES[attempt - 1]
    waits = pause(attempt, AttemptOutcome(503, retry_after=wish), delivery_id)
    assert usual <= waits <= 2 * usual
    assert waits >= min(wish, 2 * usual)
    assert waits <= max(min(wish, 2 * usual) * 1.2, usual)


def test_receivers_who_all_wish_for_the_same_are_met_one_after_the_other() -> None:
    wish = AttemptOutcome(429, retry_after=timedelta(minutes=6))
    assert len({pause(2, wish, UUID(int=number)) for number in range(50)}) == 50


def test_a_wish_to_wait_changes_no_end() -> None:
    for status, attempt, end in (
        (204, 1, DeliveryState.DELIVERED),
        (410, 1, DeliveryState.GONE),
        (503, 8, DeliveryState.EXHAUSTED),
    ):
        outcome = AttemptOutcome(status, retry_after=HOUR)
        assert decide_next(outcome, delivery_id=DELIVERY, attempt=attempt, now=NOW) == NextStep(end)
