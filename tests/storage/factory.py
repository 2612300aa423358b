"""Makes lives in any state, by the road that real ones take: the intake, then news through the real `decide`."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from app.lifecycle.answers import Accepted, Refusal, Refused, Rejected, StillGoing, Succeeded, TaskFailed, Unproven
from app.lifecycle.job import Job, Life
from app.lifecycle.news import Answered, CancelAsked, Checked, Claimed, News
from app.lifecycle.ownership import hash_token
from app.lifecycle.policy import Policy
from app.lifecycle.request import GenerationRequest
from app.lifecycle.states import JobState
from app.lifecycle.transitions import Change, decide
from app.storage.database import Database
from app.storage.history import HistoryStore
from app.storage.intake import IntakeStore, Order, Taken
from app.storage.lanes import Lanes
from app.storage.lives import LifeStore
from app.storage.queue import QueueStore

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class HandClock:
    """A clock that only a test moves."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> datetime:
        self.now += timedelta(**duration)
        return self.now


def new_job(**fields: Any) -> Job:
    """A job as the intake is handed it."""
    made: dict[str, Any] = {
        "job_id": uuid7(),
        "tenant": "acme",
        "state": JobState.QUEUED,
        "request": GenerationRequest("a lighthouse at dusk"),
        "created_at": START,
        "updated_at": START,
        "due_at": START,
        "fingerprint": b"f" * 32,
    }
    return Job(**{**made, **fields})


def queue_of(database: Database) -> QueueStore:
    """A queue that looks for new lanes at every claim, however slow the machine is today."""
    return QueueStore(database, Lanes(costly=math.inf))


async def all_lives(database: Database) -> list[Life]:
    """Every job that there is, newest first."""
    return list((await HistoryStore(database).page(limit=1000)).lives)


async def take(database: Database, jobs: Sequence[Job]) -> list[Taken]:
    """Hands these jobs in, each as an order of its own."""
    return await IntakeStore(database).take([Order((job,)) for job in jobs])


def callback_token(task_or_name: str) -> tuple[str, bytes]:
    """A predictable token and its hash."""
    token = f"token-of-{task_or_name}"
    return token, hash_token(token)


@dataclass
class Factory:
    """Fills a database with lives. Every job it makes is named by a number of its own: task `task-7`, token `token-of-7`."""

    database: Database
    policy: Policy = field(default_factory=Policy)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def decide(self, life: Life, news: News, now: datetime) -> Change:
        return decide(life, news, now, self.policy)

    async def apply(self, *items: tuple[UUID, News]) -> list[Change | None]:
        return await LifeStore(self.database).apply(items, self.decide)

    async def tell(self, job_id: UUID, *news: News) -> Life:
        """The life after one piece of news after the other."""
        for item in news:
            await self.apply((job_id, item))
        return await self.find(job_id)

    async def find(self, job_id: UUID) -> Life:
        life = await LifeStore(self.database).find(job_id)
        assert life is not None
        return life

    async def queued(self, count: int = 1, **fields: Any) -> list[Life]:
        taken = await take(self.database, [new_job(**fields) for _ in range(count)])
        return [life for order in taken for life in order.lives]

    async def in_state(self, state: JobState, **fields: Any) -> Life:
        """A life that came to `state` on its ordinary way."""
        (life,) = await self.queued(1, **fields)
        number = next(self._numbers)
        return await self.tell(life.job.job_id, *self._road_to(state, number))

    async def backing_off(self, **fields: Any) -> Life:
        """Queued again after a refusal: due a little later."""
        (life,) = await self.queued(1, **fields)
        refused = Answered(1, Refused(Refusal.SERVER_ERROR, "HTTP 500"))
        return await self.tell(life.job.job_id, Claimed(_token_hash(next(self._numbers))), refused)

    def _road_to(self, state: JobState, number: int) -> list[News]:
        claimed, accepted = Claimed(_token_hash(number)), Answered(1, Accepted(f"task-{number}"))
        match state:
            case JobState.QUEUED:
                return []
            case JobState.SUBMITTING:
                return [claimed]
            case JobState.UNCONFIRMED:
                return [claimed, Answered(1, Unproven("timed out"))]
            case JobState.RUNNING:
                return [claimed, accepted]
            case JobState.SUCCEEDED:
                return [claimed, accepted, self.check(f"task-{number}", Succeeded(("https://images/1.jpeg",), 5))]
            case JobState.FAILED:
                return [claimed, accepted, self.check(f"task-{number}", TaskFailed("no luck", 0))]
            case JobState.CANCELED:
                return [CancelAsked()]

    @staticmethod
    def check(task_id: str, reading: StillGoing | Succeeded | TaskFailed, number: int = 1) -> Checked:
        return Checked(number, task_id, START, reading)


def succeeded(task_id: str, number: int = 1) -> Checked:
    return Factory.check(task_id, Succeeded(("https://images/1.jpeg",), 5), number)


def rejected(number: int = 1) -> Answered:
    return Answered(number, Rejected("bad prompt"))


def moved(life: Life, **changes: Any) -> Life:
    """The life with another job: for handing in nonsense."""
    return life.with_job(replace(life.job, **changes))


def _token_hash(number: int) -> bytes:
    return hashlib.sha256(f"token-of-{number}".encode()).digest()
