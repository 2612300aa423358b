"""Every interleaving of what can happen to one or two jobs, walked through the real `decide`, breadth first.

The world is: the lives, as the core sees them; what is true upstream, which has neither idempotency nor cancel; two workers,
each holding at most one thing in memory (a claimed submission about to be sent, an answer, a check's reading, or a timer that
was seen to run out, not yet recorded), which a crash drops; and how many callbacks were forged. Leases and deadlines may run
out at any moment that the real schedule allows: stopped processes, jumping clocks and slow networks are all a step not taken
yet.

What must never happen:

    DUP     sent again, or accepted a second time, without proof that the first was not accepted
    DROP    a real task id reached us, and the job failed without it, other than at a hard deadline after a look that brought
            nothing, or at an answered last check of every task
    CANCEL  claimed after a cancel was asked for
    MONEY   credits were used under an id that we were told, and when all is quiet they are on no submission
    WRONG   another job's task was adopted, or its pictures taken
    FINAL   a settled job changed
    OVER    more tasks are open upstream than there are permits
    POKE    the record of a check erased a callback's "look now", or failed the job in spite of it
    PROOF   a proof that nothing was accepted was recorded, and is nowhere
    LAW     a row that no table would take, an arrow that the chart does not have, figures that do not add up
    STUCK   timers and claims alone (no callbacks, checks failing) cannot settle the job and close its books
    SHUT    the same with the gate shut: timers alone cannot

Instants are abstracted: after every step a life is put back to one canonical age, and each step is tried at those instants
that make a difference (young, in time, after the deadline, after the hard deadline).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.lifecycle import news as n
from app.lifecycle import schedule
from app.lifecycle.answers import (
    Accepted,
    NoAnswer,
    NotFound,
    Reading,
    Refusal,
    Refused,
    Rejected,
    StillGoing,
    SubmitAnswer,
    Succeeded,
    TaskFailed,
    Unproven,
)
from app.lifecycle.gate import Gate, GatePolicy, submit_permits
from app.lifecycle.job import IllegalMoveError, Job, JobError, Life, Submission
from app.lifecycle.ownership import hash_token, is_ours
from app.lifecycle.policy import Policy
from app.lifecycle.request import PRICE, GenerationRequest
from app.lifecycle.states import EDGES, IN_FLIGHT, NOT_ACCEPTED, READ_TO_THE_END, SETTLED, JobState, Outcome
from app.lifecycle.transitions import Change, decide

Decide = Callable[[Life, n.News, datetime, Policy], Change]
Overdue = Callable[..., "n.Timer | None"]
CountHeld = Callable[[list[Life]], int]
Key = tuple[Any, ...]  #: a step that happens to one life, as a small hashable value
World = tuple[Any, ...]  #: (life ids, upstream truth, workers, forged callbacks so far)
Found = dict[str, str]  #: kind of violation → the shortest way there

SENT = datetime(2026, 1, 1, tzinfo=UTC)  #: every submission is this old
YOUNG = SENT + timedelta(seconds=10)
IN_TIME = SENT + timedelta(minutes=5)
AFTER_DEADLINE = SENT + timedelta(hours=1)
AFTER_ALL = SENT + timedelta(days=40)
CHECK_TAKES = timedelta(seconds=10)

BOGUS = "bogus"
IDLE: Key = ()
#: How surely a real task id reached us: not, by a callback, by our answer or a check. With its books a callback token closes.
CLOSED, UNSEEN, TOLD, CONFIRMED = -1, 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What may happen, and how often."""

    jobs: int = 1
    sends: int = 2  #: SUBMIT_ATTEMPTS
    cancel: bool = False
    forged: int = 0  #: forged callbacks in all, and wrong names by operators
    operator: bool = False  #: somebody asks for checks, and names tasks as candidates
    slots: int = 9  #: UPSTREAM_MAX_IN_FLIGHT
    lying: bool = False  #: the upstream may answer 500 after it accepted
    twins: bool = False  #: the jobs ask for the same, and the upstream does not echo the callback URL
    sleepers: bool = True  #: a sender, or a check of a known task, may sleep for longer than the books stay open
    forgets: bool = False  #: the upstream may lose a task that it accepted
    repeats: bool = False  #: an answer may be recorded twice, because the commit's acknowledgement was lost
    held: bool = False  #: a timer may be seen to run out long before it is recorded
    give_back: bool = True  #: a sender may let go before the request was made (once a job)
    plain: bool = (
        False  #: nothing is rejected, fails, is unknown for a while, or is checked in vain; the first job alone is forged
    )


