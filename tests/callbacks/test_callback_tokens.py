"""A token that is not good costs a lookup, as a good one does, and nothing more; nothing tells why it is not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import event

from app.callbacks.receive import READ_AT_ONCE_MAX, CallbackReceiver
from app.lifecycle.states import JobState
from app.storage.database import Database
from app.storage.receipts import CallbackOutcome
from tests.acceptance.stage import Stage, client
from tests.databases import OpenDatabase
from tests.storage.factory import Factory, HandClock
from tests.storage.watch import statements_of

UNKNOWN = "A" * 43
MALFORMED = ("x", "", "A" * 42, "A" * 44, "A" * 8000, "a/b", "../" + "A" * 40, "ключ", "\0", "%", "A" * 42 + "=")
GOOD, OLD = "token-of-1", "token-of-2"  # as the factory makes them
BODY = b'{"data":{"task_id":"task-1"}}'


@pytest.fixture
async def tokens(factory: Factory, clock: HandClock) -> dict[str, str]:
    """One of each kind; the job of the old one is over and its time too."""
    running, settled = await factory.in_state(JobState.RUNNING), await factory.in_state(JobState.SUCCEEDED)
    assert running.submissions[0].sent_at == settled.submissions[0].sent_at
    clock.now = settled.submissions[0].sent_at + factory.policy.hard_deadline
    fresh = await factory.in_state(JobState.RUNNING)
    assert fresh.submissions[0].task_id == "task-3"
    return {"good": "token-of-3", "old": OLD, "unknown": UNKNOWN, **{f"malformed {t[:10]!r} {len(t)}": t for t in MALFORMED}}


async def test_every_kind_of_token_is_looked_up_by_the_same_statements_and_only_read(
    receiver: CallbackReceiver, database: Database, tokens: dict[str, str]
) -> None:
    await looked_up(receiver, database, UNKNOWN)  # connections are made now
    found = {kind: await looked_up(receiver, database, token) for kind, token in tokens.items()}
    assert {kind for kind, (known, _) in found.items() if known} == {"good"}
    expected = found["unknown"][1]
    assert any("token_hash" in step for step in expected)
    assert "COMMIT" not in expected
    assert {kind: steps for kind, (_, steps) in found.items() if steps != expected} == {}
    with steps_of(database) as steps:
        assert await receiver.receive(tokens["good"], "application/json", BODY) is CallbackOutcome.POKED
    assert "COMMIT" in steps, "this test could not tell who writes"


async def test_a_token_whose_time_ends_after_it_was_looked_up_is_unknown(
    receiver: CallbackReceiver, factory: Factory, clock: HandClock
) -> None:
    life = await factory.in_state(JobState.SUCCEEDED)
    assert await receiver.knows("token-of-1")
    clock.now = life.submissions[0].sent_at + factory.policy.hard_deadline
    assert await receiver.receive("token-of-1", None, BODY) is CallbackOutcome.UNKNOWN


async def test_a_task_that_a_large_body_names_is_found(receiver: CallbackReceiver, factory: Factory) -> None:
    life = await factory.in_state(JobState.UNCONFIRMED)
    body = json.dumps({"data": {"task_id": "task-named-at-length", "response": ["x" * READ_AT_ONCE_MAX]}}).encode()
    assert await receiver.receive("token-of-1", None, body) is CallbackOutcome.CANDIDATE
    assert (await factory.find(life.job.job_id)).submissions[0].candidates == ("task-named-at-length",)


async def test_only_a_hash_of_the_token_reaches_the_database(receiver: CallbackReceiver, database: Database) -> None:
    with statements_of(database) as sent:
        assert not await receiver.knows(UNKNOWN)
        await receiver.receive(UNKNOWN, None, BODY)
    assert sent
    assert UNKNOWN not in repr(sent)


async def test_tokens_that_arrive_together_share_one_lookup(receiver: CallbackReceiver, database: Database) -> None:
    await receiver.knows(UNKNOWN)
    with steps_of(database) as steps:
        await asyncio.gather(*(receiver.knows(f"{number}") for number in range(50)))
    assert sum("token_hash" in step for step in steps) <= 2


async def test_bad_tokens_wait_for_nobody_who_writes(stage: Stage, database_url: str, open_database: OpenDatabase) -> None:
    async with open_database(database_url).writing(), asyncio.timeout(20):
        answer = await stage.api.post(f"/callbacks/{UNKNOWN}", content=BODY)
    assert answer.status_code == 404


async def test_the_answers_to_bad_tokens_are_the_same_bytes(stage: Stage) -> None:
    answers = set()
    for token in (UNKNOWN, "x", "A" * 42, "A" * 44, "A" * 8000, "a/b", "", "x/", "%00", "%D0%BA", "%FF", "..%2Fx"):
        answer = await stage.api.post(f"/callbacks/{token}", content=BODY, headers={"X-Request-ID": "same"})
        fixed = {name: value for name, value in answer.headers.items() if name != "date"}
        answers.add((answer.status_code, tuple(sorted(fixed.items())), answer.content))
    [(status, _, _)] = answers
    assert status == 404


async def test_the_body_is_read_whatever_the_token(stage: Stage) -> None:
    await stage.accept()
    good = (await callback_url(stage)).removeprefix(stage.url)
    async with client(stage.url, None) as upstream:
        for path in (good, f"/callbacks/{UNKNOWN}", "/callbacks/x", "/callbacks/a/b"):
            too_long = await upstream.post(path, content=b"x" * (1024 * 1024 + 1))
            assert (too_long.status_code, too_long.json()["code"]) == (413, "content_too_large"), path


async def looked_up(receiver: CallbackReceiver, database: Database, token: str) -> tuple[bool, list[str]]:
    with steps_of(database) as steps:
        known = await receiver.knows(token)
    return known, steps


class steps_of:  # noqa: N801 - reads as a function
    """Every statement and every end of a transaction that the database is sent meanwhile, in order."""

    def __init__(self, database: Database) -> None:
        self._engines = database.engines
        self._listeners: dict[str, Any] = {
            "before_cursor_execute": lambda _c, _cursor, statement, *_: self.steps.append(statement),
            "begin": lambda _c: self.steps.append("BEGIN"),
            "commit": lambda _c: self.steps.append("COMMIT"),
            "rollback": lambda _c: self.steps.append("ROLLBACK"),
        }
        self.steps: list[str] = []

    def __enter__(self) -> list[str]:
        for engine in self._engines:
            for name, listener in self._listeners.items():
                event.listen(engine, name, listener)
        return self.steps

    def __exit__(self, *_: object) -> None:
        for engine in self._engines:
            for name, listener in self._listeners.items():
                event.remove(engine, name, listener)


async def callback_url(stage: Stage) -> str:
    """Where the upstream was told to call back, once it was."""
    async with asyncio.timeout(60):
        while not stage.tasks():
            await stage.api.get("/healthz")
    url: str = stage.tasks()[0]["callback_url"]
    return url
