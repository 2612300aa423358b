"""The looks at a long history: lists, searches, single jobs and figures, as an administrator asks, and as a tenant does.

They are made through the stores that the routes use. Each look must find what it is to find.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.lifecycle.policy import Policy
from app.lifecycle.states import CompletedVia, ErrorCode, JobState
from app.stats.figures import Figures
from app.stats.pace import Window
from app.storage.database import Database
from app.storage.history import HistoryStore
from app.storage.job_filter import JobFilter
from app.storage.lives import LifeStore
from app.storage.search import LOOKED_AT_MAX, Key, Page
from app.storage.usage import UsageStore
from tests.benchmarks import long_history as its
from tests.benchmarks.history import id_of, task_of

PAGE, DEEP = 50, 1_000
LED, TESTED, FIGURES = 50.0, 250.0, 2_000.0  #: ms, the bounds: an index answers all; jobs are tested; a week is summed up


@dataclass(frozen=True)
class Look:
    """One that is timed."""

    make: Callable[[], Awaitable[object]]
    bound: float = LED  #: ms
    flat: bool = True  #: it is to cost no more on a longer history


@dataclass(frozen=True)
class Walk:
    """All pages of a search, from the first to the last."""

    ms: float
    pages: int
    found: int


def looks_at(database: Database, jobs: int, newest: datetime) -> dict[str, Look]:
    """By name, as the figures are told."""
    admins, tenants = _Asker(database, jobs, newest, None), _Asker(database, jobs, newest, its.LARGE)
    return {
        **dict(admins.pages()),
        **dict(_only_admins(database, newest)),
        **dict(tenants.pages()),
        **dict(_singles(database, jobs)),
    }


async def walks_through(database: Database, jobs: int) -> dict[str, Walk]:
    """The searches that find little, page by page to their end; each must have found all that there is."""
    rare, every = its.with_the_rare_word(jobs), its.with_the_chinese_words(jobs)
    lost = JobFilter(error_code=ErrorCode.TASK_LOST)
    walks = {
        "a rare word": await _to_the_end(database, JobFilter(words=(its.RARE,))),
        "an absent word": await _to_the_end(database, JobFilter(words=(its.ABSENT,))),
        "Chinese words": await _to_the_end(database, JobFilter(words=(its.CHINESE,))),
        "task_lost": await _to_the_end(database, lost),
        "one tenant: a rare word": await _to_the_end(database, JobFilter(tenant=its.LARGE, words=(its.RARE,))),
    }
    found = [walk.found for walk in walks.values()]
    assert found[:3] == [rare, 0, every], (found, rare, every)
    assert 0 < found[4] < rare, (found, rare)
    return walks


class _Asker:
    """Somebody who asks for pages; with a tenant, for its own."""

    def __init__(self, database: Database, jobs: int, newest: datetime, tenant: str | None) -> None:
        self._history, self._jobs, self._newest, self._tenant = HistoryStore(database), jobs, newest, tenant

    def pages(self) -> Iterator[tuple[str, Look]]:
        for name, (wanted, finds, bound) in self._wanted().items():
            yield self._named(name), self._page(wanted, finds, bound)
        number, last = self._deep()
        after = self._newest - its.STEP * last, UUID(id_of(its.SET, last))
        yield self._named(f"page {number:,}"), self._page(JobFilter(), PAGE, LED, after=after)

    def _wanted(self) -> Mapping[str, tuple[JobFilter, int, float]]:
        """What is asked for, how many a page finds, and within which bound."""
        amid = self._jobs // 2 // 2 * 2  # the large tenant's
        newest, step = self._newest, its.STEP
        between = JobFilter(created_before=newest - step * (self._jobs // 3), created_after=newest - step * amid)
        return {
            "first page": (JobFilter(), PAGE, LED),
            "state": (JobFilter(states=(JobState.FAILED,)), PAGE, LED),
            "canceled": (JobFilter(states=(JobState.CANCELED,)), PAGE, LED),
            "a state that no job has": (JobFilter(states=(JobState.RUNNING,)), 0, LED),
            "a common error": (JobFilter(error_code=ErrorCode.GENERATION_FAILED), PAGE, TESTED),
            "task_lost": (JobFilter(error_code=ErrorCode.TASK_LOST), PAGE, TESTED),
            "how it ended": (JobFilter(completed_via=CompletedVia.POLL), PAGE, TESTED),
            "metadata": (JobFilter(metadata=(("order", "471"),)), PAGE, LED),
            "idempotency key": (JobFilter(idempotency_key=f"order-{amid}"), 1, LED),
            "task id": (JobFilter(task_id=task_of(its.SET, amid)), 1, LED),
            "between two instants": (between, PAGE, LED),
            "a common word": (JobFilter(words=(its.COMMON,)), PAGE, TESTED),
            "a rare word, long ago": (JobFilter(words=(its.RARE,)), 0, TESTED),
            "an absent word": (JobFilter(words=(its.ABSENT,)), 0, TESTED),
            "Chinese words": (JobFilter(words=(its.CHINESE,)), self._chinese(), TESTED),
        }

    def _page(self, wanted: JobFilter, finds: int, bound: float, after: Key | None = None) -> Look:
        asked = wanted if self._tenant is None else replace(wanted, tenant=self._tenant)
        return Look(lambda: _found(self._history.page(asked, limit=PAGE, after=after), finds), bound)

    def _deep(self) -> tuple[int, int]:
        """A page far behind, of which the small history still has more, and the last job of the page before."""
        if self._tenant is None:
            return DEEP, PAGE * (DEEP - 1) - 1
        return DEEP // 2, 2 * (PAGE * (DEEP // 2 - 1) - 1)

    def _chinese(self) -> int:
        """Of the jobs that a page tests."""
        if self._tenant is None:
            return its.with_the_chinese_words(LOOKED_AT_MAX)
        return its.with_the_chinese_words(2 * LOOKED_AT_MAX, its.of_the_large_tenant)

    def _named(self, what: str) -> str:
        return what if self._tenant is None else f"one tenant: {what}"


def _only_admins(database: Database, newest: datetime) -> Iterator[tuple[str, Look]]:
    history, usage = HistoryStore(database), UsageStore(database)
    small = JobFilter(tenant=its.SMALL)
    yield "a small tenant", Look(lambda: _found(history.page(small, limit=PAGE), PAGE))
    yield "figures of /stats", Look(lambda: _figures(database, None), FIGURES, flat=False)
    yield "one tenant: figures of /stats", Look(lambda: _figures(database, its.LARGE), FIGURES, flat=False)
    last = newest.astimezone(UTC).date()
    first = last - timedelta(days=30)
    yield "/usage", Look(lambda: usage.days(first, last, None), flat=False)

    async def own_usage() -> None:
        await usage.days(first, last, its.LARGE)
        await usage.standing(its.LARGE)

    yield "one tenant: /usage", Look(own_usage)


def _singles(database: Database, jobs: int) -> Iterator[tuple[str, Look]]:
    history, lives, job_id = HistoryStore(database), LifeStore(database), UUID(id_of(its.SET, jobs // 2))
    yield "a job by its id", Look(lambda: lives.find(job_id))
    yield "a job's timeline", Look(lambda: history.events(job_id))


async def _found(page: Awaitable[Page], jobs: int) -> None:
    found = len((await page).lives)
    assert found == jobs, (found, jobs)


async def _to_the_end(database: Database, wanted: JobFilter) -> Walk:
    history, began, after, pages, found = HistoryStore(database), time.perf_counter(), None, 0, 0
    while pages == 0 or after is not None:
        page = await history.page(wanted, limit=PAGE, after=after)
        after, pages, found = page.next, pages + 1, found + len(page.lives)
    return Walk((time.perf_counter() - began) * 1000, pages, found)


async def _figures(database: Database, tenant: str | None) -> None:
    """As `GET /stats` asks for them, when nothing is remembered."""
    figures = Figures(database, Policy())
    await figures.vitals()
    if tenant is not None:
        await figures.standings(tenant)
    for window in Window:
        await figures.stretches(window, tenant)
    await figures.credits_this_month(tenant)