class Model:
    """The real core in an environment. A test replaces `decide`, `overdue` or `held` to break a rule."""

    def __init__(
        self, env: Environment, *, decide: Decide = decide, overdue: Overdue = schedule.overdue, held: CountHeld | None = None
    ) -> None:
        self.env, self._decide, self._overdue = env, decide, overdue
        self._held = held or (lambda lives: sum(s.is_open for life in lives for s in life.submissions))
        self.policy = Policy(submit_attempts=env.sends)
        self.gate_policy = GatePolicy(max_in_flight=env.slots)
        self.lives: list[Life] = []
        self.arrows: set[tuple[JobState, JobState]] = set()
        self._ids: dict[Key, int] = {}
        self._known_steps: dict[Key, tuple[int, tuple[str, ...]]] = {}
        self._known_timers: dict[int, list[tuple[Key, bool]]] = {}

    # --- lives -----------------------------------------------------------------------------------------------------------

    def start(self) -> World:
        ids = tuple(self._intern(_new_life(j, same=self.env.twins)) for j in range(self.env.jobs))
        return ids, ((),) * self.env.jobs, (IDLE, IDLE), 0

    def _intern(self, life: Life) -> int:
        life = _canonical(life)
        key = _key(life)
        if key not in self._ids:
            self._ids[key] = len(self.lives)
            self.lives.append(life)
        return self._ids[key]

    def apply(self, life_id: int, step: Key) -> tuple[int, tuple[str, ...]]:
        """The life after a step, and what the step violates by itself."""
        known = self._known_steps.get((life_id, step))
        if known is None:
            known = self._known_steps[life_id, step] = self._apply(self.lives[life_id], step)
        return known

    def _apply(self, life: Life, step: Key) -> tuple[int, tuple[str, ...]]:
        before, after = life, life
        bad: list[str] = []
        for shown, news, now in self._news(life, step):
            before = shown(after)
            try:
                after = self._decide(before, news, now, self.policy).after
            except IllegalMoveError:
                return self._intern(life), ("LAW",)
            bad += _violations(before, after, news, now, self.policy)
            self.arrows |= _arrows(before.job.state, after.job.state)
        return self._intern(after), tuple(bad)

    def _news(self, life: Life, step: Key) -> Iterator[tuple[Callable[[Life], Life], n.News, datetime]]:
        """The news that a step stands for, each with the life as it looks by then, and the instant."""
        kind, *rest = step

        def as_is(life: Life) -> Life:
            return life

        match kind:
            case "claim":
                number = len(life.submissions) + 1
                yield as_is, n.Claimed(hash_token(_token(_index(life), number))), SENT
            case "cancel":
                yield as_is, n.CancelAsked(), IN_TIME
            case "queue deadline":
                yield as_is, n.QueueDeadlinePassed(), AFTER_ALL
            case "timer":
                timer, now, looked = rest

                def looked_at(life: Life) -> Life:
                    """A check began when its time was over, and brought nothing."""
                    return life.with_submission(replace(life.submission(timer.number), checked_at=now))

                yield looked_at if looked else as_is, timer, now
            case "callback":
                yield as_is, n.CalledBack(*rest), IN_TIME
            case "ask":

                def looked_since(life: Life) -> Life:
                    """A check has begun since somebody asked; else asking again is nothing."""
                    seen = IN_TIME - CHECK_TAKES
                    return Life(life.job, tuple(replace(s, checked_at=seen) for s in life.submissions))

                yield looked_since, n.CheckAsked(), IN_TIME
            case "name":
                number, task, taken = rest
                yield as_is, n.CandidateNamed(task, number, task_taken=taken), IN_TIME
            case "answer":
                yield as_is, _answer(_index(life), *rest), IN_TIME
            case "check":
                yield from self._checks(life, *rest)

    def _checks(
        self, life: Life, number: int, task: str, read: str, when: str, poked: bool, taken: bool
    ) -> Iterator[tuple[Callable[[Life], Life], n.News, datetime]]:
        reading = self._reading(task, read)
        s = life.submission(number)
        matches = isinstance(reading, NoAnswer | NotFound) or is_ours(reading, life.job.request, s.token_hash)
        first = {
            "young": YOUNG,
            "in time": IN_TIME,
            "deadline": AFTER_DEADLINE,
            "last deadline": AFTER_DEADLINE,
            "lost": IN_TIME,
        }[when]
        looks = self.policy.lost_count if when == "lost" else 1
        for i in range(looks):
            now = first + i * timedelta(minutes=2)
            began_at = now - CHECK_TAKES

            def shown(life: Life, began_at: datetime = began_at) -> Life:
                """A callback that came since the check began is newer than it, and wants a look at once."""
                s = life.submission(number)
                if when == "last deadline":  # the other tasks had theirs
                    life = Life(life.job, tuple(replace(o, checked_at=began_at) for o in life.submissions))
                if poked:
                    soon = began_at + self.policy.check_spacing
                    wanted = {"poked_at": soon} if s.poked_at is not None or s.asked_at is None else {"asked_at": soon}
                    s = replace(s, **wanted, check_at=soon, checked_at=began_at)
                return life.with_submission(s)

            yield shown, n.Checked(number, task, began_at, reading, matches=matches, task_taken=taken, others_answer=True), now

    def _reading(self, task: str, read: str) -> Reading:
        if read == "error":
            return NoAnswer("timeout")
        if read == "404":
            return NotFound()
        j, number = _owner(task)
        echoed: dict[str, str | None] = {"callback_url": None, "prompt": _request(j, same=self.env.twins).prompt}
        if not self.env.twins:
            echoed["callback_url"] = f"https://gateway.test/callbacks/{_token(j, number)}"
        match read:
            case "going":
                return StillGoing("IN_PROGRESS", **echoed)
            case "ok":
                return Succeeded((f"https://pictures.test/{task}",), PRICE, **echoed)
            case _:
                return TaskFailed("Content policy violation detected", 0, **echoed)

    def timers(self, life_id: int) -> list[tuple[Key, bool]]:
        """The timers that can run out, each with whether somebody must have looked in vain. The real schedule says so."""
        if life_id not in self._known_timers:
            self._known_timers[life_id] = list(self._timers(self.lives[life_id]))
        return self._known_timers[life_id]

    def _timers(self, life: Life) -> Iterator[tuple[Key, bool]]:
        for s in life.submissions:
            if s.due_at is None:
                continue  # nobody ever claims it
            for now, looked in ((AFTER_DEADLINE, False), (AFTER_ALL, False), (AFTER_ALL, True)):
                seen = life.with_submission(replace(s, checked_at=now)) if looked else life
                timer = self._overdue(seen, seen.submission(s.number), now, self.policy, checks_possible=True)
                if timer is not None:
                    yield ("timer", timer, now, looked), looked
                    break
        if life.job.state is JobState.QUEUED:
            yield ("queue deadline",), False

    # --- steps -----------------------------------------------------------------------------------------------------------

    def steps(self, world: World) -> Iterator[tuple[Key, World, tuple[str, ...]]]:
        """Each step that can come next: its label, the world after it, and what it violates."""
        ids, truth, workers, forged = world
        for j in range(self.env.jobs):
            yield from self._timers_run_out(world, j)
            yield from self._calls(world, j)
            if IDLE in workers:
                yield from self._claims(world, j, workers.index(IDLE))
        for i, worker in enumerate(workers):
            if i and worker == workers[0]:
                continue  # workers are alike
            match worker:
                case ("post", j, number):
                    yield ("crash", worker), (ids, truth, _working(workers, i, IDLE), forged), ()
                    yield from self._posts(world, i, j, number)
                case ("answer", j, number, kind):
                    yield ("crash", worker), (ids, truth, _working(workers, i, IDLE), forged), ()
                    yield from self._records_answer(world, i, j, number, kind)
                case ("timer", j, _, step):
                    let_go = (ids, truth, _working(workers, i, IDLE), forged)
                    yield ("crash", worker), let_go, ()
                    yield from self._runs_out(let_go, j, step, looked=False)
                case ("check", j, number, task, read, poked):
                    yield ("crash", worker), (ids, truth, _working(workers, i, IDLE), forged), ()
                    yield from self._records_check(world, i, j, number, task, read, poked)

    def _timers_run_out(self, world: World, j: int) -> Iterator[tuple[Key, World, tuple[str, ...]]]:
        ids, truth, workers, forged = world
        for step, looked in self.timers(ids[j]):
            if (
                self.env.held and step[0] == "timer" and not looked and IDLE in workers
            ):  # seen now, recorded later; until then anything happens
                held = ("timer", j, step[1].number, step)
                yield (j, "see", step[1]), (ids, truth, _working(workers, workers.index(IDLE), held), forged), ()
            yield from self._runs_out(world, j, step, looked=looked)

    def _runs_out(self, world: World, j: int, step: Key, *, looked: bool) -> Iterator[tuple[Key, World, tuple[str, ...]]]:
        ids, truth, workers, forged = world
        timer = step[1] if step[0] == "timer" else None
        books = isinstance(timer, n.BooksDue)
        if books and any(self._outlives_books(w, ids, j, timer.number) for w in workers):
            return
        after, bad = self.apply(ids[j], step)
        if not looked:
            bad += self._dropped(ids[j], after, truth[j])
        now_true = truth
        if books and after != ids[j]:  # what nobody could learn within a day is written off
            now_true = _told(truth, j, timer.number, None, CLOSED)
        yield (j, *step[:2]), (_put(ids, j, after), now_true, workers, forged), bad

    def _outlives_books(self, worker: Key, ids: Key, j: int, number: int) -> bool:
        """No check of a candidate takes as long as the books stay open; one of a known task may."""
        if not worker or worker[1:3] != (j, number) or worker[0] == "timer":
            return False
        of_candidate = worker[0] == "check" and self.lives[ids[j]].submission(number).task_id != worker[3]
        return of_candidate or not self.env.sleepers

    def _claims(self, world: World, j: int, i: int) -> Iterator[tuple[Key, World, tuple[str, ...]]]:
        ids, truth, workers, forged = world
        life = self.lives[ids[j]]
        if life.job.state is JobState.QUEUED:
            held = self._held([self.lives[x] for x in ids])
            if submit_permits(Gate(), 1, held, SENT, self.gate_policy).count:
                after, bad = self.apply(ids[j], ("claim",))
                number = len(life.submissions) + 1
                if after != ids[j]:
                    now_true = _put(truth, j, (*truth[j], (None, UNSEEN)))
                    yield (
                        (j, "claim"),
                        (_put(ids, j, after), now_true, _working(workers, i, ("post", j, number)), forged),
                        bad,
                    )
        for s in life.submissions:
            if s.due_at is None or s.check_at is None or not s.can_be_checked:
                continue
            for task in (s.task_id,) if s.task_id else s.candidates:
                for read in self._status(truth, task):
                    busy = _working(workers, i, ("check", j, s.number, task, read, False))
                    yield (j, "check", s.number, task, read), (ids, truth, busy, forged), ()

    def _status(self, truth: Key, task: str) -> tuple[str, ...]:
        """What the upstream may say of a task; "going" and 404 may lag behind the truth."""
        if task == BOGUS:
            return ("404", "error")
        j, number = _owner(task)
        up = truth[j][number - 1][0]
        lag = () if self.env.plain else ("404", "error")
        return ("going", *lag, up) if up != "open" else ("going", *lag)

    def _posts(self, world: World, i: int, j: int, number: int) -> Iterator[tuple[Key, World, tuple[str, ...]]]:
        ids, truth, workers, forged = world
        again = ("DUP",) if any(up is not None for up, _ in truth[j]) else ()
        taken = _put(truth, j, _put(truth[j], number - 1, ("open", truth[j][number - 1][1])))
        for kind in ("id", "lost", *(("proof",) if self.env.lying else ())):
            after = (ids, taken, _working(workers, i, ("answer", j, number, kind)), forged)
            yield (j, "POST accepted", number, kind), after, again + self._over(ids, taken)
        given_back = any(s.outcome is Outcome.UNSENT for s in self.lives[ids[j]].submissions)
        rejected = () if self.env.plain else ("rejected",)
        unsent = ("unsent",) if self.env.give_back and not given_back else ()
        for kind in ("lost", "proof", *rejected, *unsent):
            after = (ids, truth, _working(workers, i, ("answer", j, number, kind)), forged)
            yield (j, "POST not accepted", number, kind), after, ()

    def _records_answer(
        self, world: World, i: int, j: int, number: int, kind: str
    ) -> Iterator[tuple[Key, World, tuple[str, ...]]]:
        ids, truth, workers, forged = world
        taken = kind == "id" and self._is_taken(ids, j, number, _task(j, number))
        after, bad = self.apply(ids[j], ("answer", number, kind, taken))
        now_true = _told(truth, j, number, None, CONFIRMED) if kind == "id" else truth
        bad += self._dropped(ids[j], after, now_true[j])
        s = self.lives[after].submission(number)
        if kind == "proof" and s.is_open and s.task_id is None and s.refusal is None:
            bad += ("PROOF",)
        label, now_ids = (j, "record answer", number, kind), _put(ids, j, after)
        yield label, (now_ids, now_true, _working(workers, i, IDLE), forged), bad
        if self.env.repeats:
            yield label, (now_ids, now_true, workers, forged), bad

    def _records_check(
        self, world: World, i: int, j: int, number: int, task: str, read: str, poked: bool
    ) -> Iterator[tuple[Key, World, tuple[str, ...]]]:
        ids, truth, workers, forged = world
        taken = read not in ("404", "error") and self._is_taken(ids, j, number, task)
        mine = task == _task(j, number)
        adopted = self.lives[ids[j]].submission(number).task_id == task
        tasks = sum(s.is_open and s.task_id is not None for s in self.lives[ids[j]].submissions)
        for when in self._whens(task, read, adopted=adopted, beside=tasks > adopted):
            after, bad = self.apply(ids[j], ("check", number, task, read, when, poked, taken))
            outcome = self.lives[after].submission(number).outcome
            told = mine and read in ("going", "ok", "fail") and outcome is not Outcome.WRITTEN_OFF
            now_true = _told(truth, j, number, None, CONFIRMED) if told else truth
            own = (number - 1,) if when in ("deadline", "lost") else ()
            if when != "last deadline":
                bad += self._dropped(ids[j], after, tuple(up for k, up in enumerate(now_true[j]) if k not in own))
            if mine and read == "ok" and not taken and outcome is not Outcome.SUCCEEDED:
                bad += ("MONEY",)  # it was told, and not written down
            label = (j, "record check", number, task, read, when)
            yield label, (_put(ids, j, after), now_true, _working(workers, i, IDLE), forged), bad

    def _whens(self, task: str, read: str, *, adopted: bool, beside: bool) -> tuple[str, ...]:
        match read:
            case "going":
                return ("in time", "deadline", *(("last deadline",) if beside else ()))
            case "404" if task == BOGUS:
                return ("young", "in time")
            case "404":
                return ("young", "lost", "deadline") if self.env.forgets and adopted else ("young",)
            case _:
                return ("in time",)

    def _calls(self, world: World, j: int) -> Iterator[tuple[Key, World, tuple[str, ...]]]:
        ids, truth, _, forged = world
        life = self.lives[ids[j]]
        if self.env.cancel and not life.job.cancel_requested and not life.job.is_settled:
            after, bad = self.apply(ids[j], ("cancel",))
            yield (j, "cancel"), (_put(ids, j, after), *world[1:]), bad
        for number, (up, known) in enumerate(truth[j], 1):
            if up == "open":
                for end in ("ok",) if self.env.plain else ("ok", "fail"):
                    now_true = _put(truth, j, _put(truth[j], number - 1, (end, truth[j][number - 1][1])))
                    yield (j, "task ends", number, end), (ids, now_true, *world[2:]), ()
            if known == CLOSED:
                continue  # its token is too old
            if up is not None:  # at any time, any number of times
                yield self._callback(world, j, number, _task(j, number), forged)
                yield self._callback(world, j, number, None, forged)
            if forged < self.env.forged and not (self.env.plain and j):
                others = [_task(k, m) for k in range(self.env.jobs) if k != j for m, x in enumerate(truth[k], 1) if x[0]]
                for named in (BOGUS, *others):
                    yield self._callback(world, j, number, named, forged + 1)
        if self.env.operator:
            yield from self._operator_acts(world, j)

    def _operator_acts(self, world: World, j: int) -> Iterator[tuple[Key, World, tuple[str, ...]]]:
        ids, truth, workers, forged = world
        after, bad = self.apply(ids[j], ("ask",))
        wanted = workers
        for s in self.lives[ids[j]].submissions:
            wanted = self._wanted(wanted, j, s.number) if s.can_be_checked else wanted
        yield (j, "ask"), (_put(ids, j, after), truth, wanted, forged), bad
        for number, (up, known) in enumerate(truth[j], 1):
            if known == CLOSED:
                continue
            if up is not None:
                yield self._name(world, j, number, _task(j, number), forged)
            if forged < self.env.forged:
                others = [_task(k, m) for k in range(self.env.jobs) if k != j for m, x in enumerate(truth[k], 1) if x[0]]
                for named in (BOGUS, *others):
                    yield self._name(world, j, number, named, forged + 1)

    def _name(self, world: World, j: int, number: int, named: str, forged: int) -> tuple[Key, World, tuple[str, ...]]:
        ids, truth, workers, _ = world
        after, bad = self.apply(ids[j], ("name", number, named, self._is_taken(ids, j, number, named)))
        taken_in = named in self.lives[after].submission(number).candidates
        now_true = _told(truth, j, number, TOLD, TOLD) if taken_in and named == _task(j, number) else truth
        bad += self._dropped(ids[j], after, now_true[j])
        wanted = self._wanted(workers, j, number) if taken_in else workers
        return (j, "name", number, named), (_put(ids, j, after), now_true, wanted, forged), bad

    def _wanted(self, workers: Key, j: int, number: int) -> Key:
        """A check that is under way then knows, at its record, that somebody has asked for another."""
        return _sorted(tuple((*w[:5], True) if w and w[:3] == ("check", j, number) else w for w in workers))

    def _callback(
        self, world: World, j: int, number: int, named: str | None, forged: int
    ) -> tuple[Key, World, tuple[str, ...]]:
        ids, truth, workers, _ = world
        after, bad = self.apply(ids[j], ("callback", number, named))
        now_true = _told(truth, j, number, TOLD, TOLD) if named == _task(j, number) else truth
        poked = tuple((*w[:5], True) if w and w[0] == "check" and w[1:3] == (j, number) else w for w in workers)
        bad += self._dropped(ids[j], after, now_true[j])
        return (j, "callback", number, named), (_put(ids, j, after), now_true, _sorted(poked), forged), bad

    # --- what depends on the truth ---------------------------------------------------------------------------------------

    def _dropped(self, before: int, after: int, truth: Key) -> tuple[str, ...]:
        was, now = self.lives[before].job, self.lives[after].job
        if was.is_settled or now.state is not JobState.FAILED:
            return ()
        sure = CONFIRMED if self.env.lying else TOLD
        lost = any(up in ("open", "ok") and known >= sure for up, known in truth)
        return ("DROP",) if lost else ()

    def _over(self, ids: Key, truth: Key) -> tuple[str, ...]:
        running = sum(up == "open" and known != CLOSED for row in truth for up, known in row)
        return ("OVER",) if running > self.env.slots else ()

    def _is_taken(self, ids: Key, j: int, number: int, task: str) -> bool:
        return any(
            s.task_id == task and (k, s.number) != (j, number) for k, x in enumerate(ids) for s in self.lives[x].submissions
        )

    def unbooked(self, world: World) -> tuple[str, ...]:
        """Credits that are nowhere although nobody has anything left to do."""
        ids, truth, workers, _ = world
        if workers != (IDLE, IDLE):
            return ()
        for j, row in enumerate(truth):
            life = self.lives[ids[j]]
            for (up, known), s in zip(row, life.submissions, strict=True):
                booked = s.outcome is Outcome.SUCCEEDED and s.task_id == _task(j, s.number)
                if life.job.is_settled and up == "ok" and known > UNSEEN and not booked and not s.is_open and not s.candidates:
                    return ("MONEY",)
        return ()

    def unsettled(self, life_id: int, *, gate_shut: bool) -> bool:
        """Whether timers, and claims unless the gate is shut, cannot bring this life to its end."""
        seen, todo = {life_id}, [life_id]
        while todo:
            at = todo.pop()
            life = self.lives[at]
            if life.job.is_settled and not any(s.is_open or s.candidates for s in life.submissions):
                return False
            steps = [step for step, _ in self.timers(at)]
            if not gate_shut and life.job.state is JobState.QUEUED:
                steps.append(("claim",))
            for step in steps:
                after, _ = self.apply(at, step)
                if after not in seen and len(self.lives[after].submissions) <= self.env.sends + 2:
                    seen.add(after)
                    todo.append(after)
        return True


