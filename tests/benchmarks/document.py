"""docs/benchmarks.md: what was measured, how, what came of it, and where a goal is missed."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.kept import Kept, found
from tests.benchmarks.measured import table

_HEAD = """\
# Benchmarks

Written by `make bench`; edit `tests/benchmarks/` instead. Each figure stands beside its baselines, which are measured in the
same run on the same machine: what counts is the ratio. A goal is of the ratio, or of the figure itself where there is no
baseline. The baselines are in `tests/benchmarks/baselines/`, written as a good engineer would write them. `make bench
ARGS="intake reads"` runs these two alone, and leaves what was found of the others, which is kept beside this page.
"""


@dataclass(frozen=True)
class Benchmark:
    """One of `tests/benchmarks/`.

    Its module tells in its docstring what it measures, and in `NOTE`, if it has one, what is to be known of the figures: where
    a goal is missed, what the limit is. Blank lines part the paragraphs of a note.
    """

    name: str
    title: str


def write(benchmarks: Sequence[Benchmark], kept: Path, docs: Path) -> Path:
    """Writes the document into `docs`, of what is `kept` below it; returns its place."""
    docs.mkdir(parents=True, exist_ok=True)
    document = docs / "benchmarks.md"
    chapters = [_chapter(benchmark, found(kept, benchmark.name), kept.relative_to(docs)) for benchmark in benchmarks]
    document.write_text("\n".join([_HEAD, *chapters]))
    return document


def _chapter(benchmark: Benchmark, kept: Kept | None, place: Path) -> str:
    how, note = _told(benchmark)
    parts = [f"## {benchmark.title}", how, *_findings(kept, note, place)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _findings(kept: Kept | None, note: str, place: Path) -> Iterator[str]:
    if kept is None or kept.setting is None:
        yield "Not run yet."
    else:
        yield table(kept.results)
        yield _missed(sum(result.met is False for result in kept.results))
        yield note
        if links := ", ".join(f"[{plans}]({place}/{plans})" for plans in kept.plans):
            yield f"What EXPLAIN told of each statement: {links}."
        yield str(kept.setting)
    if kept is not None and (failure := kept.failure):
        before = " The figures are of the run before." if kept.setting else ""
        last = f"The last run, at {failure.commit} ({failure.machine}), did not come to its end: {failure.why}"
        yield f"**{last}**{before}"


def _missed(goals: int) -> str:
    return f"{goals} of the goals {'is' if goals == 1 else 'are'} missed." if goals else ""


def _told(benchmark: Benchmark) -> tuple[str, str]:
    """The docstring without how to run it, and the note; read, not imported, for a module may need what is not installed."""
    place = Path(__file__).with_name(f"{benchmark.name}.py")
    if not place.exists():
        return "", ""
    tree = ast.parse(place.read_text())
    how = [part for part in (ast.get_docstring(tree) or "").split("\n\n") if not part.startswith("Run it")]
    notes = [node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NOTE"]
    return "\n\n".join(how), _filled(ast.literal_eval(notes[0])) if notes else ""


def _filled(note: str) -> str:
    """Its paragraphs, each as wide as the page."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in note.strip().split("\n\n"))
    return "\n\n".join(textwrap.fill(paragraph, 128, break_long_words=False) for paragraph in paragraphs)
