"""The emulated API without a network: keys, tasks, callbacks and faults under a clock which is passed in.

Nothing here waits, sends or paints. A submit or a status request goes in, an ``Answer`` comes out; callbacks which are
due are taken out by whoever sends them (``courier``), and their outcomes are noted.
"""

import heapq
import itertools
import string
from collections.abc import Callable
from dataclasses import replace
from math import inf
from random import Random

from app.emulator.answer import Answer, enveloped
from app.emulator.callback import CallbackWriter, OutgoingCallback, PlannedCallback, plan_callbacks
from app.emulator.fault import FaultValue, read_markers, seconds_of
from app.emulator.fault_plan import FaultPlan, FaultRule
from app.emulator.generation_request import RANDOM_SEED, BadRequest, GenerationRequest
from app.emulator.ledger import Ledger
from app.emulator.options import EmulatorOptions
from app.emulator.outage import Outages
from app.emulator.painting import Motif
from app.emulator.status_answer import NOT_FOUND, status_answer
from app.emulator.submit_answer import TOO_FEW_CREDITS, UNAUTHORIZED, acceptance_of, refusal_of
from app.emulator.task import Task
from app.emulator.traffic import Request, Traffic

#: Seconds between an attempt to call back and its repetition.
CALLBACK_RETRY_SECONDS = 1.0

_TASK_ID_LETTERS = string.ascii_lowercase + string.digits
_HIGHEST_SEED = 2**31 - 1


