"""A steady rate of orders, small troubles around them, and time that passes faster for what is to be pruned."""

from __future__ import annotations

import io
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import httpx
from PIL import Image

from tests.chaos.receiver import Mood
from tests.chaos.stage import Stage
from tests.crash.processes import ADMIN_KEY, ONE_REQUEST_EACH

AT_ONCE = 16
#: Mild: what a bad day of the upstream looks like.
RULES = (
    "callback-lost@0.05", "callback-late=5@0.05", "callback-double@0.02", "answer-hang=2@0.01", "answer-lost@0.002",
    "submit-500@0.01", "submit-503@0.01", "submit-429=1@0.001", "status-500@0.02", "status-hang=3@0.01", "status-lag=3@0.02",
    "content-failure@0.01",
)  # fmt: skip
TROUBLE_EVERY = 60.0  #: seconds; in each, a receiver fails for a while
TROUBLE_LASTS = 8.0
BACKEND_EVERY = 2  #: troubles, after each of which one backend is ended
OLD_AFTER = "5 minutes"  #: since its end, a job counts as older than the retention

_ONE_BACKEND = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name LIKE 'qwen-image-gateway%' AND datname = current_database() ORDER BY random() LIMIT 1"""
_AGE = f"""
    UPDATE jobs SET finished_at = finished_at - interval '2 days'
    WHERE finished_at BETWEEN now() - interval '1 day' AND now() - interval '{OLD_AFTER}'"""


class Load:
    """Orders that are sent on time, whether or not the one before was answered."""

    def __init__(self, stage: Stage, rate: float) -> None:
        self._stage, self._rate = stage, rate
        self._latencies: list[float] = []
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter(accepted=0, delivered_to=0, turned_away=0, cut_off=0, wrong=0)
        self.wrong: list[str] = []
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        self._http = httpx.Client(headers=headers, trust_env=False, timeout=30, limits=ONE_REQUEST_EACH)

    def taken_latencies(self) -> list[float]:
        """Milliseconds of each `POST /jobs` since this was last asked."""
        with self._lock:
            taken, self._latencies = self._latencies, []
            return taken

    @contextmanager
    def running(self) -> Iterator[None]:
        stop = threading.Event()
        threads = [threading.Thread(target=work, args=(stop,)) for work in (self._order, self._trouble)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _order(self, stop: threading.Event) -> None:
        began = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as callers:
            for number in itertools.count():
                if stop.wait(max(0.0, began + number / self._rate - time.monotonic())):
                    return
                callers.submit(self._one, number)

    def _one(self, number: int) -> None:
        """Two of three want to be told; a few are asked for twice, looked at or canceled."""
        receiver = self._stage.receivers[number % 3].url if number % 3 < 2 else None
        job = self._accept(number, receiver)
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
            began = time.monotonic()
            answer = self._ask("POST", "/jobs", 202, 200, json=body, headers={"Idempotency-Key": f"quay-{number}"})
            with self._lock:
                self._latencies.append((time.monotonic() - began) * 1000)
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
        dice = Random(7)
        for number in itertools.count():
            if stop.wait(TROUBLE_EVERY - TROUBLE_LASTS):
                return
            self._stage.rows(_AGE)
            if number % BACKEND_EVERY:
                self._stage.rows(_ONE_BACKEND)
            receiver = dice.choice(self._stage.receivers)
            receiver.be(dice.choice([Mood.FAILING, Mood.HANGING, Mood.GONE]))
            stop.wait(TROUBLE_LASTS)
            receiver.be(Mood.WELL)


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
