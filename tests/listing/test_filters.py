"""The filters are read from a query and from words, strictly, and written back the same."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.job_query import words
from app.job_query.filters import JobQuery, pairs_of, to_query
from app.job_query.query import parameters_of, read_query
from app.jobs.cursor import read_cursor, write_cursor
from app.lifecycle.states import CompletedVia, ErrorCode, JobState
from app.problems import Problem
from app.storage.job_filter import JobFilter
from tests.listing.rows import START, JobRow


def read(query: str) -> JobFilter:
    return read_query(JobQuery, parse_qsl(query, keep_blank_values=True)).wanted()


def parse_words(text: str) -> JobFilter:
    return read_query(JobQuery, words.parse(text, now=NOW)).wanted()


def to_words(wanted: JobFilter) -> str:
    return words.spell(pairs_of(wanted))


def fields(raised: pytest.ExceptionInfo[Problem]) -> list[str]:
    assert raised.value.status == 422
    return [error.field.split(".")[0] for error in raised.value.errors]


NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
EVERYTHING = JobFilter(
    tenant="design",
    states=(JobState.CANCELED, JobState.FAILED),
    words=("red fox", "雨"),
    task_id="task-1",
    idempotency_key="order-1",
    completed_via=CompletedVia.POLL,
    error_code=ErrorCode.TASK_LOST,
    metadata=(("order", "42"), ("shop", "b c")),
    created_after=datetime(2026, 1, 1, tzinfo=UTC),
    created_before=datetime(2026, 2, 1, 12, tzinfo=UTC),
)


def test_all_filters_can_be_written_as_a_query() -> None:
    query = (
        "state=failed&state=canceled&tenant=design&q=%22red+fox%22+雨&task_id=task-1&idempotency_key=order-1&completed_via=poll"
        "&error_code=task_lost&metadata.order=42&metadata.shop=b+c&created_after=2026-01-01&created_before=2026-02-01T12:00:00Z"
    )
    assert read(query) == EVERYTHING
    assert read(to_query(EVERYTHING)) == EVERYTHING


def test_all_filters_can_be_written_as_words() -> None:
    text = (
        'state:failed tenant:design q:"red fox" 雨 task:task-1 key:order-1 via:poll error:task_lost metadata.order:42 '
        'metadata.shop:"b c" after:2026-01-01 before:2026-02-01T12:00:00Z state:canceled'
    )
    assert parse_words(text) == EVERYTHING
    assert parse_words(to_words(EVERYTHING)) == EVERYTHING


def test_nothing_asked_is_everything() -> None:
    assert read("") == parse_words(" \n") == JobFilter()
    assert to_query(JobFilter()) == to_words(JobFilter()) == ""


@pytest.mark.parametrize(
    ("q", "words"),
    [
        ("red fox", ("red", "fox")),
        ("  red　fox\n", ("red", "fox")),
        ('"red fox" hen', ("red fox", "hen")),
        ('"say \\"hi\\""', ('say "hi"',)),
        ('5" screen', ('5"', "screen")),
        ("red red", ("red",)),
        ("16:9 \\d", ("16:9", "\\d")),
        ("雨后的 江南", ("雨后的", "江南")),
    ],
)
def test_words_are_split_at_blanks_and_phrases_kept(q: str, words: tuple[str, ...]) -> None:
    wanted = read_query(JobQuery, [("q", q)]).wanted()
    assert wanted.words == words
    assert read(to_query(wanted)) == wanted


@pytest.mark.parametrize(
    "query",
    [
        "colour=red", "Q=fox", "metadata=42", "metadata.=42", f"metadata.{'k' * 41}=x", f"metadata.a={'x' * 501}",
        "metadata.a=1&metadata.a=2", "&".join(f"metadata.k{n}=1" for n in range(17)), "metadata.a=%00", "state=", "state=done",
        "tenant=", "tenant=a&tenant=b", f"tenant={'x' * 201}", "q=", "q=+", 'q=""', 'q="red', 'q="red"fox', "q=a%00b",
        f"q={'x' * 201}", "q=" + "+".join(f"w{n}" for n in range(11)), "q=a&q=b", "task_id=", f"idempotency_key={'x' * 256}",
        "completed_via=magic", "error_code=bad", "created_after=yesterday", "created_after=2026-13-01",
        "created_after=2026-01-01T00:00:00", "created_after=2026-01-01T00:00:00+01:00", "created_before=1767323045",
        "created_before=0001-01-01T00:00:00%2B10:00", "created_before=2026-01-01T24:00:01Z", "created_after=２０２６-01-01",
    ],
)  # fmt: skip
def test_a_query_that_does_not_fit_is_refused_by_name(query: str) -> None:
    with pytest.raises(Problem) as raised:
        read(query)
    assert set(fields(raised)) == {query.partition("=")[0].partition(".")[0]}


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('tenant:""', "tenant"), ("state:done", "state"), ("tenant:a tenant:b", "tenant"), ('q:""', "q"), ("\ud800", "q"),
        ('metadata."":42', "metadata"), ("after:soon", "created_after"), ("fox " * 11, "q"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_are_refused_by_the_name_of_the_query(text: str, field: str) -> None:
    with pytest.raises(Problem) as raised:
        parse_words(text)
    assert fields(raised) == [field]


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:30:00Z", datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ("2026-01-31t12:30:00.123456z", datetime(2026, 1, 31, 12, 30, 0, 123456, tzinfo=UTC)),
        ("2026-01-31T12:30:00%2B08:00", datetime(2026, 1, 31, 4, 30, tzinfo=UTC)),
    ],
)
def test_an_instant_has_an_offset_and_a_date_begins_at_midnight_utc(written: str, instant: datetime) -> None:
    assert read(f"created_after={written}").created_after == instant


#: What a query can hold: no NUL, no lone surrogates.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
WANTED = st.builds(
    JobFilter,
    tenant=st.none() | TEXTS,
    states=st.lists(st.sampled_from(JobState), unique=True).map(lambda states: tuple(sorted(states))),
    words=st.lists(TEXTS, unique=True, max_size=5).map(tuple),
    task_id=st.none() | TEXTS,
    metadata=st.dictionaries(TEXTS, TEXTS | st.just(""), max_size=3).map(lambda pairs: tuple(sorted(pairs.items()))),
    created_after=st.none() | st.datetimes(timezones=st.just(UTC)),
    error_code=st.none() | st.sampled_from(ErrorCode),
)


@given(WANTED)
def test_what_is_written_is_read_back_the_same(wanted: JobFilter) -> None:
    assert read(to_query(wanted)) == wanted
    assert parse_words(to_words(wanted)) == wanted


def test_a_cursor_is_good_for_the_list_that_it_came_from_and_no_other() -> None:
    key, wanted = (START, JobRow().job_id), JobFilter(tenant="acme", states=(JobState.FAILED, JobState.CANCELED))
    cursor = write_cursor(key, wanted)
    assert read_cursor(cursor, wanted) == key
    assert read_cursor(cursor, JobFilter(tenant="acme", states=(JobState.CANCELED, JobState.FAILED))) == key
    for other in (JobFilter(), JobFilter(tenant="umbrella", states=wanted.states), JobFilter(tenant="acme")):
        with pytest.raises(Problem) as raised:
            read_cursor(cursor, other)
        assert fields(raised) == ["cursor"]


@given(st.text(max_size=60) | st.binary(max_size=40).map(lambda raw: raw.hex()))
def test_garbage_is_no_cursor(text: str) -> None:
    with pytest.raises(Problem):
        read_cursor(text, JobFilter())


def test_every_filter_is_told_in_openapi() -> None:
    told = {parameter["name"] for parameter in parameters_of(JobQuery)}
    assert told == (set(JobQuery.model_fields) - {"metadata"}) | {"metadata.<key>"}
    assert all(parameter["description"] for parameter in parameters_of(JobQuery))
