"""What was asked of the emulator, whether or not a task came of it."""

from collections import Counter, deque
from collections.abc import Iterable
from typing import Literal

from app.emulator.answer import Answer

#: How many of the latest request times are kept, for each kind of request.
KEPT_TIMES = 10_000

Request = Literal["submit", "status"]


class Traffic:
    """Counts and times of submits and status requests."""

    def __init__(self) -> None:
        self._totals: Counter[Request] = Counter()
        self._by_status: dict[Request, Counter[str]] = {"submit": Counter(), "status": Counter()}
        self._times: dict[Request, deque[float]] = {
            "submit": deque(maxlen=KEPT_TIMES),
            "status": deque(maxlen=KEPT_TIMES),
        }
        self._faults: Counter[str] = Counter()
        self._refusals: deque[dict[str, object]] = deque(maxlen=KEPT_TIMES)

    def note(self, request: Request, answer: Answer, now: float) -> None:
        """Count one request and its answer."""
        self._totals[request] += 1
        self._by_status[request]["broken" if answer.lost == "truncated" else str(answer.status)] += 1
        self._times[request].append(now)

    def note_fault(self, name: str) -> None:
        """Count one fault which struck."""
        self._faults[name] += 1

    def note_refusal(self, callback_url: str | None, faults: Iterable[str], now: float) -> None:
        """Remember a submit of which faults made no task; its callback URL tells it from others."""
        self._refusals.append({"at": now, "callback_url": callback_url, "faults": list(faults)})

    def describe(self) -> dict[str, object]:
        """The account's part about requests; an answer broken off counts as ``broken``, not by its HTTP status."""
        return {
            "requests": {
                "submit": self._totals["submit"],
                "status": self._totals["status"],
                "submit_by_http_status": dict(self._by_status["submit"]),
                "status_by_http_status": dict(self._by_status["status"]),
            },
            "submit_times": list(self._times["submit"]),
            "status_times": list(self._times["status"]),
            "faults_struck": dict(self._faults),
            "refusals": list(self._refusals),
        }
