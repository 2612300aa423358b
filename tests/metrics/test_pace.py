"""From slices of time to medians and the slow end."""

from __future__ import annotations

import asyncio
import gc
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from app.lifecycle.states import JobState
from app.stats.pace import PARTS, SLICES, Window, edges_of, pace_of, quantiles, slices_of
from app.stats.recent import SUBJECTS_MAX, Recent
from app.stats.series import Bucket, buckets_of
from app.storage.pace import Stretch, Went

NOON = datetime(2026, 5, 6, 12, 0, tzinfo=UTC)


def went(seconds: float, state: JobState = JobState.SUCCEEDED, waited: float = 1) -> Went:
    return Went(state, NOON, NOON + timedelta(seconds=waited), NOON + timedelta(seconds=waited + seconds))


def stretch(begins_at: datetime = NOON, *sample: Went, estimated: bool = False, **settled: int) -> Stretch:
    return Stretch(begins_at, 7, {JobState(state): count for state, count in settled.items()}, estimated, sample)


def read_at(window: Window, now: datetime) -> list[Stretch]:
    """What a window is read in at that instant; everywhere one job succeeded."""
    return [stretch(begin, succeeded=1) for begin in edges_of(window, now)[:-1]]


@pytest.mark.parametrize("window", Window)
@pytest.mark.parametrize("minutes", [0, 1, 7, 59])
def test_a_window_is_cut_on_round_times_and_ends_now(window: Window, minutes: int) -> None:
    now = NOON + timedelta(minutes=minutes)
    edges, (length, count) = edges_of(window, now), SLICES[window]
    assert edges == sorted(set(edges))
    assert now <= edges[-1] <= now + timedelta(microseconds=1)
    begins = [begin for begin, _ in slices_of(window, read_at(window, now))]
    assert len(begins) == count
    assert {after - before for before, after in pairwise(begins)} == {length}
    assert begins[-1] <= now < begins[-1] + length
    assert (begins[0] - datetime(1970, 1, 1, tzinfo=UTC)) % length == timedelta(0)


@pytest.mark.parametrize("window", Window)
def test_a_slice_is_read_in_parts_all_over_it(window: Window) -> None:
    slices = slices_of(window, read_at(window, NOON + timedelta(minutes=7)))
    assert {len(parts) for _, parts in slices[:-1]} == {PARTS}
    assert 1 <= len(slices[-1][1]) <= PARTS


def test_a_busy_stretch_weighs_as_much_as_it_had_jobs() -> None:
    busy = stretch(NOON, went(10), estimated=True, succeeded=1000)
    calm = stretch(NOON, went(99), went(99), succeeded=2)
    pace = pace_of([calm, busy])
    assert (pace.settled, pace.estimated) == (1002, True)
    assert (pace.upstream.p50, pace.upstream.p95, pace.queue.p50, pace.total.p50) == (10, 10, 1, 11)


def test_jobs_that_were_never_sent_count_but_say_nothing_of_times() -> None:
    unsent = Went(JobState.FAILED, NOON, None, NOON + timedelta(hours=9))
    pace = pace_of([stretch(NOON, unsent, went(5), succeeded=1, failed=1)])
    assert (pace.settled, pace.failed_share, pace.total.p95) == (2, 0.5, 6)


def test_of_nothing_nothing_is_known() -> None:
    pace = pace_of([stretch()])
    assert (pace.settled, pace.failed_share, pace.total.p50, pace.total.p95) == (0, None, None, None)


def test_a_bucket_sums_up_what_its_slice_was_read_in() -> None:
    early = [stretch(NOON, went(5), succeeded=2, failed=1), stretch(NOON + timedelta(minutes=2), canceled=4, estimated=True)]
    late = [stretch(NOON + timedelta(minutes=5))]
    assert buckets_of(Window.HOUR, early + late) == [
        Bucket(NOON, 14, 2, 1, 4, p50_seconds=6, p95_seconds=6, estimated=True),
        Bucket(NOON + timedelta(minutes=5), 7, 0, 0, 0, p50_seconds=None, p95_seconds=None, estimated=False),
    ]


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


async def test_a_look_that_nobody_waits_for_any_more_is_there_for_the_next() -> None:
    looks, answered = list[None](), asyncio.Event()

    async def look(_: None) -> int:
        looks.append(None)
        await answered.wait()
        return 7

    recent = Recent(look, timedelta(hours=1))
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await recent.of(None)
    answered.set()
    assert await recent.of(None) == 7
    assert len(looks) == 1


async def test_a_look_that_fails_with_nobody_waiting_troubles_nobody() -> None:
    failed, complaints = asyncio.Event(), list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))

    async def look(_: None) -> int:
        await failed.wait()
        raise ValueError("away")

    recent = Recent(look, timedelta(hours=1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await recent.of(None)
    failed.set()
    await recent.stop()
    gc.collect()
    assert complaints == []


async def test_looks_under_way_end_with_the_gateway() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def look(_: None) -> int:
        began.set()
        try:
            return await asyncio.Future()
        finally:
            ended.set()

    recent = Recent(look, timedelta(hours=1))
    asking = asyncio.create_task(recent.of(None))
    await began.wait()
    await recent.stop()
    assert ended.is_set()
    with pytest.raises(asyncio.CancelledError):
        await asking
