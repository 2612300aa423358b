"""How commands answer: data on standard output, talk on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

import typer

NOT_FOUND, CONFLICT = 3, 4  #: exit codes; those of other ends are in `run`


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for a person at a terminal; elsewhere lines of tab-separated fields, without a heading, for programs."""
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(_plain(field) for field in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(_plain(field)) for field in row))
    Console().print(table)


def say(message: str) -> None:
    """For a person, on standard error."""
    typer.echo(f"gateway: {message}", err=True)


def end(message: str, code: int) -> NoReturn:
    """Says why, and ends the program with this exit code."""
    say(message)
    raise typer.Exit(code)


def _plain(field: object) -> str:
    from datetime import datetime

    if isinstance(field, datetime):
        return field.isoformat(timespec="seconds").replace("+00:00", "Z")
    return "" if field is None else str(field)
