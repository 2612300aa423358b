"""What the doctor makes of what it read, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.doctor.ages import spoken
from app.doctor.books import judge_books
from app.doctor.callbacks import judge_callbacks
from app.doctor.clocks import apart
from app.doctor.deliveries import judge_deliveries
from app.doctor.duties import judge_duties
from app.doctor.finding import Finding, Verdict, exit_code_of, ok, verdict_of, warning, wrong
from app.doctor.gate import judge_gate
from app.doctor.upstream import judge_reading
from app.doctor.waiting import judge_waiting
from app.lifecycle.answers import NoAnswer, NotFound, Reading, StillGoing
from app.lifecycle.callback_health import CallbackHealth
from app.lifecycle.gate import Gate, Shut
from app.lifecycle.policy import Policy
from app.lifecycle.states import JobState
from app.storage.balance import Difference
from app.storage.counted import Counted
from app.storage.stats import Standings

NOW = datetime(2026, 11, 8, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NOTHING = Standings(
    now=NOW,
    jobs={state: Counted(0) for state in JobState},
    oldest={},
    open_submissions=Counted(0),
    credits_unresolved=0,
    unresolved_since=None,
    look_due_at=None,
    deliveries=Counted(0),
    deliveries_exhausted=Counted(0),
    delivery_due_at=None,
    receivers_failing=Counted(0),
    receivers_parked=Counted(0),
    images=Counted(0),
    image_since=None,
)


def told(finding: Finding) -> tuple[Verdict, str]:
    assert (finding.todo is None) == (finding.verdict is Verdict.OK)
    return finding.verdict, finding.found


# --- gate ---


@pytest.mark.parametrize(
    ("gate", "verdict", "found"),
    [
        (Gate(), Verdict.OK, "open"),
        (Gate(paused_at=NOW - HOUR * 3, paused_by="k1"), Verdict.WARNING, "shut: paused, for 3 h, by k1"),
        (
            Gate(shut=Shut.NO_CREDITS, shut_at=NOW - MINUTE * 5, shut_detail="402"),
            Verdict.WRONG,
            "shut: no_credits, for 5 min (402)",
        ),
        (Gate(shut=Shut.FORBIDDEN, shut_at=NOW), Verdict.WRONG, "shut: forbidden, for 0.0 s"),
        (Gate(shut=Shut.THROTTLED, shut_at=NOW), Verdict.WARNING, "shut: throttled, for 0.0 s"),
        (Gate(shut=Shut.BREAKER, shut_at=NOW), Verdict.WARNING, "shut: breaker, for 0.0 s"),
        (Gate(shut=Shut.BREAKER, shut_at=NOW - MINUTE * 6), Verdict.WRONG, "shut: breaker, for 6 min"),
        (Gate(checks_shut=Shut.BAD_KEY, checks_shut_at=NOW - HOUR * 50), Verdict.WRONG, "shut: bad_key, for 2 d"),
        (Gate(checks_shut=Shut.TASKS_MISSING, checks_shut_at=NOW), Verdict.WRONG, "shut: tasks_missing, for 0.0 s"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_shut_gate_is_wrong_unless_somebody_meant_it_or_it_passes(gate: Gate, verdict: Verdict, found: str) -> None:
    assert told(judge_gate(gate, NOW)) == (verdict, found)


def test_a_pause_does_not_hide_that_nothing_can_be_checked() -> None:
    gate = Gate(paused_at=NOW - HOUR * 3, paused_by="k1", checks_shut=Shut.BAD_KEY, checks_shut_at=NOW - HOUR * 50)
    finding = judge_gate(gate, NOW)
    assert told(finding) == (Verdict.WRONG, "shut: paused, for 3 h, by k1; checks: bad_key, for 2 d")
    assert "GATEWAY_UPSTREAM_API_KEY" in str(finding.todo)


# --- books ---


def test_books_are_wrong_by_any_difference_and_silent_where_they_cannot_be_compared() -> None:
    assert told(judge_books(Difference(0, 0))) == (Verdict.OK, "in balance")
    assert told(judge_books(Difference(0, -5)))[0] is Verdict.WRONG
    assert told(judge_books(None))[0] is Verdict.OK


# --- what waits ---


@pytest.mark.parametrize(
    ("changes", "verdict", "found"),
    [
        ({}, Verdict.OK, "nothing"),
        ({"oldest": {JobState.QUEUED: NOW - MINUTE * 14}}, Verdict.OK, "oldest: queued for 14 min"),
        ({"oldest": {JobState.QUEUED: NOW - MINUTE * 16}}, Verdict.WARNING, "a job has been queued for 16 min"),
        ({"oldest": {JobState.UNCONFIRMED: NOW - MINUTE * 6}}, Verdict.WARNING, "a job has been unconfirmed for 6 min"),
        ({"oldest": {JobState.RUNNING: NOW - HOUR * 2}}, Verdict.WARNING, "a job has been running for 2 h"),
        ({"oldest": {JobState.SUBMITTING: NOW - MINUTE * 30}}, Verdict.OK, "oldest: submitting for 30 min"),
        (
            {"credits_unresolved": 10, "unresolved_since": NOW - HOUR * 2},
            Verdict.WARNING, "10 credits have been unresolved for up to 2 h",
        ),
        ({"credits_unresolved": 10, "unresolved_since": NOW - MINUTE}, Verdict.OK, "nothing"),
        ({"image_since": NOW - HOUR * 5}, Verdict.WARNING, "a picture has waited for 5 h"),
    ],
)  # fmt: skip
def test_what_waits_for_longer_than_the_alerts_allow_is_a_warning(
    changes: dict[str, Any], verdict: Verdict, found: str
) -> None:
    assert told(judge_waiting(replace(NOTHING, **changes), keeps_images=True)) == (verdict, found)


def test_all_that_waits_for_too_long_is_told_with_what_to_do_about_each() -> None:
    oldest = {JobState.QUEUED: NOW - MINUTE * 16, JobState.RUNNING: NOW - MINUTE}
    changes: dict[str, Any] = {"oldest": oldest, "credits_unresolved": 10, "unresolved_since": NOW - HOUR * 2}
    finding = judge_waiting(replace(NOTHING, **changes, image_since=NOW - HOUR * 5), keeps_images=True)
    assert told(finding) == (
        Verdict.WARNING,
        "a job has been queued for 16 min; 10 credits have been unresolved for up to 2 h; a picture has waited for 5 h",
    )
    for alert in ("GatewayQueueOld", "GatewayCreditsUnresolved", "GatewayImagesUnstored"):
        assert alert in str(finding.todo)


def test_pictures_that_nobody_means_to_keep_do_not_wait() -> None:
    """What was pending when the store was turned off stays so for ever."""
    assert told(judge_waiting(replace(NOTHING, image_since=NOW - HOUR * 5), keeps_images=False)) == (Verdict.OK, "nothing")


@pytest.mark.parametrize(
    ("changes", "gate", "runs", "verdict"),
    [
        ({}, Gate(), None, Verdict.OK),
        ({"look_due_at": NOW - MINUTE}, Gate(), None, Verdict.OK),
        ({"look_due_at": NOW - MINUTE * 3}, Gate(), None, Verdict.WRONG),
        ({"look_due_at": NOW - MINUTE * 3}, Gate(), True, Verdict.WRONG),
        ({"look_due_at": NOW - MINUTE * 3}, Gate(checks_shut=Shut.BAD_KEY), None, Verdict.OK),
        ({"delivery_due_at": NOW - MINUTE * 4}, Gate(), None, Verdict.OK),
        ({"delivery_due_at": NOW - MINUTE * 6}, Gate(checks_shut=Shut.BAD_KEY), None, Verdict.WRONG),
        ({"delivery_due_at": NOW + MINUTE}, Gate(), None, Verdict.OK),
        ({}, Gate(), False, Verdict.OK),
        ({"delivery_due_at": NOW + MINUTE}, Gate(), False, Verdict.WRONG),
        (
            {"oldest": {JobState.QUEUED: NOW}, "jobs": {**NOTHING.jobs, JobState.QUEUED: Counted(1)}}, Gate(), False,
            Verdict.WRONG,
        ),
    ],
)  # fmt: skip
def test_what_is_due_and_not_done_shows_that_nobody_does_it(
    changes: dict[str, Any], gate: Gate, runs: bool | None, verdict: Verdict
) -> None:
    assert told(judge_duties(replace(NOTHING, **changes), gate, runs=runs))[0] is verdict


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"look_due_at": NOW}, "no gateway runs, and checks wait for one"),
        ({"delivery_due_at": NOW}, "no gateway runs, and deliveries wait for one"),
        ({"look_due_at": NOW, "delivery_due_at": NOW}, "no gateway runs, and checks and deliveries wait for one"),
        (
            {"oldest": {JobState.QUEUED: NOW}, "jobs": {**NOTHING.jobs, JobState.QUEUED: Counted(2)}, "look_due_at": NOW},
            "no gateway runs, and 2 jobs wait for one",
        ),
    ],
)  # fmt: skip
def test_what_waits_for_a_gateway_that_does_not_run_is_named(changes: dict[str, Any], found: str) -> None:
    assert told(judge_duties(replace(NOTHING, **changes), Gate(), runs=False)) == (Verdict.WRONG, found)


# --- callbacks and deliveries ---


@pytest.mark.parametrize(
    ("health", "verdict", "found"),
    [
        (CallbackHealth(None, MINUTE), Verdict.OK, "no task has ended in the last hour"),
        (CallbackHealth(0.4, MINUTE, 20), Verdict.OK, "12 of the last 20 arrived"),
        (CallbackHealth(1.0, MINUTE, 19), Verdict.OK, "0 of the last 19 arrived"),
        (CallbackHealth(0.9, MINUTE, 20), Verdict.WARNING, "2 of the last 20 arrived"),
    ],
)
def test_callbacks_that_are_mostly_lost_are_a_warning(health: CallbackHealth, verdict: Verdict, found: str) -> None:
    assert told(judge_callbacks(health, Policy())) == (verdict, found)
    assert told(judge_callbacks(health, Policy(callbacks_expected=False))) == (Verdict.OK, "none are asked for")


def test_parked_receivers_are_told_beside_deliveries_that_were_given_up() -> None:
    failing = replace(NOTHING, deliveries=Counted(4), receivers_failing=Counted(2))
    assert told(judge_deliveries(failing)) == (Verdict.OK, "4 pending, 2 receivers failing")
    given_up = replace(failing, deliveries_exhausted=Counted(3))
    assert told(judge_deliveries(given_up)) == (Verdict.WARNING, "3 were given up after their last attempt")
    parked = replace(given_up, receivers_parked=Counted(1))
    finding = judge_deliveries(parked)
    assert told(finding) == (
        Verdict.WARNING,
        "1 receivers are parked after days of failure; 3 were given up after their last attempt",
    )
    assert "gateway receivers resume" in str(finding.todo)
    assert "/redeliver" in str(finding.todo)


# --- upstream and clocks ---


@pytest.mark.parametrize(
    ("reading", "verdict", "exit_code"),
    [
        (NotFound(), Verdict.OK, 0),
        (NoAnswer("401", unauthorized=True), Verdict.WRONG, 1),
        (NoAnswer("503", retry_after=MINUTE), Verdict.WRONG, 5),
        (StillGoing("PENDING"), Verdict.WARNING, 0),
    ],
)
def test_only_the_404_for_a_made_up_task_says_that_the_upstream_is_well(
    reading: Reading, verdict: Verdict, exit_code: int
) -> None:
    finding = judge_reading("https://upstream.example", reading)
    assert (told(finding)[0], finding.exit_code) == (verdict, exit_code)


def test_clocks_are_apart_by_what_no_journey_explains() -> None:
    before, after = NOW, NOW + timedelta(seconds=4)
    assert apart(NOW + timedelta(seconds=2), before, after) == timedelta(0)
    assert apart(NOW - timedelta(seconds=2), before, after) == timedelta(seconds=2)
    assert apart(NOW + timedelta(seconds=9), before, after) == timedelta(seconds=5)
    assert apart(NOW - timedelta(seconds=1), before, after, precision=timedelta(seconds=1)) == timedelta(0)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172800, "2 d")],
)
def test_ages_are_said_in_the_largest_unit_of_which_there_are_two(seconds: float, said: str) -> None:
    assert spoken(timedelta(seconds=seconds)) == said


# --- how it ends ---


def test_the_exit_code_is_of_what_has_to_be_mended_first() -> None:
    fine, odd = ok("a", "x"), warning("b", "x", "y")
    failed, away, setting = (wrong("c", "x", "y", code) for code in (1, 5, 2))
    assert exit_code_of([fine, odd]) == 0
    assert exit_code_of([fine, failed]) == 1
    assert exit_code_of([failed, away]) == 5
    assert exit_code_of([away, setting, failed]) == 2
    assert [verdict_of(some) for some in ([fine], [fine, odd], [odd, failed])] == [Verdict.OK, Verdict.WARNING, Verdict.WRONG]
