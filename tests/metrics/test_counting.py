"""What a process counts: by hand, without a gateway."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from app.lifecycle.answers import Accepted, Refusal, Refused, Succeeded, TaskFailed, Unproven
from app.lifecycle.job import Life
from app.lifecycle.news import Answered, BooksDue, CancelAsked, Checked, Claimed, News, WaitOver
from app.lifecycle.policy import Policy
from app.lifecycle.transitions import Change, decide
from app.metrics import Metrics, exposition
from app.settlement.tally import tally
from tests.metrics.scraped import Scraped
from tests.storage.factory import START, new_job

CLAIMED, ACCEPTED, LOST = Claimed(b"h" * 32), Answered(1, Accepted("task-1")), Answered(1, Unproven("timed out"))
REFUSED = Answered(1, Refused(Refusal.SERVER_ERROR, "HTTP 500"))
FOUND = Checked(1, "task-1", START, Succeeded(("https://images/1.jpeg",), 5))
FAILED = Checked(1, "task-1", START, TaskFailed("no luck", 0))


def shown(metrics: Metrics) -> Scraped:
    page, _ = exposition(metrics.families(), "")
    return Scraped(page.decode())


def test_two_gateways_of_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.job_accepted("acme")
    assert shown(one).value("gateway_jobs_accepted_total") == 1
    assert shown(other).value("gateway_jobs_accepted_total") is None


def test_tenants_beyond_the_limit_share_one_series() -> None:
    metrics = Metrics(tenants_max=2)
    for tenant in ("a", "b", "c", "d", "a"):
        metrics.job_accepted(tenant)
    metrics.credits("d", "consumed", 5)
    found = shown(metrics)
    assert [found.value("gateway_jobs_accepted_total", tenant=t) for t in ("a", "b", "c", "other")] == [2, 1, None, 2]
    assert found.value("gateway_credits_total", tenant="other", kind="consumed") == 5


def test_a_first_outcome_of_its_kind_is_an_increase_from_nought() -> None:
    found = shown(Metrics())
    assert found.value("gateway_deliveries_total", outcome="exhausted") == 0
    assert found.value("gateway_images_total", outcome="given_up") == 0
    assert found.value("gateway_callbacks_total", outcome="unknown") == 0


def test_when_a_series_began_is_not_told() -> None:
    assert "_created" not in shown(Metrics()).page


def test_openmetrics_is_spoken_where_it_is_asked_for() -> None:
    page, media_type = exposition(Metrics().families(), "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert media_type.startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")


def test_a_job_that_was_sent_tells_how_long_its_phases_took() -> None:
    found = counted([(CLAIMED, 3), (ACCEPTED, 1), (FOUND, 10)])
    seconds = {phase: found.value("gateway_job_seconds_sum", phase=phase) for phase in ("queue", "upstream", "total")}
    assert seconds == {"queue": 3, "upstream": 11, "total": 14}
    assert found.value("gateway_jobs_settled_total", state="succeeded", via="poll", code="none") == 1


def test_a_job_that_was_never_sent_tells_no_times() -> None:
    found = counted([(CancelAsked(), 3)])
    assert found.value("gateway_jobs_settled_total", state="canceled", via="none", code="none") == 1
    assert found.value("gateway_job_seconds_count") is None


@pytest.mark.parametrize(
    ("news", "consumed", "released", "unresolved"),
    [
        ([(CLAIMED, 1), (ACCEPTED, 1), (FOUND, 1)], 5, None, None),
        ([(CLAIMED, 1), (ACCEPTED, 1), (FAILED, 1)], None, 5, None),
        ([(CancelAsked(), 1)], None, 5, None),
        ([(CLAIMED, 1), (REFUSED, 1)], None, None, None),  # queued again: still reserved
        ([(CLAIMED, 1), (LOST, 1)], None, None, 5),
        ([(CLAIMED, 1), (LOST, 1), (WaitOver(1), 3600)], None, None, 5),
        ([(CLAIMED, 1), (LOST, 1), (WaitOver(1), 3600), (BooksDue(1), 90_000)], None, None, 5),  # written off, not released
        ([(CLAIMED, 1), (LOST, 1), (ACCEPTED, 1), (FOUND, 1)], 5, None, 5),
    ],
)
def test_each_credit_is_counted_where_it_went(
    news: Sequence[tuple[News, float]], consumed: int | None, released: int | None, unresolved: int | None
) -> None:
    found = counted(news)
    kinds = ("consumed", "released", "unresolved")
    assert [found.value("gateway_credits_total", kind=kind) for kind in kinds] == [consumed, released, unresolved]


def counted(news: Sequence[tuple[News, float]]) -> Scraped:
    """After a life of these news, each so many seconds after the one before."""
    metrics, life, now = Metrics(), Life(new_job()), START
    for item, seconds in news:
        now += timedelta(seconds=seconds)
        change: Change = decide(life, item, now, Policy())
        tally(metrics, change)
        life = change.after
    return shown(metrics)
