"""Whatever happens, in whatever order: the promises hold after every step, and every job is settled at the end.

More than the default: GATEWAY_MACHINE_EXAMPLES=2000 GATEWAY_MACHINE_STEPS=80 GATEWAY_MACHINE_WALKS=500 pytest tests/machine
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.emulator.callback import OutgoingCallback
from app.emulator.options import EmulatorOptions
from app.emulator.world import World
from app.job_view import job_view
from app.lifecycle import gate as gates
from app.lifecycle.gate import GatePolicy
from app.lifecycle.job import Job, Life, Submission
from app.lifecycle.news import CancelAsked
from app.lifecycle.ownership import hash_token
from app.lifecycle.policy import Policy
from app.lifecycle.states import NOT_ACCEPTED, READ_TO_THE_END, ErrorCode, JobState, Outcome
from app.lifecycle.transitions import Effect
from app.storage.receipts import CallbackOutcome
from tests.machine.simulated_gateway import API_KEY, PUBLIC, SimulatedClock, SimulatedGateway, fresh_database
from tests.machine.straight_transport import StraightTransport
from tests.machine.surprises import SURPRISES

MAX_IN_FLIGHT = 4
POLICY = Policy(
    queue_deadline=timedelta(hours=1),
    submit_attempts=4,
    unconfirmed_wait=timedelta(minutes=3),
    job_deadline=timedelta(minutes=6),
    hard_deadline=timedelta(minutes=30),
    callback_grace=timedelta(seconds=15),
    lost_after=timedelta(minutes=2),
    lost_count=4,
)
GATE = GatePolicy(
    max_in_flight=MAX_IN_FLIGHT,
    submit_rate=100,
    status_rate=100,
    misses_to_shut=8,
    failures_to_open=3,
    account_pause_max=timedelta(minutes=5),
    pause_max=timedelta(minutes=2),
)
#: From when everything is well again until everything must be over: queue and hard deadline, and some pauses.
PATIENCE = timedelta(hours=4)

MARKERS = (
    "callback-lost", "callback-late=20", "callback-late=400", "callback-double", "callback-before-answer",
    "callback-forged", "callback-strange-body", "answer-lost", "answer-hang", "drop-before-accept", "submit-500",
    "submit-500-accepted", "submit-502-html", "submit-502-accepted", "submit-503", "submit-429=7", "submit-402",
    "submit-403", "submit-401", "code-mismatch", "task-id-in-error", "status-404=20", "status-404=100",
    "status-500=60", "status-429=30", "status-html=30", "status-hang", "status-lag=20", "numbers-as-strings",
    "response-as-string", "response-null=10", "never-ends", "content-failure", "failure-billed", "forgotten=0",
    "forgotten=90", "run=1", "run=120", "run=700",
)  # fmt: skip
#: The upstream lies in these: a documented "not accepted", and yet there is a task. Nobody can know, and it is paid twice.
LIES = "submit-500-accepted"
NOT_READABLE = ("forgotten", "never-ends", "status-hang")

markers = st.lists(st.sampled_from(MARKERS), max_size=2, unique=True)
picks = st.integers(0, 1000)
steps = st.sampled_from([0.5, 1, 2, 3, 5, 15, 31, 61, 61, 130, 400])
outages = st.sampled_from([None, "500", "502", "refuse"])


class GatewayMachine(RuleBasedStateMachine):
    """A gateway, its upstream, the callers, the operators, the network and the power, all acting at once."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.runner = self.stack.enter_context(asyncio.Runner())
        self.clock = SimulatedClock()
        self.accepted: dict[UUID, str] = {}  #: job id → prompt
        self.keys: dict[str, UUID] = {}
        self.settled: dict[UUID, Job] = {}
        self.closed: dict[tuple[UUID, int], Submission] = {}
        self.on_the_way: list[OutgoingCallback] = []  #: callbacks that the upstream sent and we have not received
        self.named: set[str] = set()  #: task ids that true callbacks told us, to a live token
        self.paused = False
        self.sick = ""  #: why nothing more is to be concluded
        self.lives: dict[UUID, Life] = {}
        SURPRISES.clear()

    @initialize(
        seed=st.integers(0, 2**16),
        echo=st.booleans(),
        retries=st.integers(0, 1),
        first=st.lists(markers, min_size=1, max_size=4),
    )
    def begin(self, seed: int, echo: bool, retries: int, first: list[list[str]]) -> None:
        self.echo = echo
        options = EmulatorOptions(
            keys={API_KEY: 10_000},
            pending_seconds=2,
            run_seconds=(3, 40),
            callback_delay=1,
            callback_retries=retries,
            seed=seed,
            echo_callback_url=echo,
        )
        self.world = World(options, self.clock.unix)
        self.transport = StraightTransport(self.world, self._before_submit, self._call_back_first)
        path = self.stack.enter_context(fresh_database())
        self.gateway = SimulatedGateway(path, self.clock, self.transport, POLICY, GATE)
        for wanted in first:
            self.submit(wanted, with_key=False)

    # --- the callers ---

    @rule(wanted=markers, with_key=st.booleans())
    def submit(self, wanted: list[str], with_key: bool) -> None:
        number = len(self.accepted)
        prompt = f"picture {number} " + " ".join(f"[[{marker}]]" for marker in wanted)
        key = f"key-{number}" if with_key else None
        inserted = self._do(self.gateway.accept(prompt, key))
        assert inserted.created
        self.accepted[inserted.lives[0].job.job_id] = prompt
        if key:
            self.keys[key] = inserted.lives[0].job.job_id

    @precondition(lambda self: self.keys)
    @rule(pick=picks)
    def submit_again(self, pick: int) -> None:
        key = sorted(self.keys)[pick % len(self.keys)]
        again = self._do(self.gateway.accept(self.accepted[self.keys[key]], key))
        assert not again.created
        assert again.lives[0].job.job_id == self.keys[key]

    @precondition(lambda self: self.accepted)
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        job_id = list(self.accepted)[pick % len(self.accepted)]
        change = self._do(self.gateway.settlement.record(job_id, CancelAsked()))
        assert change is not None
        if job_id in self.settled:
            assert change.effect in (Effect.REFUSED, Effect.STALE)
        else:
            assert change.after.job.cancel_requested

    # --- the duties ---

    @rule()
    def dispatch(self) -> None:
        self._do(self._dispatch())

    @rule()
    def reconcile(self) -> None:
        self._do(self._reconcile())

    @rule(step=steps)
    def work_for_a_while(self, step: float) -> None:
        self.clock.advance(timedelta(seconds=step))
        self._do(self._pass())

    @rule()
    def keep_house(self) -> None:
        self._do(self.gateway.housekeeping.sweep())

    @rule(fates=st.lists(st.sampled_from(["plain", "held"]), min_size=1, max_size=4), checks=st.booleans())
    def work_with_slow_answers(self, fates: list[Any], checks: bool) -> None:
        self.transport.fates = fates
        self._do(self._reconcile() if checks else self._dispatch())
        self.transport.fates = []

    @precondition(lambda self: self.transport.holds)
    @rule(newest_first=st.booleans())
    def slow_answers_arrive(self, newest_first: bool) -> None:
        self._do(self._release(newest_first=newest_first))

    @rule(
        fates=st.lists(st.sampled_from(["plain", "held", "killed-before", "killed-after"]), max_size=4),
        checks=st.booleans(),
    )
    def crash(self, fates: list[Any], checks: bool) -> None:
        """The process dies in the middle of its work, and is started again."""
        self.transport.fates = [*fates, *["killed-before"] * 20]
        self._do(self._reconcile() if checks else self._dispatch())
        self.transport.fates = []
        self._do(self._crash())

    # --- the upstream's callbacks ---

    @rule(
        fate=st.sampled_from(["all", "all", "newest first", "twice", "lost", "one"]),
    )
    def callbacks_come(self, fate: str) -> None:
        self.on_the_way += self.world.take_due_callbacks()
        coming, self.on_the_way = self.on_the_way, []
        if fate == "one":
            coming, self.on_the_way = coming[-1:], coming[:-1]
        elif fate == "newest first":
            coming.reverse()
        elif fate == "twice":
            coming = [*coming, *coming]
        elif fate == "lost":
            for callback in coming:
                self.world.note_callback(callback, http_status=None, error="lost")
            return
        self._do(self._receive(coming))

    @precondition(lambda self: self.lives and self.world.account()["tasks"])
    @rule(pick=picks, other=picks, what=st.sampled_from(["other task", "lost task", "made up", "nothing"]))
    def a_forged_callback_comes(self, pick: int, other: int, what: str) -> None:
        """Somebody learnt a callback's address."""
        tasks = self._tasks()
        untold = [task for task in tasks if task["task_id"] not in self.transport.told_by_answer] or tasks
        victims = untold if what == "lost task" else tasks
        victim = victims[pick % len(victims)]
        named = {
            "other task": tasks[other % len(tasks)]["task_id"],
            "lost task": untold[other % len(untold)]["task_id"],
            "made up": f"forged-{other}",
        }.get(what)
        if named in [task["task_id"] for task in tasks if task["prompt"] == victim["prompt"]] and not self.echo:
            return  # of requests that look the same nobody can tell which is whose: the contract says so
        if named == victim["task_id"]:
            return  # that one is true
        body = f'{{"data": {{"task_id": "{named}", "status": "SUCCESS"}}}}' if named else "finished"
        self._do(self.gateway.call_back(victim["callback_url"], body.encode()))

    @rule(token=st.sampled_from(["x", "A" * 43, "../jobs", ""]))
    def a_callback_without_a_token_comes(self, token: str) -> None:
        outcome = self._do(self.gateway.call_back(f"{PUBLIC}/callbacks/{token}", b"{}"))
        assert outcome is CallbackOutcome.UNKNOWN

    # --- the operators, the account and the network ---

    @rule(step=steps)
    def time_passes(self, step: float) -> None:
        self.clock.advance(timedelta(seconds=step))

    @rule(on=st.booleans())
    def pause(self, on: bool) -> None:
        now = self.clock.now
        how: Callable[..., gates.Gate] = (
            (lambda g, _: gates.pause(g, "operator", now)) if on else (lambda g, _: gates.resume(g))
        )
        self._do(self.gateway.gate_store.change(how))
        self.paused = on

    @rule(credits_left=st.sampled_from([0, 5, 12, 10_000]))
    def credits_change(self, credits_left: int) -> None:
        self.world.set_credits(API_KEY, credits_left)

    @rule(good=st.booleans())
    def the_key_changes(self, good: bool) -> None:
        self._set_key(good=good)

    @rule(submits=outages, checks=outages, unreachable=st.booleans())
    def an_outage(self, submits: str | None, checks: str | None, unreachable: bool) -> None:
        self.world.set_outage("submit", submits)
        self.world.set_outage("status", checks)
        self.transport.unreachable = unreachable

    @rule()
    def the_outage_ends(self) -> None:
        self._heal_network()

    # --- what must always hold ---

    @invariant()
    def promises_hold(self) -> None:
        if not hasattr(self, "gateway"):
            return
        self.lives = self._do(self.gateway.all_lives())
        assert not SURPRISES, SURPRISES
        assert not self.transport.violations, self.transport.violations
        assert self.lives.keys() == self.accepted.keys(), "every accepted job exists, and no other"
        for job_id, life in self.lives.items():
            self._settled_stays(job_id, life)
            _law_of(life)
        self._slots_are_respected()
        self._ids_are_true()

    def _settled_stays(self, job_id: UUID, life: Life) -> None:
        if job_id in self.settled:
            assert life.job == self.settled[job_id], "a settled job never changes"
        elif life.job.is_settled:
            self.settled[job_id] = life.job
        for s in life.submissions:
            if s.outcome in READ_TO_THE_END:
                was = self.closed.setdefault((job_id, s.number), s)
                assert (s.outcome, s.credits, s.task_id) == (was.outcome, was.credits, was.task_id), "closed books stay"

    def _slots_are_respected(self) -> None:
        """What runs upstream and is not written off; what the upstream denied to have accepted, nobody can count."""
        by_token = self._submissions()
        running = [
            task
            for task in self._tasks()
            if task["status"] in ("PENDING", "IN_PROGRESS")
            and LIES not in task["faults"]
            and by_token[_token_hash(task)].outcome is not Outcome.WRITTEN_OFF
        ]
        assert len(running) <= MAX_IN_FLIGHT

    def _ids_are_true(self) -> None:
        """A submission has the id of the task that was made for it, whatever callbacks said."""
        by_id = {task["task_id"]: task for task in self._tasks()}
        seen: Counter[str] = Counter()
        for token_hash, s in self._submissions().items():
            if s.task_id is not None:
                seen[s.task_id] += 1
                assert s.task_id in by_id, "nobody but the upstream makes task ids"
                assert _token_hash(by_id[s.task_id]) == token_hash, "the task of another submission"
        assert all(count == 1 for count in seen.values())

    def teardown(self) -> None:
        try:
            if hasattr(self, "gateway"):
                self._do(self._come_to_rest(), seconds=60)
                self.promises_hold()
                self._books_are_right()
        finally:
            if hasattr(self, "gateway"):
                self.runner.run(self.gateway.crash())
                self.runner.run(self.gateway.database.dispose())
            self.stack.close()

    # --- the end ---

    async def _come_to_rest(self) -> None:
        """All is well again, and time goes by: nobody helps any more."""
        self._heal_network()
        self._set_key(good=True)
        self.world.set_credits(API_KEY, 10_000)
        await self._release(newest_first=False)
        if self.paused:
            await self.gateway.gate_store.change(lambda gate, _now: gates.resume(gate))
        until = self.clock.now + PATIENCE
        while True:
            await self._receive([*self.on_the_way, *self.world.take_due_callbacks()])
            self.on_the_way = []
            await self._pass()
            lives = (await self.gateway.all_lives()).values()
            if all(_is_at_rest(life) for life in lives):
                return
            stuck = [life for life in lives if not _is_at_rest(life)]
            assert self.clock.now < until, ("never at rest", stuck, await self.gateway.gate_store.read())
            self.clock.advance(await self._until_something_is_due(stuck))

    async def _until_something_is_due(self, stuck: list[Life]) -> timedelta:
        gate = await self.gateway.gate_store.read()
        callback_at = self.world.next_callback_at()
        moments = [
            gate.shut_until, gate.probe_until, gate.check_probe_at, gate.submit_tat, gate.check_tat,
            *(life.job.due_at for life in stuck),
            *(s.due_at for life in stuck for s in life.submissions),
        ]  # fmt: skip
        waits = [m - self.clock.now for m in moments if m is not None]
        if callback_at is not None:
            waits.append(timedelta(seconds=callback_at - self.clock.unix()))
        return min((w for w in waits if w > timedelta(milliseconds=10)), default=timedelta(minutes=1)) + timedelta(
            milliseconds=1
        )

    def _books_are_right(self) -> None:
        """The emulator's account is the judge."""
        by_token, paid = self._submissions(), 0
        tasks_of_job: Counter[str] = Counter()
        for task in self._tasks():
            s = by_token[_token_hash(task)]
            known = s.task_id == task["task_id"]
            assert known or task["task_id"] not in self.transport.told_by_answer, ("told, and not on the books", task, s)
            if known and s.outcome in READ_TO_THE_END:
                assert s.credits == task["consumed_credits"], (task, s)
                paid += task["consumed_credits"]
            elif known or task["task_id"] in self.named:
                self._written_off_for_a_reason(task, s)
            else:
                lied = LIES in task["faults"] and s.outcome is Outcome.RELEASED
                assert lied or s.outcome is Outcome.WRITTEN_OFF, ("unknown, and not shown as such", task, s)
            if LIES not in task["faults"]:
                tasks_of_job[task["prompt"]] += 1
        assert all(count == 1 for count in tasks_of_job.values()), ("paid twice", tasks_of_job)
        assert sum(life.credits.consumed for life in self.lives.values()) == paid
        for life in self.lives.values():
            self._ended_truly(life)

    def _written_off_for_a_reason(self, task: dict[str, Any], s: Submission) -> None:
        """We knew of it, and yet its credits were never read: only since nobody could."""
        if any(fault in task["faults"] for fault in NOT_READABLE):
            return
        assert task["task_id"] not in self.transport.read_to_the_end, ("read, and not on the books", task, s)
        assert s.outcome is Outcome.WRITTEN_OFF or s.outcome in NOT_ACCEPTED, (task, s)
        assert s.closed_at is not None
        if s.outcome is Outcome.WRITTEN_OFF:
            assert s.closed_at >= s.sent_at + POLICY.hard_deadline, (task, s)

    def _ended_truly(self, life: Life) -> None:
        tasks = {task["task_id"]: task for task in self._tasks() if task["prompt"] == life.job.request.prompt}
        job = life.job
        if job.state is JobState.SUCCEEDED:
            assert list(job.images) in [[task["image_url"]] for task in tasks.values() if task["status"] == "SUCCESS"]
        if job.error and job.error.code is ErrorCode.GENERATION_FAILED:
            assert any(task["status"] == "FAILED" for task in tasks.values())
        if job.error and job.error.code is ErrorCode.UPSTREAM_UNAVAILABLE:
            assert all(LIES in task["faults"] for task in tasks.values()), "it was accepted"
        if job.error and job.error.code is ErrorCode.UPSTREAM_REJECTED:
            assert not tasks
        assert job.state is not JobState.CANCELED or job.cancel_requested

    # --- the pieces ---

    def _do(self, coroutine: Coroutine[Any, Any, Any], seconds: float = 60) -> Any:
        async def in_time() -> Any:
            async with asyncio.timeout(seconds):
                return await coroutine

        return self.runner.run(in_time())

    async def _dispatch(self) -> None:
        await self.gateway.dispatcher.sweep()
        await self.transport.quiet(self.gateway.at_work)

    async def _reconcile(self) -> None:
        await self.gateway.reconciler.sweep()
        await self.transport.quiet(self.gateway.at_work)

    async def _pass(self) -> None:
        await self._dispatch()
        await self._reconcile()
        await self.gateway.housekeeping.sweep()

    async def _release(self, *, newest_first: bool) -> None:
        self.transport.release(newest_first=newest_first)
        await self.transport.quiet(self.gateway.at_work)

    async def _crash(self) -> None:
        await self.gateway.crash()

    async def _receive(self, coming: list[OutgoingCallback]) -> None:
        """Callbacks that come at the same moment."""
        outcomes = await asyncio.gather(*(self.gateway.call_back(c.url, c.body) for c in coming))
        for callback, outcome in zip(coming, outcomes, strict=True):
            self.world.note_callback(callback, http_status=404 if outcome is CallbackOutcome.UNKNOWN else 204)
            if callback.kind in ("true", "double") and outcome is CallbackOutcome.CANDIDATE:
                self.named.add(callback.task_id)

    async def _call_back_first(self, task_id: str) -> None:
        coming = self.world.take_due_callbacks()
        self.on_the_way += [c for c in coming if c.task_id != task_id]
        await self._receive([c for c in coming if c.task_id == task_id])

    async def _before_submit(self, body: dict[str, Any]) -> None:
        """The one moment that costs money: the intent is on disk, and nothing else of the job may be running."""
        token_hash = hash_token(body["callback_url"].rpartition("/")[2])
        lives = (await self.gateway.all_lives()).values()
        found = [(life, s) for life in lives for s in life.submissions if s.token_hash == token_hash]
        if len(found) != 1:
            self.transport.violations.append("sent before its intent was on disk")
            return
        life, s = found[0]
        if (
            s.outcome is not Outcome.OPEN
            or life.job.is_settled
            or (life.job.cancel_requested and life.job.state is JobState.QUEUED)
        ):
            self.transport.violations.append(f"sent in vain: {life}")
        if any(not o.proven_unaccepted for o in life.submissions if o.number < s.number):
            self.transport.violations.append(f"sent again without proof: {life}")

    def _set_key(self, *, good: bool) -> None:
        if good:
            left = self.world.account()["keys"][API_KEY]["credits_left"]  # type: ignore[index]
            self.world.issue_key(API_KEY, left)
        else:
            self.world.withdraw_key(API_KEY)

    def _heal_network(self) -> None:
        self.world.set_outage("submit", None)
        self.world.set_outage("status", None)
        self.transport.unreachable = False

    def _tasks(self) -> list[dict[str, Any]]:
        return self.world.account()["tasks"]  # type: ignore[return-value]

    def _submissions(self) -> dict[bytes, Submission]:
        return {s.token_hash: s for life in self.lives.values() for s in life.submissions}


