"""What the soak calls level, and what it draws; the soak itself is run by hand."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from tests.chaos.line_charts import Chart, svg
from tests.chaos.soak_level import FILLING, Measure, Trend, trend_of
from tests.chaos.soak_samples import Diary, read_diary

SOME = Measure("mib", share=0.1, amount=5)


def samples(*values: float, minutes: float = 60) -> list[dict[str, float]]:
    return [{"minutes": minutes * n / (len(values) - 1), "mib": value} for n, value in enumerate(values)]


def trend(*values: float, measure: Measure = SOME, minutes: float = 60) -> Trend:
    found = trend_of(measure, samples(*values, minutes=minutes))
    assert found is not None
    return found


def test_what_grows_by_more_than_is_allowed_is_not_level() -> None:
    found = trend(*(100 + 0.5 * minute for minute in range(61)))
    assert not found.is_level
    assert round(found.slope, 6) == 30
    assert found.highest == 130


def test_what_goes_up_and_down_is_level() -> None:
    assert trend(*(100 + 40 * (minute % 2) for minute in range(61))).is_level


def test_what_shrinks_is_level() -> None:
    assert trend(*(100 - minute for minute in range(61))).is_level


def test_the_start_is_not_counted() -> None:
    assert trend(*([0] * 5 + [100] * 56)).is_level
    assert not trend(*([0] * 20 + [100] * 41)).is_level


def test_of_a_short_run_only_what_settles_soon_can_be_told() -> None:
    short = samples(*range(30), minutes=2)
    assert trend_of(SOME, short) is not None
    assert trend_of(Measure("mib", 0.1, 5, FILLING), short) is None


def test_a_small_figure_may_grow_by_a_small_amount() -> None:
    assert trend(*([1] * 30 + [5] * 30)).is_level
    assert not trend(*([1] * 30 + [7] * 30)).is_level


def test_a_run_that_is_cut_leaves_what_it_saw(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "new" / "soak.csv")
    for number in (1.0, 2.0):
        diary.write({"minutes": number, "mib": 7.5})
        assert read_diary(tmp_path / "new" / "soak.csv") == diary.samples
    Diary(tmp_path / "new" / "soak.csv").write({"minutes": 0.0})
    assert read_diary(tmp_path / "new" / "soak.csv") == [{"minutes": 0.0}]


def test_charts_are_drawn_within_their_frame() -> None:
    charts = [Chart("a < b", {"one": [float(n % 7) for n in range(1000)], "none": []}), Chart("zero", {"all": [0.0, 0.0]})]
    drawn = ET.fromstring(svg(charts, x_label="60 minutes"))
    lines = drawn.findall(".//{*}polyline")
    points = [pair.split(",") for line in lines for pair in line.attrib["points"].split()]
    assert len(points) == 202
    assert all(0 <= float(x) <= 400 and 0 <= float(y) <= 90 for x, y in points)
    assert "a < b" in [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
