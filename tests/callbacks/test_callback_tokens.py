"""A token that is not good costs what a good one costs until the lookup has found it out, and nothing tells why it is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import event

from app.callbacks.receive import Receiver
from app.lifecycle.gate import GatePolicy
from app.lifecycle.states import JobState
from app.metrics import Metrics
from app.settlement.settle import Settlement, Wakes
from app.settlement.watchers import Watchers
from app.storage.database import Database
from app.storage.gate_row import GateStore
from app.storage.lives import LifeStore
from app.storage.receipts import CallbackOutcome, ReceiptStore
from tests.acceptance.stage import Stage, client
from tests.storage.factory import Factory, HandClock
from tests.storage.watch import statements_of

UNKNOWN = "A" * 43
MALFORMED = ("x", "", "A" * 42, "A" * 44, "A" * 8000, "a/b", "../" + "A" * 40, "ключ", "\0", "%", "A" * 42 + "=")
GOOD, OLD = "token-of-1", "token-of-2"  # as the factory makes them
BODY = b'{"data":{"task_id":"task-1"}}'


@pytest.fixture
def receiver(factory: Factory) -> Receiver:
    lives = LifeStore(factory.database)
    gate, watchers = GateStore(factory.database), Watchers(lives)
    settlement = Settlement(lives, gate, factory.policy, GatePolicy(), Wakes(), watchers, Metrics())
    return Receiver(ReceiptStore(factory.database), settlement)


@pytest.fixture
async def tokens(factory: Factory, clock: HandClock) -> dict[str, str]:
    """One of each kind; the job of the old one is over and its time too."""
    running, settled = await factory.in_state(JobState.RUNNING), await factory.in_state(JobState.SUCCEEDED)
    assert running.submissions[0].sent_at == settled.submissions[0].sent_at
    clock.now = settled.submissions[0].sent_at + factory.policy.hard_deadline
    fresh = await factory.in_state(JobState.RUNNING)
    assert fresh.submissions[0].task_id == "task-3"
    return {"good": "token-of-3", "old": OLD, "unknown": UNKNOWN, **{f"malformed {t[:10]!r} {len(t)}": t for t in MALFORMED}}


async def test_every_kind_of_bad_token_takes_the_same_statements_and_a_good_one_begins_with_them(
    receiver: Receiver, database: Database, tokens: dict[str, str]
) -> None:
    await taken(receiver, database, UNKNOWN)  # connections are made now
    bad = {kind: await taken(receiver, database, token) for kind, token in tokens.items() if kind != "good"}
    outcomes = {kind: outcome for kind, (outcome, _) in bad.items()}
    assert set(outcomes.values()) == {CallbackOutcome.UNKNOWN}, outcomes
    expected = bad["unknown"][1]
    assert any("token_hash" in step for step in expected)
    assert {kind: steps for kind, (_, steps) in bad.items() if steps != expected} == {}
    outcome, steps = await taken(receiver, database, tokens["good"])
    assert outcome is CallbackOutcome.POKED
    looked_up = next(number for number, step in enumerate(expected) if "token_hash" in step) + 1
    assert steps[:looked_up] == expected[:looked_up]
    assert steps != expected, "this test could not tell them apart"


async def test_only_a_hash_of_the_token_reaches_the_database(receiver: Receiver, database: Database) -> None:
    with statements_of(database) as sent:
        await receiver.receive(UNKNOWN, None, BODY)
    assert sent
    assert UNKNOWN not in repr(sent)


async def test_bad_tokens_that_arrive_together_share_one_transaction(receiver: Receiver, database: Database) -> None:
    await receiver.receive(UNKNOWN, None, BODY)
    with steps_of(database) as steps:
        await asyncio.gather(*(receiver.receive(f"{number}", None, BODY) for number in range(50)))
    assert sum("token_hash" in step for step in steps) <= 2


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


async def taken(receiver: Receiver, database: Database, token: str) -> tuple[CallbackOutcome, list[str]]:
    with steps_of(database) as steps:
        outcome = await receiver.receive(token, "application/json", BODY)
    return outcome, steps


class steps_of:  # noqa: N801 - reads as a function
    """Every statement and every end of a transaction that the database is sent meanwhile, in order."""

    def __init__(self, database: Database) -> None:
        self._engines = {database._writer.sync_engine, database._reader.sync_engine}
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
