"""What the soak calls level, what it finds wrong with its own load, and what it writes; the soak itself is run by hand."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from xml.etree import ElementTree as ET

import httpx
import pytest

from tests.chaos.line_charts import Chart, svg
from tests.chaos.picture_folder import PictureFolder
from tests.chaos.receiver import Receiver
from tests.chaos.soak import DATA, DOCS, folder_for, main
from tests.chaos.soak_facts import Facts, facts_path, read_facts
from tests.chaos.soak_level import MEASURES, Measure, Trend, Verdict, measures_of, measures_of_table, slope_of, trend_of
from tests.chaos.soak_load import AT_ONCE, RULES, Load, shortfalls
from tests.chaos.soak_samples import Diary, StatsPage, read_diary
from tests.chaos.stage import Stage
from tests.chaos.upstream import Upstream
from tests.crash.processes import wait_for

NAMES = {measure.name: measure for measure in MEASURES}
MEMORY, DESCRIPTORS, RUNNING = NAMES["api resident mib"], NAMES["api descriptors"], NAMES["oldest running s"]
FACTS = Facts("0.2.0", "0123456789ab", "a machine", 4.0, {"callback-lost": 12}, [])
STATS = {
    "jobs": {state: {"oldest_seconds": None} for state in ("queued", "unconfirmed", "running")},
    "checks_late_seconds": None,
    "deliveries": {"late_seconds": 1.5, "pending": {"count": 3}},
    "images": None,
    "credits": {"open_submissions": {"count": 2}},
}


def samples(of: Callable[[float], float], measure: Measure, minutes: float = 60, noise: float = 0.0) -> list[dict[str, float]]:
    """Ten a minute."""
    dice = Random(1)
    instants = [(n + 1) / 10 for n in range(round(minutes * 10))]
    return [{"minutes": minute, measure.name: of(minute) + dice.gauss(0, noise)} for minute in instants]


def trend(of: Callable[[float], float], measure: Measure = MEMORY, minutes: float = 60, noise: float = 0.0) -> Trend:
    found = trend_of(measure, samples(of, measure, minutes, noise))
    assert found is not None
    return found


def warm_up(minute: float) -> float:
    """As a process does: fast at first, and flat in the end."""
    return 150 - 20 * math.exp(-minute / 5)


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_a_leak_of_five_mebibytes_an_hour_is_found_within_an_hour(noise: float) -> None:
    found = trend(lambda minute: 150 + 5 * minute / 60, noise=noise)
    assert found.verdict is Verdict.GROWS
    assert abs(found.slope.an_hour - 5) < 1


def test_a_leak_of_two_mebibytes_an_hour_is_told_from_the_warm_up() -> None:
    assert trend(lambda minute: warm_up(minute) + 2.2 * minute / 60, noise=0.3).verdict is Verdict.GROWS
    assert trend(warm_up, noise=0.3).verdict is Verdict.LEVEL


@pytest.mark.parametrize("step_at", [25, 30, 40, 50])
def test_a_single_arena_of_the_allocator_is_no_leak(step_at: float) -> None:
    assert trend(lambda minute: 150 + (minute > step_at), noise=0.1).verdict is Verdict.LEVEL


def test_a_leak_that_comes_in_steps_is_found() -> None:
    assert trend(lambda minute: 150 + minute // 12, noise=0.1).verdict is Verdict.GROWS


def test_a_rise_in_the_last_minutes_is_not_averaged_away() -> None:
    found = trend(lambda minute: 150 + 4 * (minute > 57), noise=0.1)
    assert found.slope.high < 2
    assert found.verdict is Verdict.GROWS
    assert trend(lambda minute: 5 + 12 * (minute > 59.5), RUNNING).verdict is Verdict.GROWS


def test_what_shrinks_and_what_goes_up_and_down_is_level() -> None:
    assert trend(lambda minute: 150 - minute).verdict is Verdict.LEVEL
    assert trend(lambda minute: 150 + 2 * math.sin(9 * minute)).verdict is Verdict.LEVEL


def test_one_descriptor_more_is_level_and_two_are_not() -> None:
    assert trend(lambda minute: 20 + (minute > 45), DESCRIPTORS).verdict is Verdict.LEVEL
    assert trend(lambda minute: 20 + 2 * (minute > 45), DESCRIPTORS).verdict is Verdict.GROWS


def test_descriptors_that_are_open_for_a_moment_are_not_a_leak() -> None:
    assert trend(lambda minute: 20 + 9 * (round(minute * 10) % 97 == 0 and minute > 50), DESCRIPTORS).verdict is Verdict.LEVEL


#: Of a worker in an hour with faults, minute by minute: two pools of connections open and close them.
BREATHING = (
    33, 33, 34, 42, 41, 40, 40, 40, 39, 41, 40, 40, 38, 38, 38, 37, 38, 39, 39, 39, 41, 40, 38, 38, 38, 38, 38, 38, 39,
    39, 39, 39, 39, 39, 40, 40, 39, 38, 39, 39, 39, 40, 39, 39, 39, 41, 42, 42, 41, 40, 40, 39, 38, 38, 41, 40, 38, 41,
    41, 41, 41,
)  # fmt: skip


def test_descriptors_of_pools_are_level_and_four_leaked_in_an_hour_are_found() -> None:
    def pools(minute: float) -> int:
        return BREATHING[min(int(minute), 59)]

    assert trend(pools, DESCRIPTORS).verdict is Verdict.LEVEL
    assert trend(lambda minute: pools(minute) + minute // 15, DESCRIPTORS).verdict is Verdict.GROWS


def test_history_that_is_pruned_is_level_and_a_table_that_is_not_is_found() -> None:
    rows, _, size = measures_of_table("jobs")
    pruned = trend(lambda minute: 300 * min(minute, 5 + minute % 10), rows)
    assert pruned.verdict is Verdict.LEVEL
    assert trend(lambda minute: 300 * minute, rows).verdict is Verdict.GROWS
    assert trend(lambda minute: 0.05 * minute, size).verdict is Verdict.GROWS


def test_dead_tuples_that_autovacuum_is_late_for_are_level_and_those_it_never_takes_are_not() -> None:
    _, dead, _ = measures_of_table("events")

    def pruned(minute: float) -> float:
        """Every ten minutes, and later in the run faster than autovacuum comes by."""
        return (6_000 if minute < 40 else 17_000) * (minute % 10 < 1)

    assert trend(pruned, dead).verdict is Verdict.LEVEL
    assert trend(lambda minute: pruned(minute) + 300 * minute, dead).verdict is Verdict.GROWS


def test_of_less_than_an_hour_nothing_is_told() -> None:
    assert trend(lambda _: 150, minutes=59).verdict is Verdict.UNKNOWN
    assert trend_of(MEMORY, samples(lambda _: 150, MEMORY, minutes=0.5)) is None


def test_what_is_missing_is_not_level() -> None:
    seen = samples(lambda _: 5, RUNNING)
    holes = [{**sample, RUNNING.name: math.nan} if n % 5 == 0 else sample for n, sample in enumerate(seen)]
    found = trend_of(RUNNING, holes)
    assert found is not None
    assert found.verdict is Verdict.UNKNOWN
    assert trend_of(MEMORY, seen) is None


def test_a_single_gap_is_passed_over() -> None:
    seen = samples(lambda _: 5, RUNNING)
    seen[400][RUNNING.name] = math.nan
    found = trend_of(RUNNING, seen)
    assert found is not None
    assert found.verdict is Verdict.LEVEL


def test_wild_points_do_not_move_the_slope() -> None:
    found = slope_of((x, 3 * x + (1000 if x % 10 == 0 else 0)) for x in range(1, 41))
    assert round(found.an_hour, 6) == 3
    assert found.low <= 3 <= found.high


def test_a_load_that_died_leaves_too_little() -> None:
    counts = {"accepted": 14_255, "troubles": 59, "backends ended": 60}
    found = shortfalls(counts, rate=4, seconds=3600)
    assert found == ["14255 orders accepted in 3600 s, at least 14256 wanted", "59 troubles made in 3600 s, at least 60 wanted"]
    assert shortfalls({"accepted": 14_256, "troubles": 60, "backends ended": 60}, rate=4, seconds=3600) == []


def test_a_trouble_that_ended_no_connection_is_found() -> None:
    found = shortfalls({"accepted": 720, "troubles": 3, "backends ended": 2}, rate=4, seconds=180)
    assert found == ["2 connections to PostgreSQL ended in 180 s, at least 3 wanted"]


def test_what_orders_and_troubles_run_into_is_kept(tmp_path: Path) -> None:
    load = Load(a_stage(tmp_path), rate=100, every=0.02, lasts=0.01)
    with load.running():
        wait_for(lambda: {"an order died", "trouble 2 could not be made"} <= {line.partition(":")[0] for line in load.wrong})
    assert load.shortfalls(60)


def test_a_load_whose_loop_died_is_found(tmp_path: Path) -> None:
    load = Load(a_stage(tmp_path), rate=0)
    with load.running():
        wait_for(lambda: load.wrong)
    assert load.wrong[0].startswith("_order died: ZeroDivisionError")


def test_an_order_is_measured_from_when_it_was_due(tmp_path: Path) -> None:
    with closing(Receiver()) as receiver, held_api() as (port, release):
        stage = a_stage(tmp_path, receiver, receiver)
        stage.add("api", port)
        load = Load(stage, rate=200, every=3600)
        with load.running():
            wait_for(lambda: load.look()["orders waiting"] >= 20)
            waiting_since = time.monotonic()
            wait_for(lambda: load.look()["orders waiting"] >= 40)
            held = (time.monotonic() - waiting_since) * 1000
            release.set()
        latencies = load.taken_latencies()
        assert len(latencies) == load.counts["due"] == load.counts["accepted"]
        assert sum(latency >= held for latency in latencies) >= AT_ONCE + 20
        assert load.look()["orders waiting"] == 0


def test_a_stats_page_that_is_turned_away_or_cut_off_is_asked_again() -> None:
    found = stats_page(httpx.Response(503), httpx.ConnectError("cut"), httpx.Response(200, json=STATS)).look()
    assert (found["deliveries late s"], found["deliveries pending"], found["stats missed"]) == (1.5, 3, 2)


def test_a_stats_page_that_does_not_come_leaves_a_gap_and_ends_nothing() -> None:
    page = stats_page(*[httpx.Response(500)] * 3, httpx.Response(200, json=STATS))
    missed, found = page.look(), page.look()
    assert math.isnan(missed["oldest queued s"])
    assert missed.keys() == found.keys()
    assert (found["oldest queued s"], found["stats missed"]) == (0.0, 3)


def test_a_stats_page_that_is_refused_ends_the_run() -> None:
    with pytest.raises(httpx.HTTPStatusError):
        stats_page(httpx.Response(401)).look()


def test_a_run_that_is_cut_leaves_what_it_saw(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "new" / "soak.csv")
    for number in (1.0, 2.0):
        diary.write({"minutes": number, "mib": 7.5})
        assert read_diary(tmp_path / "new" / "soak.csv") == diary.samples
    Diary(tmp_path / "new" / "soak.csv").write({"minutes": 0.0, "oldest queued s": math.nan})
    (read,) = read_diary(tmp_path / "new" / "soak.csv")
    assert read["minutes"] == 0
    assert math.isnan(read["oldest queued s"])


def test_the_page_of_a_level_hour_is_written_from_its_samples(tmp_path: Path) -> None:
    assert main(kept(tmp_path, an_hour(), FACTS)) == 0
    text = (tmp_path / "page" / "soak.md").read_text()
    told = ("version 0.2.0, commit 0123456789ab", "a machine", "60 minutes, 600 samples", "4 jobs a second", "Nothing grew.")
    assert [fact for fact in told if fact not in text] == []
    assert "| upstream: `callback-lost@0.05` | 12 |" in text
    assert "| nobody listened at a receiver's port | 20 |" in text
    assert all(f"`{rule}`" in text for rule in RULES)
    assert [name for name in [*NAMES, "rows of jobs"] if f"| {name} |" not in text] == []
    assert text.count("| level |") == len(NAMES) + 3
    assert "Judged too, level, and small: `gate`." in text
    assert "Not judged: `audit`, from which nothing deletes; 1,440 rows in the end." in text
    assert max(map(len, text.splitlines())) < 200


def test_a_page_says_what_grew(tmp_path: Path) -> None:
    leaking = [{**sample, MEMORY.name: 150 + sample["minutes"] / 12} for sample in an_hour()]
    assert main(kept(tmp_path, leaking, FACTS)) == 1
    text = (tmp_path / "page" / "soak.md").read_text()
    assert "**These grew: api resident mib.**" in text
    assert text.count("**grows**") == 1


def test_a_level_hour_whose_books_disagree_or_were_not_read_does_not_pass(tmp_path: Path) -> None:
    assert main(kept(tmp_path, an_hour(), FACTS.concluded(["the sum is wrong"], {}))) == 1
    assert "- the sum is wrong" in (tmp_path / "page" / "soak.md").read_text()
    facts_path(tmp_path / "soak.csv").unlink()
    assert main(["--from-csv", str(tmp_path / "soak.csv"), "--output", str(tmp_path / "page")]) == 1
    assert "**Nobody looked" in (tmp_path / "page" / "soak.md").read_text()


def test_too_short_to_tell_does_not_pass(tmp_path: Path) -> None:
    assert main(kept(tmp_path, an_hour()[:300], FACTS)) == 1
    assert "**This run was too short to tell: 30 minutes, and 60 are needed.**" in (tmp_path / "page" / "soak.md").read_text()


def test_only_an_hour_goes_into_the_docs(tmp_path: Path) -> None:
    assert folder_for(None, 60.0) == folder_for(DOCS, 60.0) == DOCS
    assert folder_for(None, 59.0) == folder_for(Path("tests/../docs"), 59.0) == DATA
    assert folder_for(tmp_path, 3.0) == folder_for(tmp_path, 60.0) == tmp_path


def test_facts_are_read_as_they_were_written(tmp_path: Path) -> None:
    FACTS.write(tmp_path / "soak.json")
    assert read_facts(tmp_path / "soak.json") == FACTS
    assert read_facts(tmp_path / "other.json").wrong is None


def test_charts_are_drawn_within_their_frame() -> None:
    holes = [math.nan, 1.0, math.nan, 2.0]
    charts = [Chart("a < b", {"one": [float(n % 7) for n in range(1000)], "none": []}), Chart("gaps", {"all": holes})]
    drawn = ET.fromstring(svg(charts, x_label="60 minutes"))
    lines = drawn.findall(".//{*}polyline")
    points = [pair.split(",") for line in lines for pair in line.attrib["points"].split()]
    assert len(points) == 202
    assert all(0 <= float(x) <= 400 and 0 <= float(y) <= 90 for x, y in points)
    assert "a < b" in [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]


def test_charts_have_colours_for_light_and_dark_and_stay_small() -> None:
    lines: dict[str, Sequence[float]] = {name: [Random(name).random() for _ in range(10_000)] for name in "abcd"}
    drawn = svg([Chart(str(number), lines) for number in range(20)], x_label="24 hours")
    light, _, dark = drawn.partition("prefers-color-scheme: dark")
    for element in ET.fromstring(drawn).iter():
        for name in element.attrib.get("class", "").split():
            assert f".{name}" in light
            assert name in {"line", "name"} or f".{name}" in dark
    assert len(drawn) < 300_000


def an_hour() -> list[dict[str, float]]:
    """Level."""
    flat = {measure.name: 0.4 for measure in measures_of({"rows of gate": 0})}
    flat |= {measure.name: 900.0 for measure in measures_of_table("jobs")}
    more = {"api cores": 0.1, "accepted": 14_400.0, "turned_away": 1.0, "backends ended": 60.0}
    moods = {"receiver failing": 20.0, "receiver hanging": 20.0, "receiver gone": 20.0}
    return [{"minutes": (n + 1) / 10, **flat, **more, **moods, "rows of audit": 1440.0 * (n + 1) / 600} for n in range(600)]


def kept(folder: Path, run: list[dict[str, float]], facts: Facts) -> list[str]:
    """The words to write its page with."""
    diary = Diary(folder / "soak.csv")
    for sample in run:
        diary.write(sample)
    facts.write(facts_path(folder / "soak.csv"))
    return ["--from-csv", str(folder / "soak.csv"), "--output", str(folder / "page")]


def a_stage(folder: Path, *receivers: Receiver) -> Stage:
    """Nothing else runs on it, and its database is empty."""
    upstream, pictures = Upstream("http://127.0.0.1:1", 0), PictureFolder(folder)
    return Stage(f"sqlite:///{folder / 'empty.db'}", folder, upstream, pictures, {}, list(receivers))


def stats_page(*answers: httpx.Response | Exception) -> StatsPage:
    """Asked three times a look, it is answered so, in turn."""
    turn = iter(answers)

    def answer(_: httpx.Request) -> httpx.Response:
        found = next(turn)
        if isinstance(found, Exception):
            raise found
        return found

    return StatsPage(httpx.Client(transport=httpx.MockTransport(answer), base_url="http://gateway"), tries=3, pause=0)


@contextmanager
def held_api() -> Iterator[tuple[int, threading.Event]]:
    """The port of an API that answers nothing until it is released, and then everything."""
    release = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", "0")))
            self._answer(202)

        def do_GET(self) -> None:
            self._answer(200)

        def _answer(self, status: int) -> None:
            release.wait()
            body = json.dumps({"id": "1"}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_address[1], release
    finally:
        release.set()
        server.shutdown()
        server.server_close()
