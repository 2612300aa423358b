"""Callbacks: which ones a task leads to, when, and what each of them says."""

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from math import inf

from app.emulator.answer import JSON, Envelope
from app.emulator.fault import CYCLE, STRANGE_BODIES, seconds_of
from app.emulator.task import CallbackAttempt, Task, iso_seconds

FORGED_PICTURE = "http://forged.invalid/images/forged.png"
_BINARY = bytes(range(256))


@dataclass(frozen=True, slots=True)
class PlannedCallback:
    """A callback which is due at some time, and not yet written."""

    #: Unix seconds.
    due_at: float
    task: Task
    #: ``true``, ``double``, ``strange``, ``forged-unknown``, ``forged-other``.
    kind: str


@dataclass(frozen=True, slots=True)
class OutgoingCallback:
    """A callback to be sent now: POST ``body`` to ``url``."""

    url: str
    body: bytes
    content_type: str
    #: Further HTTP headers.
    headers: Mapping[str, str]
    #: The task because of which it is sent; a forged body names another.
    task_id: str
    kind: str
    attempt: int
    #: Where the outcome is noted.
    record: CallbackAttempt = field(compare=False)


def plan_callbacks(task: Task, callback_delay: float) -> Iterator[PlannedCallback]:
    """Every callback a task leads to, forged ones included; none without a callback URL or an end."""
    if task.request.callback_url is None or task.ends_at == inf:
        return
    faults = task.faults
    if "callback-forged" in faults:
        halfway = (task.accepted_at + task.ends_at) / 2
        yield PlannedCallback(halfway, task, "forged-unknown")
        yield PlannedCallback(halfway, task, "forged-other")
    if "callback-lost" in faults:
        return
    early = "callback-before-answer" in faults
    due_at = task.ends_at + (0.0 if early else callback_delay + seconds_of(faults, "callback-late"))
    yield PlannedCallback(due_at, task, "strange" if "callback-strange-body" in faults else "true")
    if "callback-double" in faults:
        yield PlannedCallback(due_at, task, "double")


class CallbackWriter:
    """Writes callbacks' bodies."""

    def __init__(self, *, echo_callback_url: bool) -> None:
        self._echo_callback_url = echo_callback_url
        self._strange_bodies = cycle(STRANGE_BODIES)

    def true(self, planned: PlannedCallback, now: float) -> OutgoingCallback:
        """The envelope of the status answer, telling the truth."""
        return self._callback(planned, self._envelope(planned.task, now), names=planned.task.task_id)

    def forged(self, planned: PlannedCallback, named_task_id: str) -> OutgoingCallback:
        """A SUCCESS which no task ever reached, naming ``named_task_id``."""
        data = {
            "task_id": named_task_id,
            "status": "SUCCESS",
            "consumed_credits": 5,
            "error_message": None,
            "created_at": iso_seconds(planned.task.accepted_at),
            "request": planned.task.request.echo(with_callback_url=False),
            "response": [FORGED_PICTURE],
        }
        return self._callback(planned, Envelope(200, "success", data).to_bytes(), names=named_task_id)

    def strange(self, planned: PlannedCallback, now: float) -> OutgoingCallback:
        """A body which is not the envelope, or not plainly."""
        wanted = planned.task.faults.get("callback-strange-body")
        body = next(self._strange_bodies) if wanted in (None, CYCLE) else str(wanted)
        kind = f"strange-{body}"
        if body == "gzip":
            packed = gzip.compress(self._envelope(planned.task, now), mtime=0)
            return self._callback(planned, packed, kind, {"content-encoding": "gzip"}, planned.task.task_id)
        if body == "binary":
            return self._callback(planned, _BINARY, kind, content_type="application/octet-stream")
        texts = {"not-json": b"task finished :-)", "list": b'["SUCCESS"]', "empty": b""}
        return self._callback(planned, texts[body], kind)

    def _envelope(self, task: Task, now: float) -> bytes:
        data = task.data(task.status_at(now), now, echo_callback_url=self._echo_callback_url)
        return Envelope(200, "success", data, "numbers-as-strings" in task.faults).to_bytes()

    def _callback(
        self,
        planned: PlannedCallback,
        body: bytes,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
        names: str | None = None,
        content_type: str = JSON,
    ) -> OutgoingCallback:
        task, kind = planned.task, kind or planned.kind
        url = task.request.callback_url or ""
        record = CallbackAttempt(at=planned.due_at, url=url, kind=kind, names=names, attempt=1)
        return OutgoingCallback(url, body, content_type, headers or {}, task.task_id, kind, 1, record)
