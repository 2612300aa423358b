"""The answer to a status request about a task, faults included."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from app.emulator.answer import JSON, Answer, Envelope, enveloped, html
from app.emulator.fault import Faults, seconds_of
from app.emulator.submit_answer import SERVER_ERROR, too_many_requests
from app.emulator.task import Task

#: The one answer for an unknown task and for another key's task.
NOT_FOUND = enveloped(404, "Not Found: task does not exist.")


def status_answer(task: Task, struck: Faults, now: float, *, echo_callback_url: bool) -> Answer:
    """The answer about ``task``, which remembers it; ``struck`` are the faults which strike this one request."""
    error = _error(task, struck, now)
    task.status_answers[error or task.reported_status_at(now)] = now
    answer = _ERRORS[error]() if error else _truth(task, now, echo_callback_url=echo_callback_url)
    hang = seconds_of(struck, "status-hang") or seconds_of(task.faults, "status-hang")
    return replace(answer, lost="hang", delay=hang) if hang else answer


def _error(task: Task, struck: Faults, now: float) -> str | None:
    if "forgotten" in task.faults and now >= task.accepted_at + seconds_of(task.faults, "forgotten"):
        return "status-404"
    struck_now = (name for name in _ERRORS if name in struck or now < task.accepted_at + seconds_of(task.faults, name))
    return next(struck_now, None)


def _truth(task: Task, now: float, *, echo_callback_url: bool) -> Answer:
    data = task.data(task.reported_status_at(now), now, echo_callback_url=echo_callback_url)
    body = Envelope(200, "success", data, "numbers-as-strings" in task.faults).to_bytes()
    return Answer(200, {"content-type": JSON}, body)


_ERRORS: Mapping[str, Callable[[], Answer]] = {
    "status-404": lambda: NOT_FOUND,
    "status-500": lambda: SERVER_ERROR,
    "status-429": lambda: too_many_requests(1),
    "status-html": lambda: html(200, "Just a moment"),
}