@dataclass(frozen=True)
class Explored:
    worlds: int
    lives: int
    steps: int
    found: Found
    arrows: frozenset[tuple[JobState, JobState]]


def explore(model: Model, *, until: frozenset[str] = frozenset()) -> Explored:
    """Walks every world breadth first; stops early once a kind in `until` was found."""
    start = model.start()
    came: dict[World, tuple[World, Key] | None] = {start: None}
    found: Found = {}
    looked_at: set[int] = set()
    queue, steps = deque([start]), 0

    def tell(kinds: tuple[str, ...], world: World, label: Key | None) -> None:
        for kind in kinds:
            if kind not in found:
                found[kind] = _trace(came, world, label)

    while queue and not until & found.keys():
        world = queue.popleft()
        tell(model.unbooked(world), world, None)
        for life_id in world[0]:
            if life_id not in looked_at:
                looked_at.add(life_id)
                if model.unsettled(life_id, gate_shut=True):
                    tell(("STUCK",) if model.unsettled(life_id, gate_shut=False) else ("SHUT",), world, None)
        for label, after, bad in model.steps(world):
            steps += 1
            if bad:
                tell(bad, world, label)
            if after not in came:
                came[after] = (world, label)
                queue.append(after)
    return Explored(len(came), len(looked_at), steps, found, frozenset(model.arrows))


