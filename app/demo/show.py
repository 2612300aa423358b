"""How the demo looks: a live table on a terminal, plain lines elsewhere, and a summary at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from app.demo.run import Books, Played
from app.state_colours import STATE_COLOURS


@contextmanager
def watching(console: Console) -> Iterator[Callable[[Played], None]]:
    """Yields the function that hears of each."""
    if not console.is_terminal:
        yield lambda one: console.print(
            f"{one.seconds:5.1f} s  {one.number:>2}  {one.state:<12}{one.scene.title}", highlight=False
        )
        return
    played: dict[int, Played] = {}
    with Live(
        console=console, refresh_per_second=8, transient=True, get_renderable=lambda: _table(list(played.values()), live=True)
    ):
        yield lambda one: played.__setitem__(one.number, one)


def summary(console: Console, played: Sequence[Played], books: Books, folder: Path, took: float) -> None:
    console.print(_table(played, live=False))
    agree = "equal" if books.agree else "NOT EQUAL"
    console.print(
        f"Books: the gateway counts {books.gateway} credits consumed, {books.unresolved} unresolved; "
        f"the emulator's account says {books.emulator} for {books.tasks} tasks: {agree}.",
        style="green" if books.agree else "bold red",
        highlight=False,
        soft_wrap=True,
    )
    places = f"Pictures: {folder / 'pictures'}   Logs: {folder}/*.log   Took {took:.1f} s"
    console.print(places, highlight=False, soft_wrap=True)
    for one in played:
        for fault in one.faults:
            console.print(f"Not as it should be: {one.scene.title}: {fault}", style="bold red", highlight=False)


def as_json(played: Sequence[Played], books: Books, took: float) -> str:
    return json.dumps(
        {
            "ok": books.agree and not any(one.faults for one in played),
            "seconds": round(took, 2),
            "jobs": [
                {
                    "id": one.job.get("id"), "title": one.scene.title, "state": one.state,
                    "via": one.job.get("completed_via"), "seconds": round(one.seconds, 2),
                    "credits": one.job.get("credits"), "picture": str(one.picture) if one.picture else None,
                    "faults": one.faults,
                }
                for one in played
            ],
            "books": {"gateway": books.gateway, "unresolved": books.unresolved, "emulator": books.emulator,
                      "tasks": books.tasks, "agree": books.agree},
        },
        ensure_ascii=False,
    )  # fmt: skip


def _table(played: Sequence[Played], *, live: bool) -> Table:
    over = sum(one.is_over for one in played)
    title = f"Jobs through the gateway: {over} of {len(played)} settled" if live else "What became of them"
    table = Table(title=title, title_justify="left")
    table.add_column("#", justify="right", style="dim")
    table.add_column("job")
    table.add_column("state", min_width=11)
    table.add_column("via")
    table.add_column("seconds", justify="right")
    table.add_column("credits", justify="right")
    for one in sorted(played, key=lambda a: a.number):
        seconds = one.seconds if one.is_over else time.monotonic() - one.began
        table.add_row(
            str(one.number),
            one.scene.title,
            f"[{STATE_COLOURS.get(one.state, '')}]{one.state}[/]",
            one.job.get("completed_via") or "",
            f"{seconds:.1f}",
            str(one.job.get("credits", {}).get("consumed", "")) if one.is_over else "",
        )
    return table
