"""The gate before the upstream."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lives import GOING, NOW, minutes, seconds

from app.lifecycle.answers import Accepted, NoAnswer, NotFound, Refusal, Refused, Rejected, SubmitAnswer, Unproven
from app.lifecycle.gate import (
    BURST_SECONDS,
    Gate,
    GatePolicy,
    Shut,
    after_check,
    after_key_probe,
    after_submit,
    check_permits,
    pause,
    resume,
    submit_permits,
    take_key_probe,
    with_key,
)

POLICY = GatePolicy()
OPEN = Gate(key_fingerprint="this key")
ACCEPTED = Accepted("task")
FAILED = Refused(Refusal.SERVER_ERROR, "please retry")
UNAUTHORIZED = NoAnswer("401", unauthorized=True)


def _refused(reason: Refusal, wait: timedelta | None = None) -> Refused:
    return Refused(reason, "no", retry_after=wait)


def _after(gate: Gate, *answers: SubmitAnswer | None, at: datetime = NOW) -> Gate:
    for answer in answers:
        gate = after_submit(gate, answer, at, POLICY)
    return gate


def _may_submit(gate: Gate, at: datetime = NOW) -> int:
    return submit_permits(gate, 100, 0, at, replace(POLICY, submit_rate=1000)).count


def _broken() -> Gate:
    return _after(OPEN, *[FAILED] * POLICY.failures_to_open)


# --- permits --------------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    rate=st.floats(0.2, 200, allow_nan=False),
    asks=st.lists(st.tuples(st.integers(0, 700_000), st.integers(1, 500)), min_size=1, max_size=60),
    checks=st.booleans(),
)
def test_no_second_sees_more_than_the_rate_and_a_burst(rate: float, asks: list[tuple[int, int]], checks: bool) -> None:
    policy = replace(POLICY, submit_rate=rate, status_rate=rate, max_in_flight=10**9)
    gate, at, granted = OPEN, NOW, []
    for wait, wanted in asks:
        at += timedelta(microseconds=wait)
        permits = check_permits(gate, wanted, at, policy) if checks else submit_permits(gate, wanted, 0, at, policy)
        gate = permits.gate
        granted.append((at, permits.count))
        assert 0 <= permits.count <= wanted

    burst = max(1.0, rate * BURST_SECONDS)
    for i, (start, _) in enumerate(granted):
        within = sum(count for when, count in granted[i:] if when < start + seconds(1))
        assert within <= rate + burst + 1e-3


@settings(max_examples=100, deadline=None)
@given(rate=st.floats(0.2, 200, allow_nan=False), wanted=st.integers(1, 500))
def test_who_comes_back_when_told_gets_a_permit(rate: float, wanted: int) -> None:
    policy = replace(POLICY, submit_rate=rate, max_in_flight=10**9)
    gate = submit_permits(OPEN, wanted, 0, NOW, policy).gate
    for _ in range(1000):
        refused = submit_permits(gate, wanted, 0, NOW, policy)
        if not refused.count:
            break
        gate = refused.gate

    assert refused.retry_at is not None
    assert submit_permits(gate, 1, 0, refused.retry_at + timedelta(microseconds=2), policy).count == 1


def test_a_patient_sender_gets_the_whole_rate() -> None:
    gate, sent = OPEN, 0
    for tick in range(1000):
        permits = submit_permits(gate, 5, 0, NOW + seconds(tick / 100), POLICY)
        gate, sent = permits.gate, sent + permits.count

    assert 99 <= sent <= 102, "ten seconds at ten a second, and two at once"


def test_permits_leave_room_for_what_is_open() -> None:
    fast = replace(POLICY, submit_rate=10_000, max_in_flight=10)

    assert submit_permits(OPEN, 50, 7, NOW, fast).count == 3
    assert submit_permits(OPEN, 50, 10, NOW, fast).count == 0
    assert submit_permits(OPEN, 50, 12, NOW, fast).count == 0
    assert submit_permits(OPEN, 50, 10, NOW, fast).retry_at is None, "only news can help"


def test_a_refused_permit_takes_nothing() -> None:
    spent = submit_permits(OPEN, 100, 0, NOW, POLICY).gate

    assert submit_permits(spent, 1, 0, NOW, POLICY).gate is spent


# --- a pause --------------------------------------------------------------------------------------------------------------


def test_a_pause_shuts_submits_only() -> None:
    paused = pause(OPEN, "ops", NOW)

    assert (_may_submit(paused), check_permits(paused, 1, NOW, POLICY).count) == (0, 1)
    assert paused.why_submits_are_shut is Shut.PAUSED
    assert paused.checks_possible


def test_only_an_operator_ends_a_pause() -> None:
    paused = _after(pause(OPEN, "ops", NOW), ACCEPTED, at=NOW + timedelta(days=9))

    assert _may_submit(paused, NOW + timedelta(days=9)) == 0
    assert _may_submit(resume(paused)) > 0


def test_a_second_pause_keeps_the_first_ones_name() -> None:
    assert pause(pause(OPEN, "first", NOW), "second", NOW + minutes(1)).paused_by == "first"


# --- what shuts submits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "shut", "least"),
    [
        (Refusal.NO_CREDITS, Shut.NO_CREDITS, POLICY.account_pause_min),
        (Refusal.FORBIDDEN, Shut.FORBIDDEN, POLICY.account_pause_min),
        (Refusal.THROTTLED, Shut.THROTTLED, POLICY.pause_min),
    ],
)
def test_a_refused_account_shuts_submits_and_leaves_checks_open(refusal: Refusal, shut: Shut, least: timedelta) -> None:
    gate = _after(OPEN, _refused(refusal))

    assert (gate.shut, gate.why_submits_are_shut) == (shut, shut)
    assert gate.checks_possible
    assert check_permits(gate, 1, NOW, POLICY).count == 1
    assert submit_permits(gate, 9, 0, NOW, POLICY).retry_at == NOW + least
    assert _may_submit(gate, NOW + least - seconds(0.001)) == 0
    assert _may_submit(gate, NOW + least) == 1, "a single probe"


@pytest.mark.parametrize("refusal", [Refusal.NO_CREDITS, Refusal.FORBIDDEN, Refusal.THROTTLED])
def test_retry_after_says_how_long(refusal: Refusal) -> None:
    gate = _after(OPEN, _refused(refusal, seconds(90)))

    assert gate.shut_until == NOW + seconds(90)


def test_a_late_retry_after_lengthens_a_pause_and_never_shortens_it() -> None:
    gate = _after(OPEN, _refused(Refusal.THROTTLED, seconds(90)))

    assert _after(gate, _refused(Refusal.THROTTLED, seconds(30))).shut_until == NOW + seconds(90)
    assert _after(gate, _refused(Refusal.THROTTLED, seconds(120))).shut_until == NOW + seconds(120)


def test_pauses_of_an_empty_account_double_up_to_half_an_hour() -> None:
    gate, at, pauses = OPEN, NOW, []
    for _ in range(8):
        gate = submit_permits(gate, 1, 0, at, POLICY).gate
        gate = _after(gate, _refused(Refusal.NO_CREDITS), at=at)
        assert gate.shut_until is not None
        pauses.append((gate.shut_until - at).total_seconds())
        at = gate.shut_until

    assert pauses == [60, 120, 240, 480, 960, 1800, 1800, 1800]


# --- the breaker ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [FAILED, _refused(Refusal.NOT_CONNECTED), Unproven("timeout")], ids=lambda a: a.detail)
def test_five_failures_in_a_row_open_the_breaker(answer: SubmitAnswer) -> None:
    assert _after(OPEN, *[answer] * 4).shut is None
    assert _after(OPEN, *[answer] * 5).shut is Shut.BREAKER


@pytest.mark.parametrize("answer", [ACCEPTED, Rejected("Invalid size")], ids=["accepted", "rejected"])
def test_an_answer_between_failures_starts_the_count_again(answer: SubmitAnswer) -> None:
    assert _after(OPEN, *[FAILED] * 4, answer, *[FAILED] * 4).shut is None


def test_the_breakers_pauses_grow_to_five_minutes_with_every_failed_probe() -> None:
    gate, at, pauses = _broken(), NOW, []
    for _ in range(9):
        assert gate.shut_until is not None
        pauses.append((gate.shut_until - at).total_seconds())
        at = gate.shut_until
        gate = _after(submit_permits(gate, 1, 0, at, POLICY).gate, FAILED, at=at)

    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_answers_to_what_was_sent_before_do_not_lengthen_the_pause() -> None:
    gate = _broken()

    assert _after(gate, *[FAILED] * 20, at=NOW + seconds(1)).shut_until == gate.shut_until


def test_a_probe_is_a_lease_and_a_lost_one_is_replaced() -> None:
    at = NOW + POLICY.pause_min
    probing = submit_permits(_broken(), 9, 0, at, POLICY)

    assert probing.count == 1
    assert _may_submit(probing.gate, at + seconds(1)) == 0
    assert submit_permits(probing.gate, 1, 0, at, POLICY).retry_at == at + POLICY.probe_lease
    assert _may_submit(probing.gate, at + POLICY.probe_lease) == 1


def test_a_probe_that_was_given_back_lets_another_go() -> None:
    at = NOW + POLICY.pause_min
    probing = submit_permits(_broken(), 1, 0, at, POLICY).gate

    assert _may_submit(_after(probing, None, at=at), at + seconds(1)) == 1


def test_a_success_closes_the_breaker_and_forgets_the_pauses() -> None:
    at = NOW + POLICY.pause_min
    gate = _after(submit_permits(_broken(), 1, 0, at, POLICY).gate, ACCEPTED, at=at)

    assert (gate.shut, gate.failures, gate.shut_times, gate.probe_until) == (None, 0, 0, None)
    assert _may_submit(gate, at + seconds(1)) > 1


def test_a_late_acceptance_does_not_end_an_empty_accounts_pause() -> None:
    gate = _after(OPEN, _refused(Refusal.NO_CREDITS))

    assert _after(gate, ACCEPTED, at=NOW + seconds(1)).shut is Shut.NO_CREDITS
    assert _after(gate, ACCEPTED, at=NOW + POLICY.account_pause_min).shut is None


# --- what shuts both ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "gate",
    [
        _after(OPEN, _refused(Refusal.UNAUTHORIZED)),
        after_check(OPEN, UNAUTHORIZED, counts=True, now=NOW, policy=POLICY),
    ],
    ids=["a submit", "a check"],
)
def test_a_bad_key_shuts_both_doors_until_a_probe_finds_it_good(gate: Gate) -> None:
    at = NOW + POLICY.probe_every

    assert not gate.checks_possible
    assert gate.why_submits_are_shut is Shut.BAD_KEY
    assert (_may_submit(gate, at), check_permits(gate, 1, at, POLICY).count) == (0, 0)
    assert take_key_probe(gate, NOW, POLICY) is None
    probing = take_key_probe(gate, at, POLICY)
    assert probing is not None
    assert take_key_probe(probing, at, POLICY) is None, "one every minute, over all replicas"
    assert not after_key_probe(probing, UNAUTHORIZED).checks_possible
    assert after_key_probe(probing, NotFound()).checks_possible


def test_an_open_gate_needs_no_key_probe() -> None:
    assert take_key_probe(OPEN, NOW, POLICY) is None


def test_a_changed_key_opens_the_gate_and_the_same_does_not() -> None:
    shut = _after(_broken(), _refused(Refusal.UNAUTHORIZED))

    assert with_key(shut, "this key") is shut
    assert with_key(shut, "another").why_submits_are_shut is None
    assert with_key(shut, "another").key_fingerprint == "another"
    assert with_key(pause(OPEN, "ops", NOW), "another").paused_at == NOW, "a pause is the operator's"


def _miss(gate: Gate, times: int, *, counts: bool = True, at: datetime = NOW) -> Gate:
    for _ in range(times):
        gate = after_check(gate, NotFound(), counts=counts, now=at, policy=POLICY)
    return gate


def test_an_upstream_that_knows_no_task_shuts_the_checks() -> None:
    assert _miss(OPEN, POLICY.misses_to_shut - 1).checks_possible
    assert _miss(OPEN, POLICY.misses_to_shut).checks_shut is Shut.TASKS_MISSING


def test_one_forgotten_task_polled_for_ever_shuts_nothing() -> None:
    """Only its first 404 counts, and none while it is young."""
    forgotten = _miss(_miss(OPEN, 1), 1000, counts=False)

    assert forgotten.checks_possible
    assert forgotten.misses == 1
    assert not _miss(forgotten, POLICY.misses_to_shut - 1).checks_possible, "nine others are missing as well"


def test_a_task_that_is_found_starts_the_count_again() -> None:
    half = _miss(OPEN, POLICY.misses_to_shut - 1)
    found = after_check(half, GOING, counts=False, now=NOW, policy=POLICY)

    assert (found.misses, found.found_at) == (0, NOW)
    assert _miss(found, POLICY.misses_to_shut - 1).checks_possible


def test_missing_tasks_are_probed_one_a_minute_and_a_found_one_opens() -> None:
    gate, at = _miss(OPEN, POLICY.misses_to_shut), NOW + POLICY.probe_every

    assert check_permits(gate, 9, NOW, POLICY).count == 0
    probing = check_permits(gate, 9, at, POLICY)
    assert probing.count == 1
    assert check_permits(probing.gate, 9, at, POLICY).count == 0
    assert after_check(probing.gate, GOING, counts=False, now=at, policy=POLICY).checks_possible


def test_who_wants_no_check_takes_no_probe_of_missing_tasks() -> None:
    gate, at = _miss(OPEN, POLICY.misses_to_shut), NOW + POLICY.probe_every

    idle = check_permits(gate, 0, at, POLICY)
    assert (idle.count, idle.gate) == (0, gate)
    assert check_permits(idle.gate, 9, at, POLICY).count == 1


def test_missing_tasks_shut_the_checks_for_an_hour_at_most_whether_anybody_probes_or_not() -> None:
    """Then each task is judged for itself; else a small set of forgotten tasks would hold everything for ever."""
    gate, opens_at = _miss(OPEN, POLICY.misses_to_shut), NOW + POLICY.missing_max
    probed = check_permits(gate, 9, opens_at - seconds(1), POLICY).gate

    assert not probed.checks_possible
    assert check_permits(probed, 2, opens_at - timedelta(microseconds=1), POLICY).count == 0
    for shut in (gate, probed, _miss(gate, 50, at=opens_at - seconds(1))):
        opened = check_permits(shut, 2, opens_at, POLICY)
        assert (opened.count, opened.gate.checks_possible, opened.gate.misses) == (2, True, 0)


def test_a_bad_key_does_not_open_by_itself() -> None:
    shut = _after(OPEN, _refused(Refusal.UNAUTHORIZED))

    assert check_permits(shut, 1, NOW + timedelta(days=9), POLICY).count == 0


def test_a_check_that_failed_says_nothing_about_the_gate() -> None:
    assert after_check(OPEN, NoAnswer("timeout"), counts=True, now=NOW, policy=POLICY) is OPEN


def test_resume_opens_all() -> None:
    shut = pause(_after(_miss(_broken(), POLICY.misses_to_shut), _refused(Refusal.UNAUTHORIZED)), "ops", NOW)
    opened = resume(shut)

    assert opened.why_submits_are_shut is None
    assert opened.checks_possible
    assert _may_submit(opened) > 0
