"""Who is one receiver, and when it is parked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.lifecycle.delivery import AttemptOutcome
from app.lifecycle.receiver import PARK_AFTER, Receiver, ReceiverHealth, after_attempt, receiver_of

START = datetime(2026, 11, 5, 12, 0, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
FAILED, DELIVERED = AttemptOutcome(500), AttemptOutcome(204)


def after_failures(*offsets: timedelta, health: ReceiverHealth | None = None) -> ReceiverHealth:
    health = health or ReceiverHealth()
    for offset in offsets:
        health = after_attempt(health, FAILED, START + offset)
    return health


def test_five_days_of_failures_park_a_receiver_and_a_second_less_does_not() -> None:
    assert PARK_AFTER == 5 * DAY
    assert after_failures(0 * DAY, 2 * DAY, 5 * DAY - SECOND).parked_at is None
    assert after_failures(0 * DAY, 2 * DAY, 5 * DAY).parked_at == START + 5 * DAY


def test_the_first_failure_is_remembered() -> None:
    assert after_failures(0 * DAY, 1 * DAY, 2 * DAY) == ReceiverHealth(START, START + 2 * DAY, None)


def test_one_success_lets_the_five_days_begin_anew() -> None:
    once_well = after_attempt(after_failures(0 * DAY, 4 * DAY), DELIVERED, START + 4 * DAY)
    assert once_well == ReceiverHealth()
    assert after_failures(5 * DAY, 9 * DAY, health=once_well).parked_at is None
    assert after_failures(5 * DAY, 9 * DAY, 10 * DAY, health=once_well).parked_at == START + 10 * DAY


def test_two_failures_with_nothing_between_them_are_no_five_days_of_failure() -> None:
    assert after_failures(0 * DAY, 6 * DAY) == ReceiverHealth(START + 6 * DAY, START + 6 * DAY, None)
    assert after_failures(0 * DAY, 5 * DAY).parked_at is None


def test_a_parked_receiver_stays_parked_since_the_same_moment() -> None:
    parked = after_failures(0 * DAY, 3 * DAY, 5 * DAY)
    assert after_failures(6 * DAY, 40 * DAY, health=parked).parked_at == START + 5 * DAY


def test_a_success_brings_a_parked_receiver_back() -> None:
    parked = after_failures(0 * DAY, 3 * DAY, 5 * DAY)
    assert after_attempt(parked, DELIVERED, START + 6 * DAY).parked_at is None


def test_a_proper_410_is_no_failure_of_the_receiver_and_proves_it_alive() -> None:
    gone = AttemptOutcome(410)
    assert after_attempt(ReceiverHealth(), gone, START) == ReceiverHealth()
    parked = after_failures(0 * DAY, 3 * DAY, 5 * DAY)
    assert after_attempt(parked, gone, START + 6 * DAY) == ReceiverHealth()


@pytest.mark.parametrize("status", [None, 302, 404, 429, 500])
def test_everything_else_is_a_failure(status: int | None) -> None:
    health = after_failures(0 * DAY, 3 * DAY)
    assert after_attempt(health, AttemptOutcome(status), START + 5 * DAY).parked_at == START + 5 * DAY


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://hooks.example.com/a?b=c", "https://hooks.example.com"),
        ("HTTPS://Hooks.Example.COM.:443", "https://hooks.example.com"),
        ("https://hooks.example.com:8443/", "https://hooks.example.com:8443"),
        ("http://hooks.example.com:80/", "http://hooks.example.com"),
        ("http://hooks.example.com:443/", "http://hooks.example.com:443"),
        ("https://user:word@hooks.example.com/", "https://hooks.example.com"),
        ("https://[2001:DB8::1]:8443/x", "https://[2001:db8::1]:8443"),
    ],
)
def test_a_receiver_is_an_origin_however_its_address_is_written(url: str, origin: str) -> None:
    assert receiver_of("design", url) == Receiver("design", origin)


def test_the_same_server_is_another_receiver_for_another_tenant() -> None:
    assert receiver_of("design", "https://h.example/") != receiver_of("print", "https://h.example/")


@pytest.mark.parametrize(
    "url", ["", "ftp://h.example/", "https://", "https://./", "https:///x", "h.example", "https://h.example:x/", "https://[::1"]
)
def test_an_address_without_a_web_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        receiver_of("design", url)
