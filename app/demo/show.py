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

from app.demo.run import Act, Books

_STYLES = {
    "queued": "dim", "submitting": "cyan", "unconfirmed": "magenta", "running": "blue",
    "succeeded": "green", "failed": "red", "canceled": "yellow",
}  # fmt: skip


@contextmanager
def watching(console: Console) -> Iterator[Callable[[Act], None]]:
    """Yields the function that hears of every act."""
    if not console.is_terminal:
        yield lambda act: console.print(
            f"{act.seconds:5.1f} s  {act.number:>2}  {act.state:<12}{act.scene.title}", highlight=False
        )
        return
    acts: dict[int, Act] = {}
    with Live(
        console=console, refresh_per_second=8, transient=True, get_renderable=lambda: _table(list(acts.values()), live=True)
    ):
        yield lambda act: acts.__setitem__(act.number, act)


def summary(console: Console, acts: Sequence[Act], books: Books, folder: Path, took: float) -> None:
    console.print(_table(acts, live=False))
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
    for act in acts:
        for fault in act.faults:
            console.print(f"Not as it should be: {act.scene.title}: {fault}", style="bold red", highlight=False)


def as_json(acts: Sequence[Act], books: Books, took: float) -> str:
    return json.dumps(
        {
            "ok": books.agree and not any(act.faults for act in acts),
            "seconds": round(took, 2),
            "jobs": [
                {
                    "id": act.job.get("id"), "title": act.scene.title, "state": act.state,
                    "via": act.job.get("completed_via"), "seconds": round(act.seconds, 2),
                    "credits": act.job.get("credits"), "picture": str(act.picture) if act.picture else None,
                    "faults": act.faults,
                }
                for act in acts
            ],
            "books": {"gateway": books.gateway, "unresolved": books.unresolved, "emulator": books.emulator,
                      "tasks": books.tasks, "agree": books.agree},
        },
        ensure_ascii=False,
    )  # fmt: skip


def _table(acts: Sequence[Act], *, live: bool) -> Table:
    over = sum(act.is_over for act in acts)
    title = f"Jobs through the gateway: {over} of {len(acts)} settled" if live else "What became of them"
    table = Table(title=title, title_justify="left")
    table.add_column("#", justify="right", style="dim")
    table.add_column("job")
    table.add_column("state", min_width=11)
    table.add_column("via")
    table.add_column("seconds", justify="right")
    table.add_column("credits", justify="right")
    for act in sorted(acts, key=lambda a: a.number):
        seconds = act.seconds if act.is_over else time.monotonic() - act.began
        table.add_row(
            str(act.number),
            act.scene.title,
            f"[{_STYLES.get(act.state, '')}]{act.state}[/]",
            act.job.get("completed_via") or "",
            f"{seconds:.1f}",
            str(act.job.get("credits", {}).get("consumed", "")) if act.is_over else "",
        )
    return table
