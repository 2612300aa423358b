"""Bars and lines in their box."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.console.charts import HEIGHT, WIDTH, durations, throughput
from app.stats.views import BucketView

NOON = datetime(2026, 11, 8, 12, tzinfo=UTC)


def bucket(n: int = 0, p50: float | None = None, p95: float | None = None, **figures: int) -> BucketView:
    counts = {"accepted": 0, "succeeded": 0, "failed": 0, "canceled": 0, **figures}
    started_at = NOON + timedelta(minutes=5 * n)
    return BucketView(started_at=started_at, p50_seconds=p50, p95_seconds=p95, estimated=False, **counts)


def test_a_bar_is_as_high_as_jobs_were_settled_and_stands_on_those_that_failed() -> None:
    drawn = throughput([bucket(0, succeeded=6, failed=2, canceled=2), bucket(1, accepted=5)])
    full, empty = drawn.bars
    assert (drawn.top, full.settled, full.y, full.height) == (10, 10, 0, HEIGHT)
    assert (full.failed_height, full.failed_y) == (HEIGHT / 5, HEIGHT * 4 / 5)
    assert (empty.settled, empty.height, empty.y, empty.failed_height) == (0, 0, HEIGHT, 0)


@pytest.mark.parametrize("count", [1, 12, 28])
def test_bars_stand_side_by_side_within_the_box(count: int) -> None:
    bars = throughput([bucket(n, succeeded=1) for n in range(count)]).bars
    edges = [edge for bar in bars for edge in (bar.x, bar.x + bar.width)]
    assert edges == sorted(edges)
    assert 0 < edges[0] < edges[-1] < WIDTH


@pytest.mark.parametrize(("most", "top"), [(0, 1), (1, 1), (2, 2), (3, 5), (6, 10), (10, 10), (11, 20), (501, 1000)])
def test_the_scale_ends_on_a_number_that_can_be_read(most: int, top: int) -> None:
    assert throughput([bucket(succeeded=most)]).top == top


def test_a_line_breaks_where_nothing_is_known() -> None:
    buckets = [bucket(0, 1.0, 4.0), bucket(1, 2.0, 5.0), bucket(2), bucket(3, 4.0, 5.0)]
    drawn = durations(buckets)
    assert [[dot.value for dot in line] for line in drawn.p50] == [[1.0, 2.0], [4.0]]
    assert [[dot.value for dot in line] for line in drawn.p95] == [[4.0, 5.0], [5.0]]
    assert drawn.top == 5
    assert [dot.y for dot in drawn.p95[0]] == [HEIGHT / 5, 0]
    assert drawn.p50[1][0].started_at == buckets[3].started_at


def test_of_nothing_an_empty_box_is_drawn() -> None:
    assert (throughput([]).bars, throughput([]).top) == ([], 1)
    assert (durations([bucket()]).p50, durations([]).p95, durations([]).top) == ([], [], 1)
