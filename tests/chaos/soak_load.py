"""A steady rate of orders, small troubles around them, and time that passes faster for what is to be pruned."""

from __future__ import annotations

import io
import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import httpx
from PIL import Image

from tests.chaos.receiver import Mood
from tests.chaos.stage import Stage
from tests.crash.processes import ADMIN_KEY, ONE_REQUEST_EACH, wait_for

AT_ONCE = 16
COUNTED = (
    "due", "begun", "accepted", "delivered_to", "turned_away", "cut_off", "wrong",
    "troubles", "backends ended", "receiver failing", "receiver hanging", "receiver gone",
)  # fmt: skip
#: Mild: what a bad day of the upstream looks like.
RULES = (
    "callback-lost@0.05", "callback-late=5@0.05", "callback-double@0.02", "answer-hang=2@0.01", "answer-lost@0.002",
    "submit-500@0.01", "submit-503@0.01", "submit-429=1@0.001", "status-500@0.02", "status-hang=3@0.01", "status-lag=3@0.02",
    "content-failure@0.01",
)  # fmt: skip
TROUBLE_EVERY = 60.0  #: seconds; at the end of each a receiver fails for a while, and a connection to PostgreSQL is ended
TROUBLE_LASTS = 8.0
MOODS = (Mood.FAILING, Mood.HANGING, Mood.GONE)
BACKEND_PATIENCE = 10.0  #: seconds that one may take to end
OLD_AFTER = "5 minutes"  #: since its end, a job counts as older than the retention
ENOUGH = 0.99  #: of the orders that were due have to be accepted

_OURS = "application_name LIKE 'qwen-image-gateway%' AND datname = current_database()"
_END_ONE = f"""
    SELECT pid, pg_terminate_backend(pid)
    FROM (SELECT pid FROM pg_stat_activity WHERE {_OURS} ORDER BY random() LIMIT 1) AS one"""
_AGE = f"""
    UPDATE jobs SET finished_at = finished_at - interval '2 days'
    WHERE finished_at BETWEEN now() - interval '1 day' AND now() - interval '{OLD_AFTER}'"""


