"""How jobs and their events look: on a terminal, elsewhere, and live."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.cli.display import clean, is_terminal, plain, print_facts, print_json, print_line, print_table, styled, table
from app.client import Event, Job
from app.lifecycle.states import SETTLED

COLUMNS = ("id", "state", "accepted", "credits", "prompt")


def print_jobs(jobs: Sequence[Job]) -> None:
    """The id, the state, when it was accepted, the credits consumed and the prompt."""
    if is_terminal():
        Console(highlight=False).print(job_table(jobs))
    else:
        print_table(COLUMNS, map(job_row, jobs))


def print_job(job: Job) -> None:
    print_facts(job_facts(job))


def print_event(event: Event) -> None:
    """When, what, and what belongs to it."""
    data = json.dumps(event.data, ensure_ascii=False) if event.data else ""
    print_line("\t".join((plain(event.at), clean(event.type), data)))


def job_row(job: Job) -> tuple[object, ...]:
    return job.id, job.state, job.created_at, job.credits.consumed, job.prompt


def job_table(jobs: Sequence[Job]) -> Table:
    """Each on one line, however long its prompt."""
    made: Table = table(COLUMNS, map(job_row, jobs))
    made.columns[0].no_wrap = made.columns[-1].no_wrap = True
    made.columns[3].justify, made.columns[-1].overflow = "right", "ellipsis"
    return made


def job_facts(job: Job) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [
        ("id", job.id),
        ("state", f"{job.state} (cancel requested)" if job.cancel_requested and not job.is_settled else job.state),
        ("error", f"{job.error.code}: {job.error.message}" if job.error else None),
        ("prompt", job.prompt),
        ("request", f"{job.size}, {job.output_format}, seed {job.seed}"),
        ("tenant", job.tenant),
        ("place", job.place),
        ("expected", job.estimate.p50_at if job.estimate else None),
        ("credits", f"{job.credits.consumed} consumed, {job.credits.reserved} reserved, {job.credits.unresolved} unresolved"),
        ("task", job.upstream.task_id),
        ("sends", job.attempts),
        ("via", job.completed_via),
        ("retry of", job.retry_of),
        ("accepted", job.created_at),
        ("finished", job.finished_at),
    ]
    metadata = [(f"metadata.{key}", value) for key, value in job.metadata.items()]
    return [*facts, *metadata, *((f"image {index}", image.url) for index, image in enumerate(job.images))]


@contextmanager
def live_timeline(job: Job) -> Iterator[Callable[[Event], None]]:
    """Yields what shows each event as it comes: in one view on a terminal, as lines elsewhere."""
    if not is_terminal():
        yield print_event
        return
    events: list[Event] = []

    def picture() -> Group:
        end = events[-1].at if events and events[-1].type in SETTLED else None
        began = job.created_at or datetime.now(UTC)
        seconds = ((end or datetime.now(UTC)) - began).total_seconds()
        title = Text.assemble(str(job.id), "  ", f"{max(0.0, seconds):.1f} s", "  ", (clean(job.prompt)[:60], "dim"))
        return Group(title, _timeline(events))

    with Live(console=Console(highlight=False), refresh_per_second=8, get_renderable=picture):
        yield events.append


@contextmanager
def live_jobs(*, as_json: bool) -> Iterator[Callable[[Sequence[Job]], None]]:
    """Yields what shows the jobs as they are now: in one table on a terminal; elsewhere a line for each that changed."""
    if as_json or not is_terminal():
        yield _teller_of_changes(print_json if as_json else lambda job: print_jobs([job]))
        return
    with Live(console=Console(highlight=False), auto_refresh=False) as live:

        def show(jobs: Sequence[Job]) -> None:
            room = max(1, live.console.size.height - 4)
            more = [Text(f"and {len(jobs) - room} more", style="dim")] if len(jobs) > room else []
            live.update(Group(job_table(jobs[:room]), *more, _counts(jobs)), refresh=True)

        yield show


def _teller_of_changes(tell: Callable[[Job], None]) -> Callable[[Sequence[Job]], None]:
    """Tells of every job whose state is another one than when it was last seen, the oldest first."""
    seen: dict[Any, str] = {}

    def show(jobs: Sequence[Job]) -> None:
        for job in reversed(jobs):
            if seen.get(job.id) != job.state:
                seen[job.id] = job.state
                tell(job)

    return show


def _counts(jobs: Sequence[Job]) -> Text:
    states = [job.state for job in jobs]
    parts = [(f"{states.count(state)} {clean(state)}  ", styled(state).style) for state in dict.fromkeys(states)]
    return Text.assemble(*parts, (f"at {plain(datetime.now(UTC))}", "dim"))


def _timeline(events: Sequence[Event]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for event in events:
        told = ", ".join(f"{name} {value}" for name, value in event.data.items() if value is not None)
        grid.add_row(plain(event.at), styled(event.type), Text(clean(told), style="dim"))
    return grid
