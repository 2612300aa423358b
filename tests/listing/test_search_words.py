"""A search as people write it means the query string that it should, and is written back the same."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.job_query.filters import JobQuery
from app.job_query.words import NAMES, SearchWordsError, parse, spell

NOW = datetime(2026, 11, 8, 12, 30, 15, 999, tzinfo=UTC)


def test_a_search_is_the_query_string_of_get_jobs() -> None:
    text = (
        'state:failed tenant:design q:"red fox" after:2026-01-01 before:2026-02-01T12:00:00Z task:t-1 key:order-1 via:callback '
        'error:generation_failed meta.order:17 meta."the shop":"b c" snow'
    )
    pairs = [
        ("state", "failed"), ("tenant", "design"), ("created_after", "2026-01-01"), ("created_before", "2026-02-01T12:00:00Z"),
        ("task_id", "t-1"), ("idempotency_key", "order-1"), ("completed_via", "callback"), ("error_code", "generation_failed"),
        ("metadata.order", "17"), ("metadata.the shop", "b c"), ("q", '"red fox" snow'),
    ]  # fmt: skip
    assert parse(text, now=NOW) == pairs
    assert parse(spell(pairs), now=NOW) == pairs


@pytest.mark.parametrize(
    ("short", "full"), [*NAMES.items(), ("meta.order", "metadata.order"), ("meta.after", "metadata.after")]
)
def test_the_names_of_the_query_may_be_written_too(short: str, full: str) -> None:
    assert parse(f"{full}:x", now=NOW) == parse(f"{short}:x", now=NOW) == [(full, "x")]


def test_every_filter_that_there_is_can_be_searched_by() -> None:
    assert set(NAMES.values()) == set(JobQuery.model_fields) - {"metadata"}
    assert not set(NAMES) & (set(NAMES.values()) - {"state", "tenant", "q"})


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("7d", "2026-11-01T12:30:15Z"), ("-7d", "2026-11-01T12:30:15Z"), ("1h", "2026-11-08T11:30:15Z"),
        ("90s", "2026-11-08T12:28:45Z"), ("5m", "2026-11-08T12:25:15Z"), ("2w", "2026-10-25T12:30:15Z"),
        ("2026-01-01", "2026-01-01"), ("soon", "soon"), ("7y", "7y"), ("123456d", "123456d"),
    ],
)  # fmt: skip
def test_ages_count_from_now_and_other_instants_stay_as_they_are(written: str, instant: str) -> None:
    assert parse(f"after:{written}", now=NOW) == [("created_after", instant)]
    assert parse(f"created_before:{written}", now=NOW) == [("created_before", instant)]
    assert parse(f"meta.age:{written}", now=NOW) == [("metadata.age", written)]


@pytest.mark.parametrize(
    ("text", "q"),
    [
        ("red  fox", "red fox"), ('"red fox"', '"red fox"'), ("q:red q:fox snow", "red fox snow"), ('"16:9" wide', "16:9 wide"),
        ('"say \\"hi\\""', '"say \\"hi\\""'), ("雨后的　江南", "雨后的 江南"), ('5" screen', '5" screen'), ("a\\b", "a\\b"),
    ],
)  # fmt: skip
def test_bare_words_are_words_of_the_prompt(text: str, q: str) -> None:
    assert parse(text, now=NOW) == [("q", q)]


@pytest.mark.parametrize(
    ("text", "token", "help_"),
    [
        ("fox colour:red", "colour", "known are state, tenant, q, task, key, via, error, after, before, meta.<key>"),
        ("16:9", "16", "a word with a colon is quoted"),
        ("metadata:42", "metadata", "meta.<key>"),
        ("meta.:42", "meta.", "meta.<key>"),
        ('fox "red', '"red', "close the quotation mark"),
        ('tenant:"red"x', 'tenant:"red"x', "close the quotation mark"),
        ("state: failed", "state:", "write name:value"),
        (":)", ":)", "write name:value"),
        ("x" * 4001, "", "at most 4000"),
    ],
)
def test_what_cannot_be_read_is_named_and_what_is_known_is_told(text: str, token: str, help_: str) -> None:
    with pytest.raises(SearchWordsError) as raised:
        parse(text, now=NOW)
    assert raised.value.token == token
    assert help_ in raised.value.message
    assert token in str(raised.value)


VALUES = st.text(max_size=12)
KEYS = st.text(min_size=1, max_size=12)
INSTANTS = {"created_after", "created_before"}
PAIRS = st.one_of(
    st.tuples(st.sampled_from(sorted(set(NAMES.values()) - INSTANTS - {"q"})) | KEYS.map("metadata.".__add__), VALUES),
    st.tuples(st.sampled_from(sorted(INSTANTS)), st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)),
)


@given(st.lists(PAIRS, max_size=5))
def test_any_pairs_are_read_back_as_they_were_spelled(pairs: list[tuple[str, str]]) -> None:
    assert parse(spell(pairs), now=NOW) == pairs


@given(st.text(max_size=60) | st.text(' :"\\.ametq', max_size=30))
def test_any_text_is_read_or_refused_and_what_was_read_is_spelled_back(text: str) -> None:
    pairs = None
    with suppress(SearchWordsError):
        pairs = parse(text, now=NOW)
    if pairs is not None:
        assert parse(spell(pairs), now=NOW) == pairs


@given(KEYS)
def test_a_q_that_no_query_may_have_can_still_be_shown(q: str) -> None:
    assert [name for name, _ in parse(spell([("q", q)]), now=NOW)] in ([], ["q"])
