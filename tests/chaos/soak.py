"""A deployment under a steady rate for as long as it takes to see whether anything grows. Run by `make soak MINUTES=60`.

One API process, one worker, PostgreSQL as it is run in earnest, the emulator, two receivers. Every few seconds a line of
samples goes to a CSV file; at the end `soak.svg` and `soak.md` are written, side by side. Exits with 1 where something is not
level, or where the books do not agree.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from tests.benchmarks.measured import machine
from tests.chaos.constraints import broken_constraints
from tests.chaos.line_charts import Chart, svg
from tests.chaos.picture_folder import PictureFolder
from tests.chaos.receiver import Receiver
from tests.chaos.soak_books import wrong_books
from tests.chaos.soak_level import MEASURES, Trend, trend_of
from tests.chaos.soak_load import RULES, Load, small_pictures
from tests.chaos.soak_page import page
from tests.chaos.soak_samples import Diary, ProcessUse, Sampler
from tests.chaos.stage import Stage, free_port
from tests.chaos.upstream import running_upstream
from tests.crash.processes import ADMIN_KEY, SECRET_KEY, UPSTREAM_KEY, Process
from tests.databases import migrate, throwaway_server

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
    diary = Diary(wanted.csv)
    with tempfile.TemporaryDirectory(prefix="gateway-soak-") as folder, _deployed(Path(folder)) as (stage, processes):
        load, logs = Load(stage, wanted.rate), [Log(process) for process in processes]
        _say(f"{wanted.minutes:g} minutes at {wanted.rate:g} jobs a second; samples in {wanted.csv}")
        used = _soaked(stage, _uses(stage, processes), logs, load, diary, wanted.minutes)
        _say("no more orders; all comes to rest")
        wrong = [*load.wrong, *wrong_books(stage, load.counts, REST), *broken_constraints(stage)]
        wrong += [f"logged: {line}" for log in logs for line in log.surprises()]
    return _told(diary.samples, wrong, used, wanted)


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=10, help="jobs a second")
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder for soak.svg and soak.md")
    parser.add_argument("--csv", type=Path, default=Path("data/soak.csv"))
    return parser.parse_args(words)


def _uses(stage: Stage, processes: Sequence[Process]) -> list[ProcessUse]:
    pids = [*(process.pid for process in processes), stage.upstream.pid, os.getpid()]
    return [ProcessUse(name, pid) for name, pid in zip(("api", "worker", "emulator", "load"), pids, strict=True)]


def _soaked(
    stage: Stage, uses: list[ProcessUse], logs: list[Log], load: Load, diary: Diary, minutes: float
) -> dict[str, float]:
    """Samples until the time is over; returns the cores that were used on average, by whom."""
    sampler = Sampler(stage, uses, load.taken_latencies, lambda: load.counts)
    every, stop = min(max(minutes * 60 / SAMPLES, SHORTEST), LONGEST), threading.Event()
    began = time.monotonic()
    with load.running():
        for number in range(1, max(2, int(minutes * 60 / every)) + 1):
            stop.wait(max(0.0, began + number * every - time.monotonic()))
            diary.write(sampler.look())
            for log in logs:
                log.read()
    names = [*(f"{use.name} cores" for use in uses), "machine cores"]
    return {name.split()[0]: sum(s[name] for s in diary.samples) / len(diary.samples) for name in names}


def _told(samples: list[dict[str, float]], wrong: list[str], used: dict[str, float], wanted: argparse.Namespace) -> int:
    trends = [(measure, trend_of(measure, samples)) for measure in MEASURES]
    wanted.output.mkdir(parents=True, exist_ok=True)
    (wanted.output / "soak.svg").write_text(svg(_charts(samples), x_label=f"{samples[-1]['minutes']:.0f} minutes"))
    text = page(trends, wrong, used, machine(), samples[-1], rate=wanted.rate, rules=RULES)
    (wanted.output / "soak.md").write_text(text)
    print(text)
    growing: list[Trend] = [trend for _, trend in trends if trend is not None and not trend.is_level]
    _say(f"{len(growing)} measures grow, {len(wrong)} things are wrong")
    return 1 if growing or wrong else 0


def _charts(samples: list[dict[str, float]]) -> list[Chart]:
    def chart(title: str, **names: str) -> Chart:
        return Chart(title, {short: [sample[name] for sample in samples] for short, name in names.items()})

    return [
        chart("resident memory, MiB", api="api resident mib", worker="worker resident mib"),
        chart("processor, cores", api="api cores", worker="worker cores"),
        chart("descriptors", api="api descriptors", worker="worker descriptors"),
        chart("threads, and connections to PostgreSQL", api="api threads", worker="worker threads", connections="connections"),
        chart("POST /jobs, ms", p50="accept p50 ms", p99="accept p99 ms"),
        chart("oldest, seconds", queued="oldest queued s", unconfirmed="oldest unconfirmed s", running="oldest running s"),
        chart("late, seconds", checks="checks late s", deliveries="deliveries late s"),
        chart("waiting", submissions="open submissions", deliveries="deliveries pending"),
        chart("dead tuples", all="dead tuples", jobs="dead tuples of jobs", gate="dead tuples of gate"),
        chart("database, MiB", all="database mib", events="events mib", jobs="jobs mib"),
        chart("jobs kept", jobs="jobs kept"),
        chart("jobs accepted", accepted="accepted"),
    ]


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
