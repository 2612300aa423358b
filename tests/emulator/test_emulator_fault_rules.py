"""Rules: faults which strike always, at a rate, every Nth time, or the next N times."""

from collections.abc import Callable
from typing import Any

import pytest

from app.emulator import EmulatorOptions
from app.emulator.fault import BadFaultValue, UnknownFault
from app.emulator.fault_plan import FaultRule


def statuses(play: Any, count: int) -> list[int]:
    return [play.submit().status for _ in range(count)]


@pytest.mark.parametrize(
    ("spec", "described"),
    [
        ("callback-lost", {"value": None, "rate": None, "every": None, "next": None}),
        ("callback-lost=0.1", {"value": None, "rate": 0.1, "every": None, "next": None}),
        ("callback-lost@0.1", {"value": None, "rate": 0.1, "every": None, "next": None}),
        ("callback-late=3", {"value": 3.0, "rate": None, "every": None, "next": None}),
        ("callback-late=3@0.5", {"value": 3.0, "rate": 0.5, "every": None, "next": None}),
        ("callback-late@every-4", {"value": 5.0, "rate": None, "every": 4, "next": None}),
        ("submit-500=every-10", {"value": None, "rate": None, "every": 10, "next": None}),
        ("submit-500@next-2", {"value": None, "rate": None, "every": None, "next": 2}),
        ("callback-strange-body=gzip@1", {"value": "gzip", "rate": 1.0, "every": None, "next": None}),
    ],
)
def test_the_command_lines_notation_is_read(spec: str, described: dict[str, object]) -> None:
    name = spec.partition("@")[0].partition("=")[0]
    assert FaultRule.parse(spec).describe() == {"fault": name, **described}


@pytest.mark.parametrize(
    "spec",
    ["callback-lost=often", "callback-lost=2", "callback-late=soon", "run=-1", "run@every-0", "", "=3", "run=1@"],
)
def test_what_cannot_be_understood_is_an_error(spec: str) -> None:
    with pytest.raises(BadFaultValue):
        FaultRule.parse(spec)


def test_an_unknown_fault_is_an_error_from_the_start() -> None:
    with pytest.raises(UnknownFault, match="callback-lots"):
        EmulatorOptions(faults=("callback-lots=0.1",))


def test_a_rule_without_a_rate_strikes_always(make_play: Callable[..., Any]) -> None:
    assert statuses(make_play(faults=("submit-500",)), 4) == [500, 500, 500, 500]


def test_a_rule_may_strike_every_third(make_play: Callable[..., Any]) -> None:
    assert statuses(make_play(faults=("submit-500@every-3",)), 6) == [200, 200, 500, 200, 200, 500]


def test_a_rule_may_strike_the_next_two_and_is_then_gone(make_play: Callable[..., Any]) -> None:
    play = make_play(faults=("submit-500@next-2",))
    assert statuses(play, 4) == [500, 500, 200, 200]
    assert play.world.faults() == []


def test_a_rate_strikes_about_that_often(make_play: Callable[..., Any]) -> None:
    struck = statuses(make_play(faults=("submit-500@0.3",)), 1000).count(500)
    assert 240 < struck < 360


def test_only_a_well_formed_submit_uses_a_rule_up(make_play: Callable[..., Any]) -> None:
    play = make_play(faults=("submit-500@next-1",))
    assert play.submit("").status == 400
    assert play.submit(authorization=None).status == 401
    assert play.submit().status == 500


def test_a_rule_about_status_strikes_single_requests(make_play: Callable[..., Any]) -> None:
    play = make_play(faults=("status-500@next-2",))
    task_id = play.accepted()
    assert [play.status(task_id).status for _ in range(3)] == [500, 500, 200]


def test_a_rule_about_status_with_a_value_binds_to_the_task(make_play: Callable[..., Any]) -> None:
    play = make_play(faults=("status-404=3@next-1",))
    struck, spared = play.accepted(), play.accepted()
    assert [play.status(struck).status for _ in range(3)] == [404, 404, 404]
    assert play.status(spared).status == 200
    play.pass_seconds(3)
    assert play.status(struck).status == 200


def test_a_marker_wins_over_a_rule(make_play: Callable[..., Any]) -> None:
    play = make_play(faults=("run=50",))
    play.accepted("[[run=1]]")
    play.accepted()
    assert [task["faults"] for task in play.tasks()] == [{"run": 1.0}, {"run": 50.0}]


def test_clearing_leaves_the_tasks_as_they_are(make_play: Callable[..., Any]) -> None:
    play = make_play(faults=("forgotten",))
    task_id = play.accepted()
    play.world.clear_faults()
    assert play.status(task_id).status == 404
    assert play.status(play.accepted()).status == 200


@pytest.mark.parametrize("options", [{"run_seconds": (3, 1)}, {"callback_delay": -1}, {"keys": {"k": -1}}])
def test_options_which_make_no_sense_are_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        EmulatorOptions(**options)
