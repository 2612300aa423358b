"""How jobs look: tables and a live view on a terminal, plain tab-separated lines elsewhere, JSON where it is asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.client import Event, Job
from app.client.reading import Told

STYLES = {
    "queued": "dim", "submitting": "cyan", "unconfirmed": "magenta", "running": "blue",
    "succeeded": "green", "failed": "red", "canceled": "yellow",
}  # fmt: skip


def print_json(told: Told | dict[str, Any]) -> None:
    """One JSON object on one line, with what this version does not know."""
    value = told.model_dump(mode="json", exclude_unset=True) if isinstance(told, Told) else told
    _print_line(json.dumps(value, ensure_ascii=False))


def print_facts(facts: Sequence[tuple[str, object]]) -> None:
    """Name and value, a line each; what is None is left out."""
    known = [(name, clean(value)) for name, value in facts if value is not None]
    if not (console := Console()).is_terminal:
        for name, value in known:
            _print_line(f"{name}\t{value}")
        return
    console.print(_grid(known))


def print_jobs(jobs: Sequence[Job]) -> None:
    """A table; elsewhere the id, the state, when it was accepted, the credits consumed and the prompt, with tabs between."""
    rows = [
        (str(job.id), clean(job.state), _time(job.created_at), str(job.credits.consumed), clean(job.prompt)) for job in jobs
    ]
    if not (console := Console()).is_terminal:
        for row in rows:
            _print_line("\t".join(row))
        return
    table = Table("id", "state", "accepted", "credits", box=None, pad_edge=False)
    table.add_column("prompt", no_wrap=True, overflow="ellipsis", ratio=1)
    for job_id, state, at, credits, prompt in rows:
        table.add_row(job_id, state_text(state), at, Text(credits, justify="right"), Text(prompt))
    console.print(table)


def print_job(job: Job) -> None:
    print_facts(job_facts(job))


def print_event(event: Event) -> None:
    """When, what, and what belongs to it; with tabs between."""
    _print_line(
        "\t".join((_time(event.at), clean(event.type), json.dumps(event.data, ensure_ascii=False) if event.data else ""))
    )


def job_facts(job: Job) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [
        ("id", job.id),
        ("state", f"{job.state} (cancel requested)" if job.cancel_requested and not job.is_settled else job.state),
        ("error", f"{job.error.code}: {job.error.message}" if job.error else None),
        ("prompt", job.prompt),
        ("request", f"{job.size}, {job.output_format}, seed {job.seed}"),
        ("tenant", job.tenant),
        ("place", job.place),
        ("expected", _time(job.estimate.p50_at) if job.estimate and job.estimate.p50_at else None),
        ("credits", f"{job.credits.consumed} consumed, {job.credits.reserved} reserved, {job.credits.unresolved} unresolved"),
        ("task", job.upstream.task_id),
        ("sends", job.attempts),
        ("via", job.completed_via),
        ("retry of", job.retry_of),
        ("accepted", _time(job.created_at)),
        ("finished", _time(job.finished_at) or None),
    ]
    metadata = [(f"metadata.{key}", value) for key, value in job.metadata.items()]
    return [*facts, *metadata, *((f"image {index}", image.url) for index, image in enumerate(job.images))]


def state_text(state: str) -> Text:
    return Text(clean(state), style=STYLES.get(state, ""))


@contextmanager
def live_timeline(job: Job) -> Iterator[Callable[[Event], None] | None]:
    """Yields what shows each event as it comes, on a terminal; None elsewhere."""
    console = Console()
    if not console.is_terminal:
        yield None
        return
    events: list[Event] = []

    def picture() -> Group:
        end = events[-1].at if events and events[-1].type in ("succeeded", "failed", "canceled") else None
        began = job.created_at or datetime.now(UTC)
        seconds = ((end or datetime.now(UTC)) - began).total_seconds()
        title = Text.assemble(str(job.id), "  ", f"{max(0.0, seconds):.1f} s", "  ", (clean(job.prompt)[:60], "dim"))
        return Group(title, _timeline(events))

    with Live(console=console, refresh_per_second=8, get_renderable=picture):
        yield events.append


def clean(value: object) -> str:
    """On one line, and without anything that a terminal would obey: prompts are other people's words."""
    return "".join(c if c.isprintable() else " " for c in str(value))


def _timeline(events: Sequence[Event]) -> Table:
    table = Table.grid(padding=(0, 2))
    for event in events:
        told = ", ".join(f"{name} {value}" for name, value in event.data.items() if value is not None)
        table.add_row(_time(event.at), state_text(event.type), Text(clean(told), style="dim"))
    return table


def _grid(facts: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in facts:
        table.add_row(Text(clean(name), style="dim"), state_text(value) if name == "state" else Text(value))
    return table


def _time(at: datetime | None) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at else ""


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