class Load:
    """Orders that are sent on time, whether or not the one before was answered, and a trouble a minute.

    `wrong` has, in sentences, what an order or a trouble ran into, and that one of the two loops died.
    """

    def __init__(self, stage: Stage, rate: float, *, every: float = TROUBLE_EVERY, lasts: float = TROUBLE_LASTS) -> None:
        self._stage, self._rate, self._every, self._lasts = stage, rate, every, lasts
        self._latencies: list[float] = []
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
        self.wrong: list[str] = []
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        self._http = httpx.Client(headers=headers, trust_env=False, timeout=30, limits=ONE_REQUEST_EACH)

    def taken_latencies(self) -> list[float]:
        """Milliseconds of each accepted order since this was last asked, counted from the instant at which it was due."""
        with self._lock:
            taken, self._latencies = self._latencies, []
            return taken

    def look(self) -> dict[str, int]:
        """What was counted until now; and `orders waiting`, those that were due when nobody was free to send them."""
        with self._lock:
            return {**self.counts, "orders waiting": self.counts["due"] - self.counts["begun"]}

    @contextmanager
    def running(self) -> Iterator[None]:
        stop = threading.Event()
        threads = [threading.Thread(target=self._guarded, args=(work, stop)) for work in (self._order, self._trouble)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def shortfalls(self, seconds: float) -> list[str]:
        """What there was less of, in a run of so many seconds, than there should have been; in sentences."""
        return shortfalls(self.counts, rate=self._rate, seconds=seconds, every=self._every)

    def _guarded(self, work: Callable[[threading.Event], None], stop: threading.Event) -> None:
        try:
            work(stop)
        except Exception as error:
            self._complain(f"{work.__name__} died: {error!r}")

    def _order(self, stop: threading.Event) -> None:
        began = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as callers:
            for number in itertools.count():
                due = began + number / self._rate
                if stop.wait(max(0.0, due - time.monotonic())):
                    return
                self._count("due")
                callers.submit(self._one, number, due).add_done_callback(self._look_after)

    def _look_after(self, order: Future[None]) -> None:
        if (error := order.exception()) is not None:
            self._complain(f"an order died: {error!r}")

    def _one(self, number: int, due: float) -> None:
        """Two of three want to be told; a few are asked for twice, looked at or canceled."""
        self._count("begun")
        receiver = self._stage.receivers[number % 3].url if number % 3 < 2 else None
        job = self._accept(number, receiver)
        with self._lock:
            self._latencies.append((time.monotonic() - due) * 1000)
        if job is None:
            return
        self._count("accepted", *(["delivered_to"] if receiver else []))
        if number % 20 == 0:
            self._accept(number, receiver)
        elif number % 20 == 1:
            self._ask("POST", f"/jobs/{job['id']}/cancel", 200, 202, 409)
        elif number % 20 == 2:
            self._ask("GET", "/jobs", 200, params={"limit": "20"})
        elif number % 20 == 3:
            self._ask("GET", f"/jobs/{job['id']}", 200, headers={"Prefer": "wait=5"})

    def _accept(self, number: int, receiver: str | None) -> dict[str, Any] | None:
        """Asked again until it is: whoever is turned away has the same key."""
        body = {"prompt": f"quay {number}", **({"callback_url": receiver} if receiver else {})}
        for _ in range(20):
            answer = self._ask("POST", "/jobs", 202, 200, json=body, headers={"Idempotency-Key": f"quay-{number}"})
            if answer is not None:
                found: dict[str, Any] = answer.json()
                return found
            threading.Event().wait(0.5)
        self._complain(f"order {number} was never accepted")
        return None

    def _ask(self, method: str, path: str, *well: int, **more: Any) -> httpx.Response | None:
        """The answer, where it is one of these; None where there was none, or a 503 that says when to come again."""
        try:
            answer = self._http.request(method, f"{self._stage.apis[0].url}{path}", **more)
        except httpx.TransportError as error:
            self._count("cut_off")
            self._complain(f"{method} {path}: {error!r}")
            return None
        if answer.status_code in well:
            return answer
        if answer.status_code == 503 and "Retry-After" in answer.headers:
            self._count("turned_away")
        else:
            self._complain(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return None

    def _count(self, *names: str) -> None:
        with self._lock:
            self.counts.update(names)

    def _complain(self, what: str) -> None:
        with self._lock:
            self.counts["wrong"] += 1
            self.wrong.append(what)

    def _trouble(self, stop: threading.Event) -> None:
        dice, began = Random(7), time.monotonic()
        for number in itertools.count(1):
            due = began + number * self._every - self._lasts
            if stop.wait(max(0.0, due - time.monotonic())):
                return
            try:
                self._make_trouble(dice, stop)
            except Exception as error:  # the next one is made all the same
                self._complain(f"trouble {number} could not be made: {error!r}")

    def _make_trouble(self, dice: Random, stop: threading.Event) -> None:
        receiver, mood = dice.choice(self._stage.receivers), dice.choice(MOODS)
        self._stage.rows(_AGE)
        self._end_a_backend()
        receiver.be(mood)
        self._count("troubles", f"receiver {mood.name.lower()}")
        stop.wait(self._lasts)
        receiver.be(Mood.WELL)

    def _end_a_backend(self) -> None:
        """One of the gateway's, and it is gone: that the signal was sent says little."""
        ended = self._stage.rows(_END_ONE)
        assert len(ended) == 1, "no connection of the gateway to end"
        gone = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {ended[0][0]}"
        wait_for(lambda: self._stage.rows(gone) == [(0,)], BACKEND_PATIENCE)
        self._count("backends ended")


def shortfalls(counts: Mapping[str, int], *, rate: float, seconds: float, every: float = TROUBLE_EVERY) -> list[str]:
    """Of what a `Load` has counted; in sentences."""
    wanted = {
        "orders accepted": (counts["accepted"], math.floor(ENOUGH * rate * seconds)),
        "troubles made": (counts["troubles"], math.floor(seconds / every)),
        "connections to PostgreSQL ended": (counts["backends ended"], math.floor(seconds / every)),
    }
    lacking = ((what, found, least) for what, (found, least) in wanted.items() if found < least)
    return [f"{found} {what} in {seconds:.0f} s, at least {least} wanted" for what, found, least in lacking]


@contextmanager
def small_pictures() -> Iterator[str]:
    """The address of a server of tiny pictures, one of its own for each name: the emulator's cost ten times what we measure."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            picture = io.BytesIO()
            Image.new("RGB", (32, 32), _colour(self.path)).save(picture, "JPEG")
            body = picture.getvalue()
            self.send_response(200)
            self.send_header("content-type", "image/jpeg")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _colour(path: str) -> tuple[int, int, int]:
    dice = Random(path)
    return dice.randrange(256), dice.randrange(256), dice.randrange(256)
