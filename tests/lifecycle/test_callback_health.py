"""Whether callbacks arrive, and how long the first check may therefore wait."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from lives import NOW, POLICY, minutes, seconds

from app.lifecycle.callback_health import ENOUGH, LOST_AFTER, ReadToTheEnd, judge


def _closed(*, called_back: bool, ran: float = 10, ago: float = 1200) -> ReadToTheEnd:
    closed_at = NOW - seconds(ago)
    return ReadToTheEnd(closed_at, closed_at - seconds(ran), called_back)


def test_nothing_is_concluded_from_nothing() -> None:
    health = judge([], NOW, POLICY)

    assert (health.loss_ratio, health.grace) == (None, POLICY.callback_grace)


def test_a_callback_is_lost_only_when_it_has_had_ten_minutes() -> None:
    assert judge([_closed(called_back=False, ago=599)], NOW, POLICY).loss_ratio is None
    assert judge([_closed(called_back=False, ago=LOST_AFTER.total_seconds())], NOW, POLICY).loss_ratio == 1.0
    assert judge([_closed(called_back=True, ago=0)], NOW, POLICY).loss_ratio == 0.0


def test_few_samples_change_no_grace() -> None:
    assert judge([_closed(called_back=False)] * (ENOUGH - 1), NOW, POLICY).grace == POLICY.callback_grace


def test_when_most_are_lost_nobody_waits() -> None:
    lost = [_closed(called_back=False)] * ENOUGH

    assert judge(lost, NOW, POLICY).grace == POLICY.poll_min
    assert judge(lost + [_closed(called_back=True)] * ENOUGH, NOW, POLICY).grace > POLICY.poll_min, "half is not most"


def test_while_they_arrive_the_grace_is_about_the_p95_of_the_running_times() -> None:
    health = judge([_closed(called_back=True, ran=ran) for ran in range(1, 41)], NOW, POLICY)

    assert health.loss_ratio == 0.0
    assert seconds(38) < health.grace < seconds(48)


def test_the_grace_stays_between_the_bounds_of_the_interval() -> None:
    assert judge([_closed(called_back=True, ran=0.1)] * ENOUGH, NOW, POLICY).grace == POLICY.poll_min
    assert judge([_closed(called_back=True, ran=3600)] * ENOUGH, NOW, POLICY).grace == POLICY.poll_max


def test_without_a_public_address_the_first_check_comes_soon() -> None:
    private = replace(POLICY, callbacks_expected=False)

    assert judge([], NOW, private).grace == POLICY.poll_min
    assert judge([_closed(called_back=True, ran=50)] * ENOUGH, NOW, private).grace == POLICY.poll_min


def test_an_answer_of_unknown_time_counts_as_called_back_and_not_as_a_running_time() -> None:
    unknown = ReadToTheEnd(NOW - minutes(30), None, called_back=True)

    few, more = judge([unknown] * ENOUGH, NOW, POLICY), judge([unknown] * (ENOUGH + 5), NOW, POLICY)
    assert (few.loss_ratio, few.grace) == (more.loss_ratio, more.grace)
    assert judge([unknown] * ENOUGH, NOW, POLICY).grace == POLICY.callback_grace


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 9000), st.floats(0, 4000)), max_size=60))
def test_whatever_happened_the_judgement_is_within_its_bounds(what: list[tuple[bool, float, float]]) -> None:
    health = judge([_closed(called_back=c, ran=ran, ago=ago) for c, ran, ago in what], NOW, POLICY)

    assert health.loss_ratio is None or 0 <= health.loss_ratio <= 1
    assert POLICY.poll_min <= health.grace <= POLICY.poll_max
