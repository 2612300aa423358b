"""How commands answer: data on standard output, talk on standard error.

Data are tables on a terminal, and elsewhere lines of fields with tabs between, without a heading, for programs; or JSON where
it is asked for. Colours obey NO_COLOR and TERM.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from app.state_colours import STATE_COLOURS

if TYPE_CHECKING:
    from pydantic import BaseModel

#: Of commands that print data.
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]

STYLES: Mapping[str, str] = {
    **STATE_COLOURS,
    "ok": "green", "open": "green", "warning": "yellow", "wrong": "bold red", "shut": "bold red", "unknown": "dim",
}  # fmt: skip


def is_terminal() -> bool:
    """Whether a person reads the data."""
    return sys.stdout.isatty()


def print_json(value: BaseModel | Mapping[str, Any]) -> None:
    """One JSON object on one line; of a model, what was told, with what this version does not know."""
    from pydantic import BaseModel

    plain = value.model_dump(mode="json", exclude_unset=True) if isinstance(value, BaseModel) else value
    print_line(json.dumps(plain, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """One row of fields each. The last column takes what room there is."""
    if not is_terminal():
        for row in rows:
            print_line("\t".join(plain(field) for field in row))
        return
    from rich.console import Console

    Console(highlight=False).print(table(columns, rows))


def print_facts(facts: Sequence[tuple[str, object]]) -> None:
    """Name and value, a line each; what is None is left out."""
    known = [(name, value) for name, value in facts if value is not None]
    if not is_terminal():
        for name, value in known:
            print_line(f"{name}\t{plain(value)}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, value in known:
        grid.add_row(Text(plain(name), style="dim"), styled(value))
    Console(highlight=False).print(grid)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Any:
    """For rich: without lines, headings as they are given."""
    from rich.table import Table

    *first, last = columns
    made = Table(*first, box=None, pad_edge=False)
    made.add_column(last, overflow="fold", ratio=1)
    for row in rows:
        made.add_row(*(styled(field) for field in row))
    return made


def styled(field: object) -> Any:
    """For rich: a word that says how things stand has its colour."""
    from rich.text import Text

    said = plain(field)
    return Text(said, style=STYLES.get(said.partition(":")[0].partition(" ")[0], ""))


def print_line(line: str) -> None:
    """Written at once: whoever reads a pipe should not wait for the next one."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def say(message: str) -> None:
    """For a person, on standard error."""
    print(clean(message), file=sys.stderr)


def end(message: str, code: int) -> NoReturn:
    """Says why, and ends the program with this exit code."""
    say(f"gateway: {message}")
    raise typer.Exit(code)


def plain(field: object) -> str:
    """A field on one line; an instant as RFC 3339 in seconds, None as nothing."""
    if isinstance(field, datetime):
        from app.instants import written

        return written(field, timespec="seconds")
    return "" if field is None else clean(field)


def clean(value: object) -> str:
    """On one line, and without anything that a terminal would obey: prompts are other people's words."""
    return "".join(c if c.isprintable() else " " for c in str(value))