def _law_of(life: Life) -> None:
    """What is true of every job in every state."""
    job, view = life.job, job_view(life, "http://gateway.invalid")
    assert [s.number for s in life.submissions] == list(range(1, len(life.submissions) + 1))
    assert job.submission == len(life.submissions)
    assert (view.finished_at is not None) == job.is_settled
    assert (view.links.cancel is None) == job.is_settled
    assert (job.due_at is not None) == (job.state is JobState.QUEUED)
    for s in life.submissions:
        if s.is_open or s.candidates:
            waits_for_another = job.state is JobState.RUNNING and s.task_id is None and not s.candidates
            assert s.due_at is not None or waits_for_another, f"nobody would look again: {s}"
    match job.state:
        case JobState.QUEUED:
            assert view.credits.reserved == 5
            assert not any(s.is_open for s in life.submissions)
        case JobState.SUBMITTING | JobState.UNCONFIRMED:
            assert life.current is not None
            assert life.current.is_open
        case JobState.RUNNING:
            assert any(s.is_open and s.task_id for s in life.submissions)
        case JobState.SUCCEEDED:
            assert view.images
            assert view.error is None
            assert view.upstream.task_id
            assert view.upstream.status == "SUCCESS"
            assert view.completed_via in ("callback", "poll")
        case JobState.FAILED:
            assert view.error is not None
            assert not view.images
        case JobState.CANCELED:
            assert view.cancel_requested
    if job.is_settled:
        assert view.credits.reserved == 0
        assert view.credits.unresolved == 5 * sum(s.is_open for s in life.submissions)