def _trace(came: dict[World, tuple[World, Key] | None], world: World, last: Key | None) -> str:
    labels = [last] if last else []
    while (step := came[world]) is not None:
        world, label = step
        labels.append(label)
    return " > ".join(" ".join(str(part) for part in label) for label in reversed(labels))


# --- laws of a single step -----------------------------------------------------------------------------------------------


def _violations(before: Life, after: Life, news: n.News, now: datetime, policy: Policy) -> list[str]:
    bad = []
    was, job = before.job, after.job
    if was.is_settled and (was.state, was.images, was.error, was.finished_at) != (
        job.state, job.images, job.error, job.finished_at
    ):  # fmt: skip
        bad.append("FINAL")
    if isinstance(news, n.Claimed) and len(after.submissions) > len(before.submissions):
        if was.cancel_requested:
            bad.append("CANCEL")
        if any(s.outcome not in NOT_ACCEPTED for s in before.submissions):
            bad.append("DUP")
    if isinstance(news, n.Checked) and (
        _poke_is_lost(before, after, news, now, policy) or _poke_is_overruled(before, after, news)
    ):
        bad.append("POKE")
    if not _is_own(after):
        bad.append("WRONG")
    if not _is_lawful(after):
        bad.append("LAW")
    return bad


def _poke_is_lost(before: Life, after: Life, news: n.Checked, now: datetime, policy: Policy) -> bool:
    """Checks of a submission are some seconds apart; but for that, what a callback asked for stays."""
    was, s = before.submission(news.number), after.submission(news.number)
    if was.check_at is None or not was.is_wanted_since(news.began_at) or not s.can_be_checked:
        return False
    return s.check_at is None or s.check_at > max(was.check_at, now + policy.check_spacing)


