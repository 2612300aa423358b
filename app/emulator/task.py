"""A task of the emulated API: what was asked, when it ends, and what has been told about it."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from typing import Literal

from app.emulator.fault import Faults, seconds_of
from app.emulator.generation_request import GenerationRequest
from app.emulator.ledger import PRICE

#: The document's states.
Status = Literal["PENDING", "IN_PROGRESS", "SUCCESS", "FAILED"]

#: What the submit's answer told of the task.
#: ``told``: its id. ``lost``: the answer broke off. ``hung``: it was held back. ``error``: an error without the id.
#: ``error-with-task-id``: an error which holds the id.
SubmitAnswer = Literal["told", "lost", "hung", "error", "error-with-task-id"]

CONTENT_FAILURE = "Content policy violation detected"
OTHER_FAILURE = "Image generation failed"


@dataclass(slots=True)
class CallbackAttempt:
    """One callback handed over for sending, and what came of it."""

    #: Unix seconds.
    at: float
    url: str
    #: ``true``, ``double``, ``strange-…``, ``forged-unknown``, ``forged-other``.
    kind: str
    #: The task id the body claims to be about; ``None`` where the body claims nothing.
    names: str | None
    #: 1 for the first attempt, 2 for its first repetition, …
    attempt: int
    #: The HTTP status of the answer; ``None`` while under way, or when there was none.
    http_status: int | None = None
    #: Why there was no answer.
    error: str | None = None
    #: When the answer came, or failed to come, in Unix seconds; ``None`` while under way.
    ended_at: float | None = None

    def describe(self) -> dict[str, object]:
        """As the account tells it."""
        return {
            "at": self.at,
            "url": self.url,
            "kind": self.kind,
            "names": self.names,
            "attempt": self.attempt,
            "http_status": self.http_status,
            "error": self.error,
            "ended_at": self.ended_at,
        }


@dataclass(slots=True)
class Task:
    """One accepted generation. Its status is a function of the time; nothing has to happen for it to end."""

    task_id: str
    key: str
    request: GenerationRequest
    faults: Faults
    #: The seed of the picture: the request's, or the one drawn for -1.
    seed: int
    #: Unix seconds.
    accepted_at: float
    #: Unix seconds; infinity for a task which never ends.
    ends_at: float
    #: Seconds from acceptance during which it is PENDING.
    pending_seconds: float
    image_url: str
    submit_answer: SubmitAnswer = "told"
    status_requests: int = 0
    #: What the status endpoint said of it (a status, or the error in its place), and when it said so last, in Unix seconds.
    status_answers: dict[str, float] = field(default_factory=dict)
    callbacks: list[CallbackAttempt] = field(default_factory=list)

    @property
    def fails(self) -> bool:
        """Whether it ends FAILED."""
        return "content-failure" in self.faults or "failure-billed" in self.faults

    @property
    def is_refunded(self) -> bool:
        """Whether its price is given back when it ends."""
        return self.fails and "failure-billed" not in self.faults

    def status_at(self, now: float) -> Status:
        """The true status, whatever the status endpoint says of it."""
        if now >= self.ends_at:
            return "FAILED" if self.fails else "SUCCESS"
        return "PENDING" if now < self.accepted_at + self.pending_seconds else "IN_PROGRESS"

    def reported_status_at(self, now: float) -> Status:
        """What the status endpoint says: the truth, or later than the truth."""
        lag = seconds_of(self.faults, "status-lag")
        if self.ends_at <= now < self.ends_at + lag:
            return "IN_PROGRESS"
        return self.status_at(now)

    def consumed_at(self, now: float) -> int:
        """Credits which stay consumed by it, as of ``now``."""
        return 0 if self.is_refunded and now >= self.ends_at else PRICE

    def error_at(self, now: float) -> str | None:
        """The error message, once it has FAILED."""
        if self.status_at(now) != "FAILED":
            return None
        return CONTENT_FAILURE if "content-failure" in self.faults else OTHER_FAILURE

    def data(self, status: Status, now: float, *, echo_callback_url: bool) -> dict[str, object]:
        """The document's ``data`` of a status answer and of a callback, with the task in ``status``."""
        consumed = 0 if status == "FAILED" and self.is_refunded else PRICE
        return {
            "task_id": self.task_id,
            "status": status,
            "consumed_credits": str(consumed) if "numbers-as-strings" in self.faults else consumed,
            "error_message": self.error_at(now) if status == "FAILED" else None,
            "created_at": iso_seconds(self.accepted_at),
            "request": self.request.echo(with_callback_url=echo_callback_url),
            "response": self._response(now) if status == "SUCCESS" else None,
        }

    def describe(self, now: float) -> dict[str, object]:
        """As the account tells it."""
        return {
            "task_id": self.task_id,
            "key": self.key,
            "accepted_at": self.accepted_at,
            "ends_at": None if self.ends_at == inf else self.ends_at,
            "prompt": self.request.prompt,
            "seed": self.seed,
            "requested_seed": self.request.seed,
            "size": self.request.size,
            "output_format": self.request.output_format,
            "callback_url": self.request.callback_url,
            "status": self.status_at(now),
            "consumed_credits": self.consumed_at(now),
            "error_message": self.error_at(now),
            "image_url": self.image_url,
            "faults": dict(self.faults),
            "submit_answer": self.submit_answer,
            "callbacks": [attempt.describe() for attempt in self.callbacks],
            "status_requests": self.status_requests,
            "status_answers": dict(self.status_answers),
        }

    def _response(self, now: float) -> object:
        if now < self.ends_at + seconds_of(self.faults, "response-null"):
            return None
        urls = [self.image_url]
        return json.dumps(urls) if "response-as-string" in self.faults else urls


def iso_seconds(unix: float) -> str:
    """A moment as the document writes it, to the second: ``2024-12-19T10:00:00Z``."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