def _is_at_rest(life: Life) -> bool:
    return life.job.is_settled and not any(s.is_open or s.candidates for s in life.submissions)


def _token_hash(task: dict[str, Any]) -> bytes:
    return hash_token(task["callback_url"].rpartition("/")[2])


TestGatewayMachine = GatewayMachine.TestCase
TestGatewayMachine.settings = settings(
    max_examples=int(os.environ.get("GATEWAY_MACHINE_EXAMPLES", "10")),
    stateful_step_count=int(os.environ.get("GATEWAY_MACHINE_STEPS", "40")),
    deadline=None,
    derandomize="GATEWAY_MACHINE_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@pytest.mark.parametrize("seed", range(int(os.environ.get("GATEWAY_MACHINE_WALKS", "3"))))
def test_a_long_life_of_many_mishaps_ends_well(seed: int) -> None:
    """Longer and busier than what Hypothesis draws; the same walk for the same seed."""
    _walk(Random(seed), steps=100)


def _walk(dice: Random, steps: int) -> None:
    machine = GatewayMachine()
    try:
        machine.begin(dice.randrange(2**16), dice.random() < 0.8, dice.randrange(2), [_some_markers(dice) for _ in range(3)])
        for _ in range(steps):
            _step(machine, dice)
            machine.promises_hold()
    finally:
        machine.teardown()


def _step(machine: GatewayMachine, dice: Random) -> None:
    pick, yes, step = dice.randrange(1000), dice.random() < 0.5, dice.choice([0.5, 1, 2, 3, 5, 15, 31, 61, 130])
    fates = dice.choices(["plain", "held", "killed-before", "killed-after"], k=dice.randrange(4))
    match dice.choices(
        ["submit", "work", "callbacks", "slow", "arrive", "crash", "cancel", "forge", "account", "outage", "heal", "again"],
        [16, 30, 18, 8, 8, 5, 4, 4, 3, 2, 8, 2],
    )[0]:
        case "submit" if len(machine.accepted) < 40:
            machine.submit(_some_markers(dice), with_key=yes)
        case "callbacks":
            machine.callbacks_come(dice.choice(["all", "all", "newest first", "twice", "lost", "one"]))
        case "slow":
            machine.work_with_slow_answers(dice.choices(["plain", "held"], k=3), checks=yes)
        case "arrive":
            machine.slow_answers_arrive(newest_first=yes)
        case "crash":
            machine.crash(fates, checks=yes)
        case "cancel":
            machine.cancel(pick)
        case "forge" if machine._tasks():
            machine.a_forged_callback_comes(
                pick, dice.randrange(1000), dice.choice(["other task", "lost task", "lost task", "made up", "nothing"])
            )
        case "account":
            dice.choice([
                lambda: machine.pause(on=yes),
                lambda: machine.credits_change(dice.choice([0, 5, 12, 10_000])),
                lambda: machine.the_key_changes(good=yes),
            ])()  # fmt: skip
        case "outage":
            machine.an_outage(*dice.choices([None, "500", "502", "refuse"], k=2), unreachable=dice.random() < 0.2)
        case "heal":
            machine.the_outage_ends()
            machine.credits_change(10_000)
            machine.the_key_changes(good=True)
            machine.pause(on=False)
        case "again" if machine.keys:
            machine.submit_again(pick)
        case _:
            machine.work_for_a_while(step)


def _some_markers(dice: Random) -> list[str]:
    return dice.sample(MARKERS, k=dice.choice([0, 0, 1, 1, 2]))