def _poke_is_overruled(before: Life, after: Life, news: n.Checked) -> bool:
    wanted = before.submission(news.number).is_wanted_since(news.began_at)
    fails = before.job.state is JobState.RUNNING and after.job.is_settled
    return fails and wanted and isinstance(news.reading, StillGoing | NotFound)


def _is_own(life: Life) -> bool:
    j = _index(life)
    adopted = all(s.task_id in (None, _task(j, s.number)) for s in life.submissions)
    return adopted and all(f"/task-{j}-" in image for image in life.job.images)


def _is_lawful(life: Life) -> bool:
    """The CHECK constraints of the tables, and the sums of the books."""
    job, credits = life.job, life.credits
    open_ones = sum(s.is_open for s in life.submissions)
    return (
        job.is_settled == (job.finished_at is not None)
        and (job.state is JobState.QUEUED) == (job.due_at is not None)
        and (job.state is not JobState.FAILED or job.error is not None)
        and (job.state is not JobState.SUCCEEDED or (job.error is None and bool(job.images)))
        and (job.state not in IN_FLIGHT or job.submission > 0)
        and job.submission == len(life.submissions)
        and (job.state is not JobState.RUNNING or any(s.is_open and s.task_id for s in life.submissions))
        and (
            job.state not in (JobState.SUBMITTING, JobState.UNCONFIRMED) or (life.current is not None and life.current.is_open)
        )
        and all(_is_lawful_submission(s) for s in life.submissions)
        and min(credits.reserved, credits.consumed, credits.unresolved) >= 0
        and credits.reserved + credits.unresolved == PRICE * (open_ones + (job.state is JobState.QUEUED))
        and (job.state not in SETTLED or credits.reserved == 0)
    )


