"""A clock that was ahead is set right: what was paced by it goes on at once, not when the time has come again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.lifecycle.answers import Accepted, Refusal, Refused
from app.lifecycle.gate import Gate, GatePolicy, Shut, after_submit, check_permits, shut_checks, submit_permits, take_key_probe
from app.lifecycle.limits import Limits, Standing, admit

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
AHEAD = NOW + timedelta(hours=1)
POLICY = GatePolicy(submit_rate=10, status_rate=20, max_in_flight=5000)
MANY = 1000  #: more than may go at once


def test_submits_go_on_when_the_clock_was_set_back() -> None:
    gate = submit_permits(Gate(), MANY, 0, AHEAD, POLICY).gate
    permits = submit_permits(gate, MANY, 0, NOW, POLICY)
    assert permits.count >= 1
    assert submit_permits(permits.gate, 1, 0, NOW, POLICY).count == 0, "the rate holds again"


def test_checks_go_on_when_the_clock_was_set_back() -> None:
    gate = check_permits(Gate(), MANY, AHEAD, POLICY).gate
    permits = check_permits(gate, MANY, NOW, POLICY)
    assert permits.count >= 1
    assert check_permits(permits.gate, 1, NOW, POLICY).count == 0, "the rate holds again"


def test_a_tenant_is_not_held_off_for_the_hour_that_the_clock_was_ahead() -> None:
    limits = Limits(requests_per_second=2)
    standing = admit(limits, Standing(), 1, AHEAD).standing
    admission = admit(limits, standing, 1, NOW)
    assert admission.excess is None
    again = [admit(limits, replace(admission.standing), 1, NOW) for _ in range(2)]
    assert [a.excess for a in again] == [None, None]
    assert admit(limits, again[0].standing, 1, NOW).excess is not None, "the rate holds again"


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), timedelta(hours=1), timedelta(days=1)])
@pytest.mark.parametrize("reason", [Refusal.NO_CREDITS, Refusal.THROTTLED])
def test_a_gate_that_was_shut_by_a_clock_ahead_lets_a_probe_through_and_opens_by_its_success(
    ahead: timedelta, reason: Refusal
) -> None:
    gate = after_submit(Gate(), Refused(reason, "HTTP"), NOW + ahead, POLICY)
    probe = submit_permits(gate, MANY, 0, NOW, POLICY)
    assert probe.count == 1
    assert submit_permits(probe.gate, MANY, 0, NOW, POLICY).count == 0, "one probe at a time"
    assert after_submit(probe.gate, Accepted("task-1"), NOW, POLICY).shut is None
    again = after_submit(probe.gate, Refused(reason, "HTTP"), NOW, POLICY)
    assert (again.shut_at, submit_permits(again, MANY, 0, NOW, POLICY).count) == (NOW, 0), "the pause holds again"


@pytest.mark.parametrize("reason", [Shut.BAD_KEY, Shut.TASKS_MISSING])
def test_shut_checks_are_probed_when_the_clock_was_set_back(reason: Shut) -> None:
    gate = shut_checks(Gate(), reason, AHEAD, POLICY)
    if reason is Shut.BAD_KEY:
        assert take_key_probe(gate, NOW, POLICY) is not None
    else:
        assert check_permits(gate, MANY, NOW, POLICY).count == 1
