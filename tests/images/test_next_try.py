"""How often and how long a picture is tried for, by what stood in its way."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.images.fetch import FetchFailedError, NotThereError
from app.images.inspect import Unusable, UnusablePictureError
from app.images.next_try import FEW_TRIES, LONGEST, SHORTEST, TRIES, after_failure, pause_after
from app.images.store import ImageStoreUnavailableError
from app.lifecycle.job import PictureState
from app.outbound.errors import ForbiddenAddressError, TooLargeError, UnreachableError

GIVEN_UP, UNUSABLE, PENDING = PictureState.GIVEN_UP, PictureState.UNUSABLE, PictureState.PENDING
AGE = timedelta(minutes=3)


def states(error: Exception, attempts: int) -> list[PictureState]:
    return [after_failure(error, attempt=n, age=AGE).state for n in range(1, attempts + 1)]


@pytest.mark.parametrize(
    ("error", "tries", "end"),
    [
        (UnreachableError(), TRIES, GIVEN_UP),
        (ForbiddenAddressError(), TRIES, GIVEN_UP),
        (FetchFailedError("HTTP 503"), TRIES, GIVEN_UP),
        (MemoryError(), TRIES, GIVEN_UP),
        (NotThereError("HTTP 404"), FEW_TRIES, GIVEN_UP),
        (UnusablePictureError(Unusable.TRUNCATED, "cut off"), FEW_TRIES, UNUSABLE),
        (UnusablePictureError(Unusable.NOT_A_PICTURE, "a page"), FEW_TRIES, UNUSABLE),
        (UnusablePictureError(Unusable.TOO_MANY_PIXELS, "a bomb"), 1, UNUSABLE),
        (UnusablePictureError(Unusable.CORRUPT, "noise"), 1, UNUSABLE),
        (TooLargeError(), 1, UNUSABLE),
    ],
)
def test_each_trouble_has_its_number_of_tries_and_its_end(error: Exception, tries: int, end: PictureState) -> None:
    assert states(error, tries) == [PENDING] * (tries - 1) + [end]


def test_a_picture_is_tried_for_about_a_day_before_it_is_given_up() -> None:
    assert timedelta(hours=23) < sum((pause_after(n) for n in range(1, TRIES)), timedelta(0)) < timedelta(hours=26)


def test_a_picture_that_is_not_there_is_tried_for_minutes() -> None:
    assert sum((pause_after(n) for n in range(1, FEW_TRIES)), timedelta(0)) == timedelta(seconds=310)


def test_pauses_double_between_their_bounds() -> None:
    assert [pause_after(n).total_seconds() for n in (1, 2, 3, 8, 9, 1000)] == [10, 20, 40, 1280, 1800, 1800]


def test_a_store_that_is_down_is_no_try_and_ends_none() -> None:
    for age, pause in ((0, SHORTEST), (60, timedelta(seconds=30)), (10**6, LONGEST)):
        step = after_failure(ImageStoreUnavailableError(), attempt=TRIES, age=timedelta(seconds=age))
        assert (step.state, step.pause, step.counts) == (PENDING, pause, False)
