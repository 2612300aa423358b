"""The doctor and the console call late what the alert rules call late."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.lifecycle.callback_health import ENOUGH, MOSTLY_LOST
from app.lifecycle.gate import Gate, Shut
from app.lifecycle.states import JobState
from app.stats.alert_limits import (
    CHECKS_LATE_MAX,
    DELIVERIES_LATE_MAX,
    GATE_SHUT_MAX,
    OLDEST_MAX,
    PICTURES_WAIT_MAX,
    UNRESOLVED_MAX,
)
from app.stats.gate_advice import advice, is_grave
from tests.metrics.test_operations_files import RULES

MINUTE = timedelta(minutes=1)
NOON = datetime(2026, 11, 8, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("alert", "limit"),
    [
        ("GatewayQueueOld", OLDEST_MAX[JobState.QUEUED]),
        ("GatewayUnconfirmedOld", OLDEST_MAX[JobState.UNCONFIRMED]),
        ("GatewayRunningOld", OLDEST_MAX[JobState.RUNNING]),
        ("GatewayChecksLate", CHECKS_LATE_MAX),
        ("GatewayCreditsUnresolved", UNRESOLVED_MAX),
        ("GatewayDeliveriesLate", DELIVERIES_LATE_MAX),
        ("GatewayImagesUnstored", PICTURES_WAIT_MAX),
    ],
)
def test_an_age_is_too_great_where_its_alert_says_so(alert: str, limit: timedelta) -> None:
    assert numbers_of(alert)[0] == limit.total_seconds()


def test_callbacks_are_lost_where_their_alert_says_so() -> None:
    assert numbers_of("GatewayCallbacksLost") == [MOSTLY_LOST, ENOUGH]


def test_a_gate_that_opens_by_itself_is_grave_when_its_alert_fires() -> None:
    assert rule("GatewayGateShut")["for"] == f"{GATE_SHUT_MAX // MINUTE}m"
    for reason in (Shut.THROTTLED, Shut.BREAKER):
        assert [is_grave(reason, lasted) for lasted in (GATE_SHUT_MAX, GATE_SHUT_MAX + MINUTE)] == [False, True]


@pytest.mark.parametrize("reason", Shut)
def test_every_reason_has_an_advice_and_a_weight(reason: Shut) -> None:
    said = advice(reason, "press the button")
    assert said
    assert "{" not in said
    assert is_grave(reason, MINUTE * 60) == (reason is not Shut.PAUSED)


def test_the_gate_is_shut_since_its_reason_holds() -> None:
    paused, checks, submits = (NOON + MINUTE * n for n in (3, 2, 1))
    gate = Gate(shut=Shut.BREAKER, shut_at=submits)
    assert (Gate().submits_shut_at, gate.submits_shut_at) == (None, submits)
    gate = replace(gate, checks_shut=Shut.BAD_KEY, checks_shut_at=checks)
    assert (gate.why_submits_are_shut, gate.submits_shut_at) == (Shut.BAD_KEY, checks)
    gate = replace(gate, paused_at=paused, paused_by="k1")
    assert (gate.why_submits_are_shut, gate.submits_shut_at) == (Shut.PAUSED, paused)


def numbers_of(alert: str) -> list[float]:
    """What the rule compares with, in its order."""
    return [float(number) for number in re.findall(r">=? ([0-9.]+)", rule(alert)["expr"])]


def rule(alert: str) -> dict[str, Any]:
    return next(rule for rule in RULES if rule["alert"] == alert)
