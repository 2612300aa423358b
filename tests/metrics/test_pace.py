"""From slices of time to medians and the slow end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from app.lifecycle.states import JobState
from app.stats.pace import SLICES, Window, edges_of, pace_of, quantiles
from app.stats.recent import SUBJECTS_MAX, Recent
from app.storage.pace import Slice, Went

NOON = datetime(2026, 5, 6, 12, 0, tzinfo=UTC)


def went(seconds: float, state: JobState = JobState.SUCCEEDED, waited: float = 1) -> Went:
    return Went(state, NOON, NOON + timedelta(seconds=waited), NOON + timedelta(seconds=waited + seconds))


@pytest.mark.parametrize("window", Window)
def test_a_window_is_cut_on_round_times_and_ends_now(window: Window) -> None:
    now = NOON + timedelta(minutes=7)
    edges = edges_of(window, now)
    length, count = SLICES[window]
    assert len(edges) == count + 1
    assert edges[-1] == now
    assert {after - before for before, after in pairwise(edges[:-1])} == {length}
    assert edges[-2] <= now < edges[-2] + length
    assert (edges[0] - datetime(1970, 1, 1, tzinfo=UTC)) % length == timedelta(0)


def test_on_the_very_edge_the_last_slice_has_just_begun() -> None:
    edges = edges_of(Window.HOUR, NOON)
    assert edges[-2] == NOON < edges[-1]


def test_a_busy_slice_weighs_as_much_as_it_had_jobs() -> None:
    busy = Slice(NOON, 1000, estimated=True, sample=(went(10),))
    calm = Slice(NOON, 2, estimated=False, sample=(went(99), went(99)))
    pace = pace_of([calm, busy])
    assert (pace.settled, pace.estimated) == (1002, True)
    assert (pace.upstream.p50, pace.upstream.p95, pace.queue.p50, pace.total.p50) == (10, 10, 1, 11)


def test_jobs_that_were_never_sent_count_but_say_nothing_of_times() -> None:
    unsent = Went(JobState.FAILED, NOON, None, NOON + timedelta(hours=9))
    pace = pace_of([Slice(NOON, 2, estimated=False, sample=(unsent, went(5)))])
    assert (pace.settled, pace.failed_share, pace.total.p95) == (2, 0.5, 6)


def test_of_nothing_nothing_is_known() -> None:
    pace = pace_of([Slice(NOON, 0, estimated=False, sample=())])
    assert (pace.settled, pace.failed_share, pace.total.p50, pace.total.p95) == (0, None, None, None)


def test_quantiles_of_equal_weights_are_the_usual_ones() -> None:
    found = quantiles([(float(n), 1) for n in range(1, 101)])
    assert (found.p50, found.p95) == (50, 95)


async def test_a_reading_is_kept_for_its_time_and_no_longer() -> None:
    looks, now = list[str](), 0.0

    async def look(subject: str) -> int:
        looks.append(subject)
        return len(looks)

    recent = Recent(look, timedelta(seconds=5), monotonic=lambda: now)
    assert [await recent.of("a"), await recent.of("a"), await recent.of("b")] == [1, 1, 2]
    now = 5.0
    assert await recent.of("a") == 3


async def test_what_was_asked_for_longest_ago_is_forgotten_first() -> None:
    looks = list[int]()

    async def look(subject: int) -> None:
        looks.append(subject)

    recent = Recent(look, timedelta(hours=1))
    for subject in [*range(SUBJECTS_MAX), 0, SUBJECTS_MAX]:
        await recent.of(subject)
    looks.clear()
    for subject in (0, 1):
        await recent.of(subject)
    assert looks == [1]


async def test_a_look_that_fails_is_told_and_looked_again() -> None:
    answers = [ValueError("away"), 7]

    async def look(_: None) -> int:
        answer = answers.pop(0)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    recent = Recent(look, timedelta(hours=1))
    with pytest.raises(ValueError, match="away"):
        await recent.of(None)
    assert await recent.of(None) == 7
