"""Callers that order pictures and do with their jobs what callers do, and note every answer with its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

import httpx

from tests.chaos.replica import Replica
from tests.chaos.stage import Stage
from tests.chaos.upstream import MARKED, markers
from tests.crash.processes import ADMIN_KEY, ONE_REQUEST_EACH, PATIENCE, wait_for

AT_ONCE = 10
PAUSE = 1.0  #: seconds between two orders of one caller, at the longest
TIMEOUT = 60.0  #: seconds; a process that is frozen answers when it is thawed
LONG = 1200.0  #: seconds that the orders of a round may take

ACCEPTED = ("accept", 202)


@dataclass(frozen=True)
class Answer:
    """What came of one request."""

    what: str
    replica: Replica
    began: float  #: monotonic seconds
    ended: float
    status: int | None  #: None where the connection was refused or cut
    code: str | None = None  #: of a problem
    told: str = ""  #: what it said, where it was no success
    noted_at: float = field(default_factory=time.time)  #: Unix seconds

    @property
    def since(self) -> float:
        """Unix seconds."""
        return self.noted_at - (self.ended - self.began)

    @property
    def until(self) -> float:
        """Unix seconds."""
        return self.noted_at

    @property
    def is_away(self) -> bool:
        """A 503 as it is promised: a problem, and when to come again."""
        return self.status == 503 and self.code == "storage_unavailable"


@dataclass
class Order:
    """A job that a caller wanted, and what it was told of it."""

    number: int
    prompt: str
    key: str | None
    receiver: str | None  #: the callback_url
    ids: list[str] = field(default_factory=list)  #: one for each 2xx; all the same, or it was accepted twice
    retries: list[str] = field(default_factory=list)  #: ids of the jobs that retries of it made
    may_be_there: bool = False  #: a request was cut off, so that nobody knows
    accepted_at: float | None = None  #: Unix seconds: when the request was begun that was accepted
    cancel_asked: bool = False
    cancel_answered: int | None = None  #: with this status; None where nobody was asked, or nobody answered
    retry_asked: bool = False


class Callers:
    """Order until they are stopped. Everything that is chance comes of the seed and the number of the order."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self._stage, self._seed = stage, seed
        self._faults = list(MARKED)
        Random(seed).shuffle(self._faults)
        self._numbers = count()
        self._stop = threading.Event()
        self.answers: list[Answer] = []
        self.orders: list[Order] = []
        self.shown: list[dict[str, Any]] = []  #: jobs, whenever one was shown that was settled
        self.failures: list[BaseException] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._order_on_and_on, args=(n,)) for n in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def accepted(self) -> int:
        return sum((a.what, a.status) == ACCEPTED for a in list(self.answers))

    def turned_away(self) -> int:
        return sum(a.is_away for a in list(self.answers))

    def refused_by(self, replica: Replica) -> int:
        return sum(a.status is None and a.replica is replica for a in list(self.answers))

    def until_accepted(self, more: int) -> None:
        """Returns when so many more were accepted."""
        wanted = self.accepted() + more
        self._until(lambda: self.accepted() >= wanted)

    def until(self, look: Callable[[], bool], seconds: float) -> bool:
        """Whether it came true in this time, while orders come in."""
        try:
            self._until(look, seconds)
        except AssertionError:
            return False
        return True

    def until_orders(self, number: int) -> None:
        self._until(lambda: len(self.orders) >= number, LONG)

    def _until(self, look: Callable[[], bool], seconds: float = PATIENCE) -> None:
        def looked() -> bool:
            assert not self.failures, self.failures
            return look()

        wait_for(looked, seconds)

    def _order_on_and_on(self, place: int) -> None:
        pace = Random(f"{self._seed} pace {place}")
        with httpx.Client(
            headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=TIMEOUT, trust_env=False, limits=ONE_REQUEST_EACH
        ) as http:
            try:
                while not self._stop.wait(pace.uniform(0, PAUSE)):
                    self._live_one(http, next(self._numbers))
            except BaseException as error:  # told by `running`'s thread, which asserts
                self.failures.append(error)

    def _live_one(self, http: httpx.Client, number: int) -> None:
        dice = Random(f"{self._seed} order {number}")
        moody, well = (receiver.url for receiver in self._stage.receivers)
        receiver = dice.choice([None, moody, moody, well])
        key = f"order-{number}" if dice.random() < 0.7 else None
        order = Order(number, f"reef {number} {markers(number, self._faults, dice)}".strip(), key, receiver)
        self.orders.append(order)
        if not self._accepted(http, order, dice):
            return
        match dice.choice(["leave", "wait", "repeat", "cancel", "wait and retry", "look around"]):
            case "wait":
                self._ask(http, "show", dice, "GET", f"/jobs/{order.ids[0]}", headers={"Prefer": "wait=2"})
            case "repeat":
                self._accepted(http, order, dice, what="repeat")
            case "cancel":
                order.cancel_asked = True
                answer = self._ask(http, "cancel", dice, "POST", f"/jobs/{order.ids[0]}/cancel")
                order.cancel_answered = answer.status_code if answer is not None else None
            case "wait and retry":
                self._retry(http, order, dice)
            case "look around":
                self._ask(http, "list", dice, "GET", "/jobs", params={"limit": "20"})
                self._ask(http, "events", dice, "GET", f"/jobs/{order.ids[0]}/events")
            case _:
                pass

    def _accepted(self, http: httpx.Client, order: Order, dice: Random, what: str = "accept") -> bool:
        """Whether it was; with a key, asked again and again until it is. Without one, whoever was cut off knows nothing."""
        headers = {"Idempotency-Key": order.key} if order.key else {}
        body = {"prompt": order.prompt, "size": "768*1024", **({"callback_url": order.receiver} if order.receiver else {})}
        while order.key or what == "accept":
            began = time.time()
            answer = self._ask(http, what, dice, "POST", "/jobs", headers=headers, json=body)
            if answer is not None and answer.is_success:
                order.ids.append(answer.json()["id"])
                order.accepted_at = order.accepted_at or began
                return True
            order.may_be_there |= answer is None or answer.status_code == 503  # a commit that broke off may stand
            if not order.key or self._stop.wait(dice.uniform(0.05, 0.3)):
                return False
        return False

    def _retry(self, http: httpx.Client, order: Order, dice: Random) -> None:
        shown = self._ask(http, "show", dice, "GET", f"/jobs/{order.ids[0]}", headers={"Prefer": "wait=4"})
        if shown is None or shown.status_code != 200:
            return
        order.retry_asked = True
        double = {"accept_double_billing": "true"} if dice.random() < 0.5 else {}
        answer = self._ask(http, "retry", dice, "POST", f"/jobs/{order.ids[0]}/retry", params=double)
        if answer is not None and answer.is_success:
            order.retries.append(answer.json()["id"])

    def _ask(self, http: httpx.Client, what: str, dice: Random, method: str, path: str, **more: Any) -> httpx.Response | None:
        """The answer of some replica; None where its connection was refused or cut."""
        replica = dice.choice(self._stage.apis)
        began = time.monotonic()
        try:
            answer = http.request(method, f"{replica.url}{path}", **more)
        except httpx.TransportError as error:
            self.answers.append(Answer(what, replica, began, time.monotonic(), None, told=repr(error)))
            return None
        self.answers.append(_noted(what, replica, began, answer))
        self.shown += [job for job in _jobs_in(answer) if job["finished_at"]]
        return answer


def _jobs_in(answer: httpx.Response) -> list[dict[str, Any]]:
    """The jobs that it shows."""
    if not answer.is_success:
        return []
    told = answer.json()
    found: list[dict[str, Any]] = told.get("jobs", [told] if "state" in told else [])
    return found


def _noted(what: str, replica: Replica, began: float, answer: httpx.Response) -> Answer:
    ended, status = time.monotonic(), answer.status_code
    if answer.is_success:
        return Answer(what, replica, began, ended, status)
    is_problem = answer.headers.get("content-type") == "application/problem+json"
    code = answer.json().get("code") if is_problem else None
    if status == 503 and int(answer.headers.get("Retry-After", 0)) < 1:
        code = "503 without Retry-After"
    return Answer(what, replica, began, ended, status, code, answer.text[:300])
