"""docs/benchmarks.md: what was measured, how, what came of it, and where a goal is missed."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.kept import Kept, found
from tests.benchmarks.measured import Plan, table

_HEAD = """\
# Benchmarks

Written by `make bench`; edit `tests/benchmarks/` instead. Each figure stands beside its baselines, which are measured in the
same run on the same machine: what counts is the ratio. A goal is of the ratio, or of the figure itself where there is no
baseline. The baselines are in `tests/benchmarks/baselines/`, written as a good engineer would write them. `make bench
ARGS="intake reads"` runs these two alone, and leaves what was found of the others.
"""


@dataclass(frozen=True)
class Benchmark:
    """One of `tests/benchmarks/`.

    Its module tells in its docstring what it measures, and in `NOTE`, if it has one, what is to be known of the figures: where
    a goal is missed, what the limit is.
    """

    name: str
    title: str


def write(benchmarks: Sequence[Benchmark], kept: Path, docs: Path) -> Path:
    """Writes the document into `docs`, and beside it the plans; returns its place."""
    (docs / "benchmarks").mkdir(parents=True, exist_ok=True)
    document = docs / "benchmarks.md"
    chapters = [_chapter(benchmark, found(kept, benchmark.name), docs) for benchmark in benchmarks]
    document.write_text("\n".join([_HEAD, *chapters]))
    return document


def _chapter(benchmark: Benchmark, kept: Kept | None, docs: Path) -> str:
    how, note = _told(benchmark)
    parts = [f"## {benchmark.title}", how, *(_findings(benchmark, kept, note, docs) if kept else ["Not run yet."])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _findings(benchmark: Benchmark, kept: Kept, note: str, docs: Path) -> Iterator[str]:
    yield table(kept.results)
    missed = sum(not isinstance(result, Plan) and result.met is False for result in kept.results)
    if missed:
        yield f"{missed} of the goals {'is' if missed == 1 else 'are'} missed." + (f" {note}" if note else "")
    elif note:
        yield note
    if plans := [result for result in kept.results if isinstance(result, Plan)]:
        yield _plans(benchmark, plans, docs)
    yield f"Version {kept.version}; {kept.machine}."


def _plans(benchmark: Benchmark, plans: Sequence[Plan], docs: Path) -> str:
    place = docs / f"benchmarks/plans-{benchmark.name}.txt"
    place.write_text("\n\n\n".join(f"=== {plan.what}\n\n{plan.text}" for plan in plans) + "\n")
    return f"What EXPLAIN told of each statement: [{place.name}](benchmarks/{place.name})."


def _told(benchmark: Benchmark) -> tuple[str, str]:
    """The docstring without how to run it, and the note; read, not imported, for a module may need what is not installed."""
    place = Path(__file__).with_name(f"{benchmark.name}.py")
    if not place.exists():
        return "", ""
    tree = ast.parse(place.read_text())
    paragraphs = (ast.get_docstring(tree) or "").split("\n\n")
    how = "\n\n".join(paragraph for paragraph in paragraphs if not paragraph.startswith("Run it"))
    notes = [node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NOTE"]
    return how, textwrap.fill(ast.literal_eval(notes[0]), 128, break_long_words=False) if notes else ""
