"""The chart of docs/lifecycle.md as a drawing, with a job's path lit. Pure: places in, nothing of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.console.job_path import Step
from app.lifecycle.states import JobState

WIDTH, HEIGHT = 760, 290
BOX_WIDTH, BOX_HEIGHT = 116, 38
SAID_MAX = 12  #: states that the text alternative names; of a longer path, its beginning and its end

Q, S, U, R = JobState.QUEUED, JobState.SUBMITTING, JobState.UNCONFIRMED, JobState.RUNNING
OK, FAILED, CANCELED = JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED

#: The middle of each box.
PLACES: dict[JobState, tuple[int, int]] = {
    Q: (100, 140), S: (280, 140), U: (375, 214), R: (480, 140), OK: (690, 140), FAILED: (690, 40), CANCELED: (690, 250),
}  # fmt: skip

#: Every arrow of the chart; where two states lead to each other, side by side.
ARROWS: dict[tuple[JobState, JobState], str] = {
    (Q, S): "M158 134H222", (S, Q): "M222 146H158", (S, R): "M338 134H422", (R, S): "M422 146H338", (R, OK): "M538 140H632",
    (Q, R): "M126 121C160 74 400 74 448 121",
    (Q, FAILED): "M88 121C96 22 180 26 632 26", (S, FAILED): "M296 121C310 52 400 38 632 38",
    (R, FAILED): "M504 121C524 66 566 50 632 50", (U, FAILED): "M433 207C600 196 596 110 662 59",
    (Q, CANCELED): "M88 159C96 280 200 264 632 264", (S, CANCELED): "M264 159C264 250 400 254 632 254",
    (U, CANCELED): "M433 224C490 230 560 244 632 244", (R, CANCELED): "M504 159C524 200 580 232 640 231",
    (S, U): "M298 159C302 184 306 194 317 204", (U, Q): "M317 218C210 218 132 204 116 159",
    (U, R): "M408 195C422 180 432 172 444 159", (R, U): "M468 159C460 182 450 194 433 199",
}  # fmt: skip
START = "M14 140H42"


@dataclass(frozen=True, slots=True)
class Box:
    state: JobState
    x: int
    y: int
    visits: int
    is_current: bool


@dataclass(frozen=True, slots=True)
class Arrow:
    path: str
    lit: bool


@dataclass(frozen=True, slots=True)
class Chart:
    boxes: list[Box]
    arrows: list[Arrow]  #: those that are lit come last, so that they lie above the others
    said: str  #: the path in words


def lifecycle_chart(steps: Sequence[Step], now_at: JobState) -> Chart:
    """The chart for a job that went these steps.

    Args:
        now_at: where the job stands by its record, which counts where the timeline was cut off or pruned.
    """
    states = [step.state for step in steps]
    states += [] if states and states[-1] is now_at else [now_at]
    visits, went = Counter(states), set(pairwise(states))
    boxes = [Box(state, x, y, visits[state], state is now_at) for state, (x, y) in PLACES.items()]
    arrows = sorted((Arrow(path, arrow in went) for arrow, path in ARROWS.items()), key=lambda arrow: arrow.lit)
    return Chart(boxes, arrows, _said(states))


def _said(states: Sequence[JobState]) -> str:
    if len(states) <= SAID_MAX:
        return ", ".join(states)
    half = SAID_MAX // 2
    return f"{', '.join(states[:half])}, … {len(states) - 2 * half} more …, {', '.join(states[-half:])}"