def _is_lawful_submission(s: Submission) -> bool:
    told = s.credits is not None and s.task_id is not None
    return (
        s.is_open == (s.closed_at is None)
        and (s.lease_until is None or s.is_open)
        and (s.outcome not in READ_TO_THE_END or told)
        and (s.outcome not in NOT_ACCEPTED or (s.credits is None and s.task_id is None))
        and (s.task_id is None or not s.candidates)
        and (s.refusal is None or not s.is_open or bool(s.candidates))
    )


# --- small things --------------------------------------------------------------------------------------------------------


def _new_life(j: int, *, same: bool) -> Life:
    return Life(
        Job(
            job_id=UUID(int=j), tenant="tenant", state=JobState.QUEUED, request=_request(j, same=same),
            created_at=SENT, updated_at=SENT, due_at=SENT,
        )
    )  # fmt: skip


def _request(j: int, *, same: bool) -> GenerationRequest:
    return GenerationRequest("a lighthouse" if same else f"a lighthouse in picture {j}")


def _canonical(life: Life) -> Life:
    """The same life at the one canonical age; what no decision looks at is blank."""
    job = life.job
    job = replace(
        job, updated_at=SENT, due_at=job.due_at and SENT, submitted_at=job.submitted_at and SENT,
        finished_at=job.finished_at and SENT, completed_via=None, error=job.error and JobError(job.error.code, ""),
    )  # fmt: skip
    return Life(job, tuple(map(_canonical_submission, life.submissions)))