class World:
    """The whole state of an emulator. Not safe for threads; a request takes microseconds."""

    def __init__(self, options: EmulatorOptions, clock: Callable[[], float]) -> None:
        """Start with ``options`` under ``clock`` (Unix seconds)."""
        self._options = options
        self._clock = clock
        self._rng = Random(options.seed)
        self._task_ids_ever: set[str] = set()
        self.reset()

    def reset(self) -> None:
        """Forget everything and start anew from the options. Task ids used before are never used again."""
        self._ledger = Ledger(self._options.keys)
        self._plan = FaultPlan(self._options.fault_rules(), Random(self._rng.getrandbits(64)))
        self._outages = Outages()
        self._traffic = Traffic()
        self._writer = CallbackWriter(echo_callback_url=self._options.echo_callback_url)
        self._tasks: dict[str, Task] = {}
        self._accepted: list[Task] = []
        self._order = itertools.count()
        self._endings: list[tuple[float, int, Task]] = []
        self._callbacks: list[tuple[float, int, PlannedCallback | OutgoingCallback]] = []
        self._open = 0
        self._max_open = 0

    # The API

    def submit(self, authorization_header: str | None, body: bytes, base_url: str = "http://emulator") -> Answer:
        """``POST /api/generate``. Pictures are addressed under ``base_url`` unless the options say otherwise."""
        now = self._advance()
        answer = self._outages.answer_to("submit") or self._submit(authorization_header, body, base_url, now)
        self._traffic.note("submit", answer, now)
        return answer

    def status(self, authorization_header: str | None, task_id: str | None) -> Answer:
        """``GET /api/status``."""
        now = self._advance()
        answer = self._outages.answer_to("status") or self._status(authorization_header, task_id, now)
        self._traffic.note("status", answer, now)
        return answer

    def picture(self, name: str) -> Motif | None:
        """What the picture at ``/images/{name}`` shows; ``None`` when there is none (yet, or any more)."""
        task_id, _, output_format = name.rpartition(".")
        task = self._tasks.get(task_id)
        if task is None or task.request.output_format != output_format or "image-gone" in task.faults:
            return None
        if task.status_at(self._clock()) != "SUCCESS":
            return None
        return Motif(task.request.prompt, task.request.size, task.seed, output_format)

    # Callbacks

    def next_callback_at(self) -> float | None:
        """When the next callback is due, in Unix seconds; ``None`` when none is planned."""
        return self._callbacks[0][0] if self._callbacks else None

    def take_due_callbacks(self) -> list[OutgoingCallback]:
        """Hand out, once, every callback which is due; each is in the account from now on, its outcome open."""
        now = self._advance()
        taken: list[OutgoingCallback] = []
        while self._callbacks and self._callbacks[0][0] <= now:
            planned = heapq.heappop(self._callbacks)[2]
            outgoing = self._write(planned, now) if isinstance(planned, PlannedCallback) else planned
            if outgoing is not None:
                taken.append(outgoing)
                self._record(outgoing, now)
        return taken

    def note_callback(self, callback: OutgoingCallback, *, http_status: int | None, error: str | None = None) -> None:
        """Note what a callback was answered, or why it was not; plans its repetition where one is allowed."""
        callback.record.http_status, callback.record.error = http_status, error
        callback.record.ended_at = self._clock()
        delivered = http_status is not None and 200 <= http_status < 300
        if delivered or callback.attempt > self._options.callback_retries or callback.task_id not in self._tasks:
            return
        attempt = callback.attempt + 1
        record = replace(callback.record, attempt=attempt, http_status=None, error=None, ended_at=None)
        again = replace(callback, attempt=attempt, record=record)
        self._push_callback(self._clock() + CALLBACK_RETRY_SECONDS, again)

    # Control

    def account(self) -> dict[str, object]:
        """The books: keys, tasks, requests and callbacks, ready for JSON. Times are Unix seconds."""
        now = self._advance()
        return {
            "now": now,
            "keys": self._ledger.describe(),
            "tasks": [task.describe(now) for task in self._accepted],
            "open": self._open,
            "max_open": self._max_open,
            **self._traffic.describe(),
        }

    def add_fault(self, rule: FaultRule) -> None:
        """Put a rule in force."""
        self._plan.add(rule)

    def clear_faults(self) -> None:
        """Drop every rule, those of the options too. Tasks keep the faults they have."""
        self._plan.clear()

    def faults(self) -> list[dict[str, object]]:
        """The rules in force."""
        return self._plan.describe()

    def issue_key(self, key: str, credits_left: int) -> None:
        """Make a key valid, with so many credits."""
        self._ledger.issue(key, credits_left)

    def withdraw_key(self, key: str) -> None:
        """Make a key invalid; raises ``UnknownKey``."""
        self._ledger.withdraw(key)

    def set_credits(self, key: str, credits_left: int) -> None:
        """Set what a key has left; raises ``UnknownKey``."""
        self._ledger.set_credits(key, credits_left)

    def set_outage(self, request: Request, outage: str | None) -> None:
        """Begin (``500``, ``502``, ``refuse``) or end (``None``) an outage."""
        self._outages.set(request, outage)

    def outages(self) -> dict[str, str | None]:
        """The outages in force."""
        return self._outages.describe()

    # A submit, step by step

    def _submit(self, authorization: str | None, body: bytes, base_url: str, now: float) -> Answer:
        key = self._ledger.key_of(authorization)
        if key is None:
            return UNAUTHORIZED
        try:
            request = GenerationRequest.read(body)
        except BadRequest as broken:
            return enveloped(400, f"Bad Request: {broken}")
        faults = self._strike_submit(request.prompt)
        if refusal := refusal_of(faults):
            self._traffic.note_refusal(request.callback_url, faults, now)
            return refusal
        if not self._ledger.charge(key):
            return TOO_FEW_CREDITS
        return self._tell(self._accept(key, request, faults, base_url, now))

    def _strike_submit(self, prompt: str) -> dict[str, FaultValue]:
        # A marker is about this very task, so it wins over a rule for the same fault.
        faults = {**self._plan.strike("submit"), **read_markers(prompt)}
        for name in faults:
            self._traffic.note_fault(name)
        return faults

    def _accept(self, key: str, request: GenerationRequest, faults: dict[str, FaultValue], base_url: str, now: float) -> Task:
        task_id = self._new_task_id()
        task = Task(
            task_id=task_id,
            key=key,
            request=request,
            faults=faults,
            seed=self._rng.randint(0, _HIGHEST_SEED) if request.seed == RANDOM_SEED else request.seed,
            accepted_at=now,
            ends_at=now + self._running_time(faults),
            pending_seconds=self._options.pending_seconds,
            image_url=f"{self._options.public_url or base_url}/images/{task_id}.{request.output_format}",
        )
        self._open_task(task)
        return task

    def _open_task(self, task: Task) -> None:
        self._tasks[task.task_id] = task
        self._accepted.append(task)
        self._open += 1
        self._max_open = max(self._max_open, self._open)
        heapq.heappush(self._endings, (task.ends_at, next(self._order), task))
        for planned in plan_callbacks(task, self._options.callback_delay):
            self._push_callback(planned.due_at, planned)

    def _tell(self, task: Task) -> Answer:
        answer, task.submit_answer = acceptance_of(task)
        called_back = task.request.callback_url is not None and "callback-lost" not in task.faults
        if "callback-before-answer" in task.faults and called_back:
            return replace(answer, held_for=task.task_id)
        return answer

    def _running_time(self, faults: dict[str, FaultValue]) -> float:
        if "never-ends" in faults:
            return inf
        drawn = self._rng.uniform(*self._options.run_seconds)
        if "callback-before-answer" in faults:
            return 0.0  # it has to be true when it is told
        return seconds_of(faults, "run") if "run" in faults else drawn

    def _new_task_id(self) -> str:
        while True:
            letters = "".join(self._rng.choices(_TASK_ID_LETTERS, k=12))
            task_id = f"n{self._rng.randint(10, 99)}{letters}qwenimg"
            if task_id not in self._task_ids_ever:
                self._task_ids_ever.add(task_id)
                return task_id

    # A status request

    def _status(self, authorization: str | None, task_id: str | None, now: float) -> Answer:
        key = self._ledger.key_of(authorization)
        if key is None:
            return UNAUTHORIZED
        if not task_id:
            return enveloped(400, "Bad Request: 'task_id' is required.")
        task = self._tasks.get(task_id)
        if task is None or task.key != key:
            return NOT_FOUND
        task.status_requests += 1
        struck = self._plan.strike("status")
        for name in struck:
            self._traffic.note_fault(name)
        return status_answer(task, struck, now, echo_callback_url=self._options.echo_callback_url)

    # The passing of time, and callbacks

    def _advance(self) -> float:
        """The time; settles the books of every task which has ended by now."""
        now = self._clock()
        while self._endings and self._endings[0][0] <= now:
            task = heapq.heappop(self._endings)[2]
            self._open -= 1
            if task.is_refunded:
                self._ledger.refund(task.key)
        return now

    def _push_callback(self, due_at: float, callback: PlannedCallback | OutgoingCallback) -> None:
        heapq.heappush(self._callbacks, (due_at, next(self._order), callback))

    def _write(self, planned: PlannedCallback, now: float) -> OutgoingCallback | None:
        if planned.kind == "forged-unknown":
            return self._writer.forged(planned, self._new_task_id())
        if planned.kind == "forged-other":
            other = self._another_task(planned.task)
            return None if other is None else self._writer.forged(planned, other.task_id)
        if planned.kind == "strange":
            return self._writer.strange(planned, now)
        return self._writer.true(planned, now)

    def _another_task(self, task: Task) -> Task | None:
        if len(self._accepted) < 2:
            return None
        other = self._accepted[self._rng.randrange(len(self._accepted) - 1)]
        return self._accepted[-1] if other is task else other

    def _record(self, callback: OutgoingCallback, now: float) -> None:
        task = self._tasks.get(callback.task_id)
        if task is not None:
            callback.record.at = now
            task.callbacks.append(callback.record)
