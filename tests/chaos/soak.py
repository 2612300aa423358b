"""A deployment under a steady rate for as long as it takes to see whether anything grows. Run by `make soak MINUTES=60`.

One API process, one worker, PostgreSQL as it is run in earnest, the emulator, two receivers. Every few seconds a line of
samples goes to a CSV file; at the end `soak.svg` and `soak.md` are written, side by side, into docs/ only by a run of an hour
or more. Exits with 1 where something is not level or cannot be told (of a shorter run, all of it), or the books disagree.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from tests.chaos.constraints import broken_constraints
from tests.chaos.line_charts import svg
from tests.chaos.picture_folder import PictureFolder
from tests.chaos.receiver import Receiver
from tests.chaos.soak_books import wrong_books
from tests.chaos.soak_charts import charts
from tests.chaos.soak_facts import Facts, facts_of_this_run, facts_path, read_facts
from tests.chaos.soak_level import Trend, Verdict, is_long_enough, measures_of, trend_of
from tests.chaos.soak_load import RULES, Load, small_pictures
from tests.chaos.soak_page import page
from tests.chaos.soak_samples import Diary, ProcessUse, Sampler, read_diary
from tests.chaos.stage import Stage, free_port
from tests.chaos.upstream import running_upstream
from tests.crash.processes import ADMIN_KEY, SECRET_KEY, UPSTREAM_KEY, Process
from tests.databases import migrate, throwaway_server

DOCS, DATA = Path("docs"), Path("data")
SAMPLES = 600  #: in a run, about
SHORTEST, LONGEST = 2.0, 10.0  #: seconds between two of them
REST = 900.0  #: seconds that all may take to end after the last order

SETTINGS = {
    "UPSTREAM_MAX_IN_FLIGHT": "2000",
    "UPSTREAM_SUBMIT_RATE": "100",
    "UPSTREAM_STATUS_RATE": "100",
    "CALLBACK_GRACE": "5s",
    "POLL_MIN": "2s",
    "POLL_MAX": "10s",
    "UNCONFIRMED_WAIT": "1m",
    "JOB_DEADLINE": "5m",
    "HARD_DEADLINE": "10m",
    "RETENTION_DAYS": "1",
    "DELIVERY_ALLOW": "127.0.0.1",
    "IMAGE_ALLOW": "127.0.0.1",
    "LOG_FORMAT": "json",
}


def main(words: Sequence[str]) -> int:
    wanted = _arguments(words)
    if wanted.from_csv is not None:
        return _told(read_diary(wanted.from_csv), read_facts(facts_path(wanted.from_csv)), wanted.output)
    diary, facts = Diary(wanted.csv), facts_of_this_run(wanted.rate)
    facts.write(facts_path(wanted.csv))
    with tempfile.TemporaryDirectory(prefix="gateway-soak-") as folder, _deployed(Path(folder)) as (stage, processes):
        load, logs = Load(stage, wanted.rate), [Log(process) for process in processes]
        _say(f"{wanted.minutes:g} minutes at {wanted.rate:g} jobs a second; samples in {wanted.csv}")
        seconds = _soaked(stage, _uses(stage, processes), logs, load, diary, wanted.minutes)
        _say("no more orders; all comes to rest")
        struck = stage.upstream.account()["faults_struck"]
        wrong = [*load.shortfalls(seconds), *_books(stage, load.counts), *load.wrong]
        wrong += [f"logged: {line}" for log in logs for line in log.surprises()]
    facts = facts.concluded(wrong, struck)
    facts.write(facts_path(wanted.csv))
    return _told(diary.samples, facts, wanted.output)


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=10, help="jobs a second")
    parser.add_argument("--output", type=Path, help="folder for soak.svg and soak.md; docs, or data where the run is too short")
    parser.add_argument(
        "--csv", type=Path, default=DATA / "soak.csv", help="the samples; what else the page tells is beside it"
    )
    parser.add_argument("--from-csv", type=Path, metavar="FILE", help="write the page of a run from its samples; runs nothing")
    return parser.parse_args(words)


def _uses(stage: Stage, processes: Sequence[Process]) -> list[ProcessUse]:
    pids = [*(process.pid for process in processes), stage.upstream.pid, os.getpid()]
    return [ProcessUse(name, pid) for name, pid in zip(("api", "worker", "emulator", "load"), pids, strict=True)]


def _soaked(stage: Stage, uses: list[ProcessUse], logs: list[Log], load: Load, diary: Diary, minutes: float) -> float:
    """Samples until the time is over; returns the seconds that the load ran."""
    sampler = Sampler(stage, uses, load.taken_latencies, load.look)
    every, stop = min(max(minutes * 60 / SAMPLES, SHORTEST), LONGEST), threading.Event()
    began = time.monotonic()
    with load.running():
        for number in range(1, max(2, int(minutes * 60 / every)) + 1):
            stop.wait(max(0.0, began + number * every - time.monotonic()))
            diary.write(sampler.look())
            for log in logs:
                log.read()
        return time.monotonic() - began


def _books(stage: Stage, counts: Mapping[str, int]) -> Iterator[str]:
    """What is wrong with them; that they cannot be read is wrong too, and ends no run whose samples are worth a page."""
    try:
        yield from wrong_books(stage, counts, REST)
        yield from broken_constraints(stage)
    except Exception as error:
        yield f"the books could not be read to their end: {error!r}"


def _told(samples: list[dict[str, float]], facts: Facts, output: Path | None) -> int:
    """Writes the page; the exit code."""
    trends = [(measure, trend_of(measure, samples)) for measure in measures_of(samples[-1])]
    folder = folder_for(output, samples[-1]["minutes"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.svg").write_text(svg(charts(samples), x_label=f"{samples[-1]['minutes']:.0f} minutes"))
    (folder / "soak.md").write_text(page(facts, samples, trends))
    not_level = [f"{measure.name}: {_verdict(trend)}" for measure, trend in trends if _verdict(trend) != Verdict.LEVEL.value]
    for line in [*(not_level if is_long_enough(samples[-1]["minutes"]) else ["too short to tell"]), *(facts.wrong or [])]:
        _say(line)
    _say(f"{folder / 'soak.md'}: {len(not_level)} of {len(trends)} measures are not level, or cannot be told")
    return 1 if not_level or facts.wrong is None or facts.wrong else 0


def folder_for(output: Path | None, minutes: float) -> Path:
    """Where the page of a run of so many minutes goes: the docs tell only what is long enough to tell something."""
    if is_long_enough(minutes):
        return output or DOCS
    return DATA if output is None or output.resolve() == DOCS.resolve() else output


def _verdict(trend: Trend | None) -> str:
    return (Verdict.UNKNOWN if trend is None else trend.verdict).value


@contextmanager
def _deployed(directory: Path) -> Iterator[tuple[Stage, list[Process]]]:
    """PostgreSQL, the emulator, the receivers and the gateway's two processes; all of them end with the block."""
    with ExitStack() as stack:
        server = stack.enter_context(throwaway_server(durable=True))
        with psycopg.connect(server.url.render_as_string(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE soak")
        url = server.url.set(database="soak").render_as_string()
        migrate(url)
        pictures_at = stack.enter_context(small_pictures())
        upstream = stack.enter_context(running_upstream(directory, 1, RULES, pictures_at))
        receivers = [Receiver(), Receiver()]
        for receiver in receivers:
            stack.callback(receiver.close)
        port, pictures = free_port(), PictureFolder(directory)
        environment = {
            "GATEWAY_DATABASE_URL": url,
            "GATEWAY_UPSTREAM_BASE_URL": upstream.url,
            "GATEWAY_UPSTREAM_API_KEY": UPSTREAM_KEY,
            "GATEWAY_PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
            "GATEWAY_BOOTSTRAP_ADMIN_KEY": ADMIN_KEY,
            "GATEWAY_SECRET_KEY": SECRET_KEY,
            "GATEWAY_IMAGE_STORE_URL": f"file://{pictures.path}",
            **{f"GATEWAY_{name}": value for name, value in SETTINGS.items()},
        }
        stage = Stage(url, directory, upstream, pictures, environment, receivers)
        stage.add("api", port)  # for its address; these processes are never started anew
        started = (
            (["-m", "app", "serve", "--no-worker", "--port", str(port)], "gateway: listening on "),
            (["-m", "app", "worker"], "gateway: working"),
        )
        processes = []
        for arguments, ready in started:
            processes.append(process := Process(arguments, environment, directory))
            stack.callback(process.end)
            process.said(process.stderr, ready)
        yield stage, processes


class Log:
    """Of a process: read and forgotten, but for what nobody foresaw."""

    def __init__(self, process: Process) -> None:
        self._lines = process.stderr
        self._kept: list[str] = []

    def read(self) -> None:
        lines = self._lines[:]
        del self._lines[: len(lines)]
        self._kept += [line for line in lines if any(word in line for word in ('"exception"', "Traceback", '"critical"'))]

    def surprises(self) -> list[str]:
        self.read()
        return [line[:1000] for line in self._kept]


def _say(what: str) -> None:
    print(f"soak: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
