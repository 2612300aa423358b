"""What a soak's page tells beside its samples. Kept in a JSON file beside them, so that the page can be written anew."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from app import __version__
from tests.benchmarks.measured import machine
from tests.crash.processes import ROOT

NOT_KNOWN = "not known"


@dataclass(frozen=True)
class Facts:
    version: str = NOT_KNOWN
    commit: str = NOT_KNOWN  #: what was checked out; with `-dirty` where files differed from it
    machine: str = NOT_KNOWN
    rate: float | None = None  #: jobs a second
    struck: Mapping[str, int] = field(default_factory=dict)  #: how often each fault of the upstream struck
    #: What did not agree or never happened, in sentences; None where the run did not get as far as to look.
    wrong: Sequence[str] | None = None

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def concluded(self, wrong: Sequence[str], struck: Mapping[str, int]) -> Facts:
        return replace(self, wrong=wrong, struck=struck)


def facts_of_this_run(rate: float) -> Facts:
    """Of this checkout and this machine, as they are now."""
    return Facts(__version__, _commit(), machine(), rate)


def read_facts(path: Path) -> Facts:
    """Those that were written there; where there are none, none is known."""
    return Facts(**json.loads(path.read_text())) if path.exists() else Facts()


def facts_path(samples: Path) -> Path:
    """Beside the samples."""
    return samples.with_suffix(".json")


def _commit() -> str:
    """Takes no lock, so that whoever else works in the checkout is not disturbed."""
    words = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return NOT_KNOWN
    return done.stdout.strip()
