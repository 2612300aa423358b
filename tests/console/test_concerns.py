"""What the overview says needs a person, as tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.console.concerns import Concern, Weight, callbacks_are_lost, concerns
from app.dispatch.router import dispatch_view
from app.lifecycle.callback_health import CallbackHealth
from app.lifecycle.gate import Gate, Shut
from app.lifecycle.states import JobState
from app.stats.figures import CallbackFigures, Vitals
from app.stats.pace import Quantiles
from app.stats.views import StatsView, stats_view
from app.storage.balance import Difference
from app.storage.counted import Counted
from app.storage.stats import Standings
from tests.doctor.test_doctor_judgements import HOUR, MINUTE, NOTHING, NOW

OPEN = Gate()
WELL = CallbackHealth(0.0, MINUTE, 100)
CRITICAL, WARNING = Weight.CRITICAL, Weight.WARNING


def stats_of(standings: Standings = NOTHING, gate: Gate = Gate(), health: CallbackHealth = WELL) -> StatsView:
    figures = CallbackFigures(health, Quantiles(None, None))
    return stats_view(None, standings, Vitals(standings, gate, figures, keeps_images=True), {}, [])


def found(
    changes: dict[str, Any] | None = None,
    gate: Gate = Gate(),
    health: CallbackHealth = WELL,
    difference: Difference | None = None,
) -> list[Concern]:
    stats = stats_of(replace(NOTHING, **(changes or {})), gate, health)
    return concerns(stats, dispatch_view(gate, 0, 100), difference)


def test_where_all_is_well_nothing_needs_anybody() -> None:
    assert found(difference=Difference(0, 0)) == []


@pytest.mark.parametrize(
    ("changes", "weight", "what", "href"),
    [
        ({"oldest": {JobState.QUEUED: NOW - MINUTE * 16}}, CRITICAL, "A job has been queued for 16 min.", "jobs?state=queued"),
        ({"oldest": {JobState.UNCONFIRMED: NOW - MINUTE * 6}}, WARNING, "A job has been unconfirmed", "jobs?state=unconfirmed"),
        ({"oldest": {JobState.RUNNING: NOW - HOUR * 2}}, WARNING, "A job has been running for 2 h.", "jobs?state=running"),
        ({"look_due_at": NOW - MINUTE * 3}, CRITICAL, "A check has been due for 3 min, and nobody made it.", None),
        (
            {"credits_unresolved": 10, "unresolved_since": NOW - HOUR * 2},
            WARNING, "10 credits have been unresolved for 2 h.", "jobs?error_code=submission_unconfirmed",
        ),
        ({"receivers_parked": Counted(2)}, WARNING, "Receivers are parked, and their deliveries wait: 2.", "deliveries"),
        (
            {"deliveries_exhausted": Counted(10_000, more=True)},
            WARNING, "Deliveries were given up after their last attempt: 10\u202f000+.", "deliveries?state=exhausted",
        ),
        ({"delivery_due_at": NOW - MINUTE * 6}, WARNING, "A delivery has been due for 6 min.", "deliveries?state=pending"),
        ({"image_since": NOW - HOUR * 5}, WARNING, "A picture has not been stored for 5 h.", None),
    ],
)  # fmt: skip
def test_what_is_over_its_limit_is_said_with_where_to_look(
    changes: dict[str, Any], weight: Weight, what: str, href: str | None
) -> None:
    (concern,) = found(changes)
    assert (concern.weight, concern.href) == (weight, f"/console/{href}" if href else None)
    assert concern.what.startswith(what)
    assert concern.do


@pytest.mark.parametrize(
    "changes",
    [
        {"oldest": {JobState.QUEUED: NOW - MINUTE * 15}},
        {"oldest": {JobState.UNCONFIRMED: NOW - MINUTE * 5}},
        {"oldest": {JobState.RUNNING: NOW - HOUR}},
        {"oldest": {JobState.SUBMITTING: NOW - HOUR * 9}},
        {"look_due_at": NOW - MINUTE * 2},
        {"look_due_at": NOW + HOUR},
        {"credits_unresolved": 10, "unresolved_since": NOW - HOUR},
        {"receivers_failing": Counted(3), "deliveries": Counted(7)},
        {"delivery_due_at": NOW - MINUTE * 5},
        {"image_since": NOW - HOUR, "images": Counted(4)},
    ],
)
def test_what_is_within_its_limit_is_not_said(changes: dict[str, Any]) -> None:
    assert found(changes) == []


@pytest.mark.parametrize(
    ("gate", "weight", "what"),
    [
        (Gate(paused_at=NOW - HOUR * 9, paused_by="k1"), WARNING, "Sending is paused by k1."),
        (Gate(shut=Shut.NO_CREDITS, shut_at=NOW, shut_detail="402"), CRITICAL, "Nothing is sent upstream: no credits. 402"),
        (Gate(shut=Shut.FORBIDDEN, shut_at=NOW), CRITICAL, "Nothing is sent upstream: forbidden."),
        (Gate(shut=Shut.THROTTLED, shut_at=NOW), WARNING, "Nothing is sent upstream: throttled."),
        (Gate(shut=Shut.BREAKER, shut_at=NOW - MINUTE), WARNING, "Nothing is sent upstream: breaker."),
        (Gate(shut=Shut.BREAKER, shut_at=NOW - HOUR), CRITICAL, "Nothing is sent upstream: breaker."),
        (Gate(checks_shut=Shut.BAD_KEY, checks_shut_at=NOW), CRITICAL, "Nothing is sent upstream: bad key."),
    ],
)
def test_a_shut_gate_is_said_with_its_button(gate: Gate, weight: Weight, what: str) -> None:
    (concern,) = found(gate=gate)
    assert (concern.weight, concern.what, concern.button) == (weight, what, "resume")
    assert concern.do[0].isupper()
    assert concern.do.endswith(".")


def test_a_pause_does_not_hide_that_checks_are_shut() -> None:
    gate = Gate(paused_at=NOW, paused_by="k1", checks_shut=Shut.TASKS_MISSING, checks_shut_at=NOW)
    assert [(c.weight, c.what) for c in found(gate=gate)] == [
        (CRITICAL, "No task can be checked, so no job ends: tasks missing."),
        (WARNING, "Sending is paused by k1."),
    ]


def test_what_follows_from_a_shut_gate_is_not_said_beside_it() -> None:
    old = {"oldest": {JobState.QUEUED: NOW - HOUR}, "look_due_at": NOW - HOUR}
    assert len(found(old, Gate(checks_shut=Shut.BAD_KEY, checks_shut_at=NOW))) == 1
    assert len(found(old, Gate(paused_at=NOW, paused_by="k1"))) == 2, "a pause stops no checks"


def test_books_out_of_balance_are_critical_by_any_difference() -> None:
    (concern,) = found(difference=Difference(0, -5))
    assert (concern.weight, "differ by 0 jobs, -5 credits" in concern.what) == (CRITICAL, True)


@pytest.mark.parametrize(
    ("health", "lost"),
    [
        (CallbackHealth(None, MINUTE), False),
        (CallbackHealth(0.5, MINUTE, 20), False),
        (CallbackHealth(1.0, MINUTE, 19), False),
        (CallbackHealth(0.9, MINUTE, 20), True),
    ],
)
def test_callbacks_are_lost_when_most_of_enough_are(health: CallbackHealth, lost: bool) -> None:
    assert callbacks_are_lost(stats_of(health=health).callbacks) == lost
    assert [c.what for c in found(health=health)] == (
        ["90\u202f% of the callbacks do not arrive; results are found by checks alone, later."] if lost else []
    )


def test_the_gravest_comes_first() -> None:
    several = {"receivers_parked": Counted(1), "look_due_at": NOW - HOUR, "image_since": NOW - HOUR * 2}
    assert [c.weight for c in found(several)] == [CRITICAL, WARNING, WARNING]
