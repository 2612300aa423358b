"""The path that the chart lights, and the words of the timeline."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from app.console.happenings import WORDS, happenings, in_words
from app.console.job_path import Step, job_path
from app.console.lifecycle_chart import ARROWS, PLACES, lifecycle_chart
from app.jobs.event_view import EventView
from app.lifecycle import news as n
from app.lifecycle.answers import Accepted, NoAnswer, NotFound, Refusal, Refused, Rejected, StillGoing, Succeeded, TaskFailed
from app.lifecycle.answers import Unproven as Lost
from app.lifecycle.job import Life
from app.lifecycle.states import EDGES, JobState
from app.lifecycle.transitions import Event, decide
from tests.lifecycle.lives import ACCEPTED_AT, PICTURES, POLICY, accepted, claimed

Q, S, U, R = JobState.QUEUED, JobState.SUBMITTING, JobState.UNCONFIRMED, JobState.RUNNING
WALKS, LENGTH = 1500, 14
AT = datetime(2026, 11, 2, 9, tzinfo=UTC)


def view(number: int, event: Event, at: datetime = AT) -> EventView:
    return EventView(id=number, at=at, type=event.type, data=dict(event.data))


def told(*types: str, at: datetime = AT) -> list[EventView]:
    return [view(number, Event(kind, {"submission": 1}), at) for number, kind in enumerate(types)]


def some_news(chance: random.Random, life: Life, now: datetime) -> n.News:
    """Anything that can happen, and much that cannot: what does not apply changes nothing."""
    number = chance.randint(1, max(1, len(life.submissions)))
    task = f"task-{chance.randint(1, 3)}"
    if life.job.state is Q and chance.random() < 0.7:
        return claimed()
    answers = (Accepted(task), Refused(Refusal.SERVER_ERROR, "no"), Rejected("no"), Lost("no answer"))
    readings = (StillGoing("IN_PROGRESS"), Succeeded(PICTURES, 5), TaskFailed("no", 5), NotFound(), NoAnswer("no"))
    known = life.submission(number) if life.submissions else None
    asked_for = (known.task_id or next(iter(known.candidates), task)) if known else task
    if not life.submissions:
        return n.CancelAsked() if chance.random() < 0.3 else n.QueueDeadlinePassed()
    return chance.choice(
        [
            *[n.Answered(number, answer) for answer in answers],
            *[n.Checked(number, asked_for, now, reading) for reading in readings],
            n.CalledBack(number, task), n.CalledBack(number, None), n.GivenBack(number, "stopping"), n.CheckAsked(),
            n.CandidateNamed(task, number), n.CancelAsked(), n.LeaseExpired(number), n.WaitOver(number), n.BooksDue(number),
            n.HardDeadlinePassed(number),
        ]
    )  # fmt: skip


def test_the_path_read_from_the_timeline_is_the_one_that_was_walked() -> None:
    """Random lives by the real rules: after every piece of news the path ends where the job is, by arrows of the chart only."""
    chance, seen = random.Random(6), set[tuple[JobState, JobState]]()
    for _ in range(WALKS):
        life, now, events = accepted(), ACCEPTED_AT, [view(0, Event("accepted"), ACCEPTED_AT)]
        for _ in range(LENGTH):
            now += timedelta(seconds=chance.choice((0.5, 3, 90, 7200)))
            change = decide(life, some_news(chance, life, now), now, POLICY)
            events += [view(len(events) + k, event, now) for k, event in enumerate(change.events)]
            life = change.after
            steps = [step.state for step in job_path(events)]
            assert steps[-1] is life.job.state, [e.type for e in events]
            assert all(b in EDGES[a] for a, b in pairwise(steps)), [e.type for e in events]
            seen |= set(pairwise(steps))
    assert len(seen) >= 16, "the walks go almost every arrow"


def test_a_job_that_took_over_a_result_never_stood_in_the_queue() -> None:
    events = [view(0, Event("accepted")), view(1, Event("succeeded", {"reused_from": "x", "via": "reuse"}))]
    assert [step.state for step in job_path(events)] == [JobState.SUCCEEDED]


def test_the_chart_has_every_arrow_of_the_life_and_no_other() -> None:
    assert set(ARROWS) == {(a, b) for a, ends in EDGES.items() for b in ends}
    assert set(PLACES) == set(JobState)


def test_the_chart_lights_the_arrows_that_were_gone_and_counts_the_visits() -> None:
    steps = [Step(state, AT) for state in (Q, S, Q, S, R)]
    chart = lifecycle_chart(steps, R)
    assert {arrow.path for arrow in chart.arrows if arrow.lit} == {ARROWS[Q, S], ARROWS[S, Q], ARROWS[S, R]}
    assert {box.state: box.visits for box in chart.boxes if box.visits} == {Q: 2, S: 2, R: 1}
    assert [box.state for box in chart.boxes if box.is_current] == [R]
    assert chart.said == "queued, submitting, queued, submitting, running"


def test_the_record_has_the_last_word_where_the_timeline_is_cut_off() -> None:
    chart = lifecycle_chart([Step(Q, AT)], JobState.FAILED)
    assert [box.state for box in chart.boxes if box.is_current] == [JobState.FAILED]
    assert chart.said == "queued, failed"


def test_a_long_path_is_told_by_its_beginning_and_its_end() -> None:
    steps = [Step(state, AT) for state in (Q, S) * 50]
    assert lifecycle_chart(steps, S).said.count("queued") == 6
    assert "88 more" in lifecycle_chart(steps, S).said


def test_every_event_that_the_gateway_tells_has_its_words() -> None:
    source = "".join(path.read_text() for path in Path("app").rglob("*.py") if "console" not in path.parts)
    types = set(re.findall(r'\b(?:tell|Event)\(\s*"([a-z_]+)"', source)) | {"succeeded", "failed", "canceled"}
    assert len(types) > 15
    assert types <= set(WORDS)
    assert all(WORDS[kind]({}) for kind in types)


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("checked", {"submission": 2, "read": "SUCCESS", "credits": 5}, "A check read SUCCESS, 5 credits (submission 2)"),
        ("callback", {"submission": 1, "named": "t-1"}, "A callback came and named task t-1"),
        ("callback", {"submission": 1}, "A callback came"),
        ("failed", {"code": "task_lost", "via": "poll"}, "Failed: task lost; found by a check of our own"),
        ("succeeded", {"images": 1, "via": "callback"}, "Succeeded, 1 picture; a callback had caused the check"),
        ("from_a_later_release", {}, "From a later release"),
    ],
)
def test_what_happened_is_said_in_a_line(kind: str, data: dict[str, object], words: str) -> None:
    assert in_words(kind, data) == words


def test_lines_tell_the_gap_before_them_and_where_a_day_begins() -> None:
    late = datetime(2026, 11, 2, 23, 59, 59, tzinfo=UTC)
    events = [view(1, Event("accepted"), late), view(2, Event("submitting"), late + timedelta(seconds=1.5))]
    first, second = happenings(events)
    assert (first.gap, first.begins_day) == (None, True)
    assert (second.gap, second.begins_day) == (1.5, True)
