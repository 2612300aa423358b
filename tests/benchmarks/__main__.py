"""Runs the benchmarks, keeps what each found, and writes docs/benchmarks.md anew from all that is kept.

Run it with: python -m tests.benchmarks [NAME …] [--quick] [--document]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.benchmarks.document import Benchmark, write
from tests.benchmarks.durable import how_it_is_set, refuse_a_given_server
from tests.benchmarks.kept import Setting, keep, keep_failure, setting
from tests.benchmarks.measured import Say, table

ROOT = Path(__file__).parents[2]
DOCS, QUICK = ROOT / "docs", ROOT / "data/benchmarks/quick"  #: what is found is kept in `benchmarks/` there
PACKAGES = {"redis-server": "redis-server", "wrk": "wrk"}  #: a program → Debian's package


@dataclass(frozen=True)
class Choice(Benchmark):
    """A benchmark that can be run."""

    quick: Mapping[str, Any] = field(default_factory=dict)  #: sizes that only show whether it works
    needs: Sequence[str] = ()  #: programs
    on_postgresql: bool = True


BENCHMARKS = (
    Choice("intake", "Intake", {"seconds": 2}, ["wrk"]),
    Choice("life", "Whole life", {"jobs": 200}, ["redis-server"]),
    Choice("costs", "Costs", {"jobs": 200, "pictures": 20}),
    Choice("callback_endpoint", "Callback endpoint", {"seconds": 2, "rounds": 20}, ["wrk"]),
    Choice("callback_tokens", "Callback tokens", {"rounds": 20}, on_postgresql=False),
    Choice("checks", "Checks", {"submissions": 4_000, "history": 20_000, "seconds": 3, "looks": 100}),
    Choice("old_snapshot", "Old snapshot", {"jobs": 1_000}),
    Choice("reads", "Reads", {"sizes": (100_000,), "on_sqlite": 100_000, "looks": 3}),
    Choice("waiters", "Waiters", {"polls": 400, "streams": 200}),
    Choice("startup", "Start-up and memory", {"starts": 1, "jobs": 200}),
)


def main() -> int:
    """The exit code: 1 where a benchmark could not be run to its end."""
    wanted = _arguments()
    docs = QUICK if wanted.quick else DOCS
    chosen = [] if wanted.document else [b for b in BENCHMARKS if not wanted.names or b.name in wanted.names]
    database = how_it_is_set() if any(benchmark.on_postgresql for benchmark in chosen) else ""
    here = setting(ROOT)  # before anything runs: what changes meanwhile is not what was started
    ran = [
        _run(b, docs / "benchmarks", replace(here, database=database if b.on_postgresql else ""), quick=wanted.quick)
        for b in chosen
    ]
    written = write(BENCHMARKS, docs / "benchmarks", docs)
    print(f"written: {written.relative_to(ROOT)}", file=sys.stderr)
    return 0 if all(ran) else 1


def _run(benchmark: Choice, kept: Path, of: Setting, *, quick: bool) -> bool:
    """Whether it came to its end. Another one's trouble is no reason not to run the rest."""
    if missing := [program for program in benchmark.needs if shutil.which(program) is None]:
        packages = " ".join(PACKAGES[program] for program in missing)
        print(f"{benchmark.name}: not run, needs {', '.join(missing)}: apt-get install {packages}", file=sys.stderr)
        return False
    try:
        module = import_module(f"tests.benchmarks.{benchmark.name}")
        results = module.run(_sayer(benchmark.name), **(benchmark.quick if quick else {}))
    except Exception as error:
        traceback.print_exc()
        print(f"{benchmark.name}: not run to its end", file=sys.stderr)
        keep_failure(kept, benchmark.name, of, _reason(error))
        return False
    keep(kept, benchmark.name, of, results)
    print(f"\n{benchmark.title}\n\n{table(results)}\n", flush=True)
    return True


def _reason(error: Exception) -> str:
    """One line of it; the whole was printed."""
    told = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {told}" if told else type(error).__name__


def _sayer(name: str) -> Say:
    return lambda text: print(f"{name}: {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"all by default: {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, kept and written below data/benchmarks/quick alone")
    parser.add_argument("--document", action="store_true", help="run nothing, only write the document anew")
    wanted = parser.parse_args()
    if unknown := set(wanted.names) - set(names):
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    try:
        refuse_a_given_server()
    except RuntimeError as refusal:
        parser.error(str(refusal))
    return wanted


if __name__ == "__main__":
    sys.exit(main())
