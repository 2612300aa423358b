"""What a benchmark found, in a file of docs/benchmarks/ until it is run again; with it, of what and where it was measured."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from app import __version__
from tests.benchmarks.measured import Figure, Line, Plan, Result, machine

_KINDS: dict[str, type[Line] | type[Figure]] = {kind.__name__: kind for kind in (Line, Figure)}


@dataclass(frozen=True)
class Setting:
    """What was measured, and where."""

    version: str  #: the gateway's
    commit: str  #: short, "+changes" where the code is another; "unknown" without git
    machine: str  #: and the day
    database: str = ""  #: how PostgreSQL was set, where there is one

    def __str__(self) -> str:
        what = f"Version {self.version}, commit {self.commit}; {self.machine}"
        return f"{what}; {self.database}." if self.database else f"{what}."


@dataclass(frozen=True)
class Failure:
    """A run that did not come to its end."""

    commit: str
    machine: str
    why: str


@dataclass(frozen=True)
class Kept:
    """The results of the last run that came to its end, if any did; and how a later one failed."""

    setting: Setting | None
    results: list[Line | Figure]
    plans: list[str]  #: files beside this one
    failure: Failure | None = None


def setting(root: Path) -> Setting:
    """Of a run that begins now, of the code below `root`."""
    return Setting(__version__, _commit(root), machine())


def keep(folder: Path, name: str, of: Setting, results: Sequence[Result]) -> None:
    """Puts these in the place of what was kept before."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(f"{name}-plans-*.txt"):
        stale.unlink()
    plans = _written_plans(folder, name, [result for result in results if isinstance(result, Plan)])
    _write(folder, name, Kept(of, [result for result in results if not isinstance(result, Plan)], plans))


def keep_failure(folder: Path, name: str, of: Setting, why: str) -> None:
    """Notes that the last run did not come to its end; what an earlier one found stays."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = found(folder, name) or Kept(None, [], [])
    _write(folder, name, Kept(kept.setting, kept.results, kept.plans, Failure(of.commit, of.machine, why)))


def found(folder: Path, name: str) -> Kept | None:
    """None where it was not run yet."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    return Kept(
        Setting(**kept["setting"]) if kept["setting"] else None,
        [_KINDS[row.pop("kind")](**row) for row in kept["results"]],
        kept["plans"],
        Failure(**kept["failure"]) if kept["failure"] else None,
    )


def _write(folder: Path, name: str, kept: Kept) -> None:
    content = asdict(kept)
    content["results"] = [{"kind": type(result).__name__, **asdict(result)} for result in kept.results]
    (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _written_plans(folder: Path, name: str, plans: Sequence[Plan]) -> list[str]:
    files = []
    for of, its in groupby(sorted(plans, key=lambda plan: plan.of), lambda plan: plan.of):
        slug = re.sub(r"[^a-z0-9]+", "-", of.lower().replace(",", "")).strip("-")
        files.append(f"{name}-plans-{slug}.txt")
        (folder / files[-1]).write_text("\n\n\n".join(f"=== {of}: {plan.what}\n\n{plan.text}" for plan in its) + "\n")
    return files


def _commit(root: Path) -> str:
    commit = _git(root, "rev-parse", "--short", "HEAD")
    if not commit:
        return "unknown"
    # Whatever is written about the code is left out: this run changes some of it itself.
    changes = _git(root, "status", "--porcelain", "--", ".", ":(exclude)docs", ":(exclude,glob)*.md")
    return commit + ("+changes" if changes else "")


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "--no-optional-locks", *words], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
