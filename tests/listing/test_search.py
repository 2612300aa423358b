"""Every filter finds what it should and nothing else, in order, in pages of any size, however little a page may look at."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from app.lifecycle.states import CompletedVia, ErrorCode, JobState
from app.storage import search
from app.storage.database import Database
from app.storage.history import HistoryStore
from app.storage.job_filter import JobFilter
from app.storage.search import Key
from tests.listing.rows import START, JobRow, add, add_tenants, in_order

TENANTS = ("acme", "umbrella", "nobody")
PROMPTS = (
    "A red fox",
    "RED FOXES in the snow",
    "a blue hen",
    "雨后的江南小镇",
    "江南, a Fox",
    "Ärger mit Лисой",
    "100%_[x]* (fox)?",
)
HOUR = timedelta(hours=1)

FILTERS = [
    JobFilter(),
    JobFilter(states=(JobState.FAILED,)),
    JobFilter(states=(JobState.FAILED, JobState.QUEUED)),
    JobFilter(words=("fox",)),
    JobFilter(words=("fox", "RED")),
    JobFilter(words=("江南",)),
    JobFilter(words=("absent",)),
    JobFilter(words=("fox",), states=(JobState.SUCCEEDED, JobState.RUNNING)),
    JobFilter(completed_via=CompletedVia.POLL),
    JobFilter(error_code=ErrorCode.GENERATION_FAILED),
    JobFilter(error_code=ErrorCode.GENERATION_FAILED, states=(JobState.CANCELED, JobState.RUNNING)),
    JobFilter(error_code=ErrorCode.GENERATION_FAILED, states=(JobState.SUCCEEDED,)),
    JobFilter(idempotency_key="key-7"),
    JobFilter(idempotency_key="batch-1"),
    JobFilter(idempotency_key="batch-1", words=("fox",)),
    JobFilter(idempotency_key="absent"),
    JobFilter(task_id="task-9"),
    JobFilter(task_id="task-9", states=(JobState.QUEUED, JobState.SUCCEEDED)),
    JobFilter(task_id="absent"),
    JobFilter(task_id="task-9", idempotency_key="key-9", metadata=(("order", "0"),)),
    JobFilter(metadata=(("order", "1"),)),
    JobFilter(metadata=(("order", "1"), ("shop", "b"))),
    JobFilter(metadata=(("shop", "b"),), states=(JobState.FAILED, JobState.CANCELED), words=("fox",)),
    JobFilter(metadata=(("order", "absent"),)),
    JobFilter(metadata=(("order", "1"),), idempotency_key="batch-1"),
    JobFilter(created_after=START + HOUR),
    JobFilter(created_before=START + HOUR),
    JobFilter(created_after=START + HOUR, created_before=START + 3 * HOUR, words=("fox",)),
    JobFilter(created_after=START + HOUR, created_before=START + 3 * HOUR, metadata=(("order", "1"),)),
    JobFilter(created_after=START + 2 * HOUR, created_before=START + HOUR),
]


#: A prompt, a word, and whether the prompt has it.
WORDS = [
    ("RED FOXES", "fox", True),
    ("a red fox", "RED FOX", True),
    ("a red  fox", "red fox", False),
    ("雨后的江南小镇", "江南", True),
    ("雨后的江南小镇", "江北", False),
    ("雨後の町", "の町", True),
    ("Ärger", "ärg", True),
    ("ärger", "ÄRG", True),
    ("Лиса", "лИСА", True),
    ("ΣΊΣΥΦΟΣ", "σίσυφος", True),
    ("🦊 fox", "🦊", True),
    ("100 percent", "100%", False),
    ("100% sure", "100%", True),
    ("snake_case", "e_c", True),
    ("snakeXcase", "e_c", False),
    ("a*b", "a*b", True),
    ("aXb", "a*b", False),
    ("what?", "what?", True),
    ("whats", "what?", False),
    ("[a-z]", "[a-z]", True),
    ("m", "[a-z]", False),
    ("***:x", "***:x", True),
    ("(?i)x", "(?i)x", True),
    ("x", "(?i)x", False),
    ("a.b", "a.b", True),
    ("axb", "a.b", False),
    ("a\\d", "\\d", True),
    ("a5", "\\d", False),
    ("it's 'fine'", "'fine'", True),
    ("^x$|y", "^x$|y", True),
    ("a{2}", "a{2}", True),
    ("two\nlines", "two\nlines", True),
    ("]x^-", "]x^-", True),
]


def population() -> list[JobRow]:
    """A hundred jobs of every kind; many share their instant."""
    chance, jobs = random.Random(7), []
    for n in range(100):
        state = chance.choice(list(JobState))
        failed = state is JobState.FAILED or (state is JobState.CANCELED and n % 2)
        jobs.append(
            JobRow(
                created_at=START + HOUR * (n // 20),
                tenant=chance.choice(TENANTS[:2]),
                state=state,
                prompt=chance.choice(PROMPTS),
                task_id=f"task-{n}",
                idempotency_key=f"key-{n}" if n % 3 else None,
                batch_key=f"batch-{n % 2}" if n % 3 == 0 else None,
                completed_via=chance.choice([None, *CompletedVia]),
                error_code=chance.choice(list(ErrorCode)) if failed else None,
                metadata={"order": str(n % 4), "shop": chance.choice("ab")} if n % 5 else {},
            )
        )
    return jobs


async def pages(
    database: Database, wanted: JobFilter, limit: int = 7, look_at: int = search.LOOKED_AT_MAX
) -> list[search.Page]:
    found: list[search.Page] = []
    after: Key | None = None
    while not found or after is not None:
        found.append(await HistoryStore(database).page(wanted, limit=limit, after=after, look_at=look_at))
        after = found[-1].next
        assert len(found[-1].lives) <= limit
        assert len(found) < 500, "the pages never end"
    return found


async def ids(database: Database, wanted: JobFilter, limit: int = 7, look_at: int = search.LOOKED_AT_MAX) -> list[object]:
    return [life.job.job_id for page in await pages(database, wanted, limit, look_at) for life in page.lives]


async def test_each_filter_finds_what_it_should_and_nothing_else(database: Database) -> None:
    jobs = population()
    await add_tenants(database, *TENANTS)
    await add(database, *jobs)
    found_some = 0
    for filter_ in FILTERS:
        for tenant in (None, *TENANTS):
            wanted = replace(filter_, tenant=tenant)
            expected = in_order([job for job in jobs if job.fits(wanted)])
            found_some += bool(expected)
            for limit, look_at in ((7, 20_000), (1, 3), (200, 11)):
                assert await ids(database, wanted, limit, look_at) == expected, (wanted, limit, look_at)
    assert found_some > 50


async def test_a_page_looks_at_no_more_than_it_may_and_says_where_it_stopped(database: Database) -> None:
    jobs = [JobRow(created_at=START + timedelta(seconds=n), prompt="a fox" if n == 3 else "a hen") for n in range(30)]
    await add(database, *jobs)
    found = await pages(database, JobFilter(words=("fox",)), look_at=10)
    assert [[life.job.job_id for life in page.lives] for page in found] == [[], [], [jobs[3].job_id], []]
    assert [page.next for page in found] == [(j.created_at, j.job_id) for j in (jobs[20], jobs[10], jobs[0])] + [None]


async def test_a_full_page_goes_on_behind_its_last_job(database: Database) -> None:
    jobs = [JobRow(created_at=START + timedelta(seconds=n), prompt="a fox") for n in range(9)]
    await add(database, *jobs)
    first, second = await pages(database, JobFilter(words=("fox",)), limit=5)
    assert first.next == (jobs[4].created_at, jobs[4].job_id)
    assert (len(first.lives), len(second.lives), second.next) == (5, 4, None)


async def test_what_comes_in_while_a_walk_pauses_moves_nothing(database: Database) -> None:
    jobs = [JobRow(created_at=START + timedelta(seconds=n), prompt="a fox" if n % 4 == 0 else "a hen") for n in range(40)]
    await add(database, *jobs)
    store, found = HistoryStore(database), []
    page = await store.page(JobFilter(words=("fox",)), limit=2, look_at=6)
    while True:
        found += [life.job.job_id for life in page.lives]
        if page.next is None:
            break
        await add(database, *(JobRow(created_at=START + HOUR, prompt="a fox") for _ in range(3)))
        page = await store.page(JobFilter(words=("fox",)), limit=2, after=page.next, look_at=6)
    assert found == in_order([job for job in jobs if "fox" in job.prompt])


async def test_words_are_found_in_any_script_and_are_no_patterns(database: Database) -> None:
    jobs = {prompt: JobRow(prompt=prompt) for prompt, _word, _has in WORDS}
    await add(database, *jobs.values())
    for prompt, word, has in WORDS:
        found = await ids(database, JobFilter(words=(word,)), 200)
        assert (jobs[prompt].job_id in found) is has, (prompt, word)


async def test_a_job_is_found_once_by_a_key_that_is_its_own_and_its_batchs(database: Database) -> None:
    job = JobRow(idempotency_key="order-1", batch_key="order-1")
    await add(database, job)
    for words in ((), ("lighthouse",)):
        assert await ids(database, JobFilter(tenant="acme", idempotency_key="order-1", words=words)) == [job.job_id]


@pytest.mark.parametrize("wanted", [JobFilter(metadata=(("env", "prod"),)), JobFilter(idempotency_key="1")])
async def test_a_pair_or_key_that_very_many_tenants_have_is_found_all_the_same(database: Database, wanted: JobFilter) -> None:
    names = [f"team-{n}" for n in range(search.OWNERS_MAX + 5)]
    jobs = [
        JobRow(created_at=START + timedelta(seconds=n), tenant=name, metadata={"env": "prod"}, idempotency_key="1")
        for n, name in enumerate(names)
    ]
    await add_tenants(database, *names)
    await add(database, *jobs, JobRow(tenant=names[0], metadata={"env": "test"}, idempotency_key="2"))
    assert await ids(database, wanted) == in_order(jobs)
