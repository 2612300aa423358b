"""What a benchmark found, kept in a file until it is run again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from app import __version__
from tests.benchmarks.measured import Figure, Line, Plan, Result, machine

_KINDS: dict[str, type[Line] | type[Figure] | type[Plan]] = {kind.__name__: kind for kind in (Line, Figure, Plan)}


@dataclass(frozen=True)
class Kept:
    """The results of one run, where it was, and of which version of the gateway."""

    machine: str
    version: str
    results: list[Result]


def keep(folder: Path, name: str, results: Sequence[Result]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"kind": type(result).__name__, **asdict(result)} for result in results]
    kept = {"machine": machine(), "version": __version__, "results": rows}
    (folder / f"{name}.json").write_text(json.dumps(kept, ensure_ascii=False, indent=1))


def found(folder: Path, name: str) -> Kept | None:
    """None where it was not run yet."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    return Kept(kept["machine"], kept["version"], [_KINDS[row.pop("kind")](**row) for row in kept["results"]])