def _canonical_submission(s: Submission) -> Submission:
    return replace(
        s, sent_at=SENT, lease_until=s.lease_until and SENT + timedelta(minutes=1), due_at=s.due_at and SENT,
        check_at=s.check_at and SENT, checked_at=None, checks=0, poked_at=s.poked_at and SENT,
        asked_at=s.asked_at and SENT, callbacks=0,
        candidates=tuple(sorted(s.candidates)), upstream_status=None, last_reading=None,
        not_found_since=None, not_found_count=0,
        late_result=None if s.late_result is None else {}, answered_at=None, closed_at=s.closed_at and SENT,
        excused=timedelta(0),
    )  # fmt: skip


def _key(life: Life) -> Key:
    job = life.job
    return (
        job.job_id.int, job.state, job.cancel_requested, job.images, job.error and job.error.code,
        tuple(
            (s.outcome, s.lease_until is None, s.due_at is None, s.check_at is None, s.poked_at is None, s.asked_at is None,
             s.task_id,
             s.candidates, s.refusal is None, s.credits, s.late_result is None)
            for s in life.submissions
        ),
    )  # fmt: skip


def _arrows(before: JobState, after: JobState) -> set[tuple[JobState, JobState]]:
    """The arrows walked; a candidate that is adopted and read to its end in one check passes through running."""
    if before is after:
        return set()
    if after in EDGES[before]:
        return {(before, after)}
    return {(before, JobState.RUNNING), (JobState.RUNNING, after)}


