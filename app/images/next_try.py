"""When a picture that could not be archived is tried again, and when no more. Pure.

Three kinds of trouble: the picture store is down, which says nothing about the picture and is no try; the upstream cannot be
reached, which is given a day; an answer that will hardly change (it is not there, it is no picture), which is given minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from app.images.fetch import NotThereError
from app.images.inspect import Unusable, UnusablePictureError
from app.images.store import ImageStoreUnavailableError
from app.lifecycle.job import PictureState
from app.outbound.errors import TooLargeError

SHORTEST, LONGEST = timedelta(seconds=10), timedelta(minutes=30)  #: pauses; each is twice the one before
TRIES = 55  #: downloads before a picture is given up; with these pauses about a day
FEW_TRIES = 6  #: where the answer will hardly change: five minutes

#: A page instead of a picture, or a part of one: what comes from a server that is being restarted, too.
_MAY_PASS = (Unusable.TRUNCATED, Unusable.NOT_A_PICTURE)


@dataclass(frozen=True, slots=True)
class NextTry:
    """What follows a failure: `pause` is there only while the state is pending."""

    state: PictureState
    pause: timedelta | None = None
    counts: bool = True  #: whether the failure was one of the tries


def after_failure(error: Exception, *, attempt: int, age: timedelta) -> NextTry:
    """What follows this failure of try number `attempt` (1 is the first) at a picture that has been wanted for `age`."""
    if isinstance(error, ImageStoreUnavailableError):
        return NextTry(PictureState.PENDING, _bounded(age / 2), counts=False)
    if isinstance(error, TooLargeError):
        return NextTry(PictureState.UNUSABLE)
    if isinstance(error, UnusablePictureError):
        few = FEW_TRIES if error.reason in _MAY_PASS else 0
        return _again(attempt, few, otherwise=PictureState.UNUSABLE)
    return _again(attempt, FEW_TRIES if isinstance(error, NotThereError) else TRIES, otherwise=PictureState.GIVEN_UP)


def pause_after(attempt: int) -> timedelta:
    return _bounded(SHORTEST * 2 ** min(attempt - 1, 20))


def _again(attempt: int, tries: int, *, otherwise: PictureState) -> NextTry:
    return NextTry(PictureState.PENDING, pause_after(attempt)) if attempt < tries else NextTry(otherwise)


def _bounded(pause: timedelta) -> timedelta:
    return min(max(pause, SHORTEST), LONGEST)