def _answer(j: int, number: int, kind: str, taken: bool) -> n.News:
    if kind == "unsent":
        return n.GivenBack(number, "the lease is nearly over")
    answers: dict[str, SubmitAnswer] = {
        "id": Accepted(_task(j, number)),
        "lost": Unproven("timeout"),
        "proof": Refused(Refusal.SERVER_ERROR, "please retry"),
        "rejected": Rejected("Invalid size"),
    }
    return n.Answered(number, answers[kind], task_taken=taken)


def _index(life: Life) -> int:
    return life.job.job_id.int


def _task(j: int, number: int) -> str:
    return f"task-{j}-{number}"


def _owner(task: str) -> tuple[int, int]:
    _, j, number = task.split("-")
    return int(j), int(number)


def _token(j: int, number: int) -> str:
    return f"token-{j}-{number}"


def _put(items: Key, i: int, value: Any) -> Key:
    return (*items[:i], value, *items[i + 1 :])


def _told(truth: Key, j: int, number: int, at_least: int | None, exactly: int) -> Key:
    up, known = truth[j][number - 1]
    return _put(truth, j, _put(truth[j], number - 1, (up, exactly if at_least is None else max(known, at_least))))


def _working(workers: Key, i: int, value: Key) -> Key:
    return _sorted(_put(workers, i, value))


def _sorted(workers: Key) -> Key:
    return workers if repr(workers[0]) <= repr(workers[1]) else (workers[1], workers[0])
