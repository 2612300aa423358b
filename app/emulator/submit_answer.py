"""The answers to a submit: refusals which faults call for, and what an accepted task is told as."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from app.emulator.answer import JSON, Answer, Envelope, enveloped, html
from app.emulator.fault import Faults, seconds_of
from app.emulator.task import SubmitAnswer, Task

UNAUTHORIZED = enveloped(401, "Unauthorized: API key is missing or invalid.")
TOO_FEW_CREDITS = enveloped(402, "Payment Required: insufficient credits.")
SERVER_ERROR = enveloped(500, "Internal Server Error")
BAD_GATEWAY_PAGE = html(502, "Bad Gateway")


def refusal_of(faults: Faults) -> Answer | None:
    """The answer of the first fault which keeps a submit from being accepted, or ``None``."""
    for name, answer in _REFUSALS.items():
        if name in faults:
            return answer(faults)
    return None


def acceptance_of(task: Task) -> tuple[Answer, SubmitAnswer]:
    """The answer for a task just accepted, and what it tells of the task."""
    faults = task.faults
    if "submit-500-accepted" in faults:
        return SERVER_ERROR, "error"
    if "submit-502-accepted" in faults:
        return BAD_GATEWAY_PAGE, "error"
    if "task-id-in-error" in faults:
        return enveloped(500, "Internal Server Error", _data(task)), "error-with-task-id"
    told = Answer(200, {"content-type": JSON}, _success(task))
    if "answer-lost" in faults:
        return replace(told, lost="truncated"), "lost"
    if "answer-hang" in faults:
        return replace(told, lost="hang", delay=seconds_of(faults, "answer-hang")), "hung"
    return told, "told"


def too_many_requests(seconds: float) -> Answer:
    """HTTP 429 with ``Retry-After`` in whole seconds, rounded up (RFC 9110, section 10.2.3)."""
    return enveloped(429, "Too Many Requests: slow down.", **{"retry-after": str(math.ceil(seconds))})


def _success(task: Task) -> bytes:
    return Envelope(200, "success", _data(task), "numbers-as-strings" in task.faults).to_bytes()


def _data(task: Task) -> dict[str, str]:
    # The document answers every submit with IN_PROGRESS, though a task starts PENDING.
    return {"task_id": task.task_id, "status": "IN_PROGRESS"}


def _broken_off(_faults: Faults) -> Answer:
    body = Envelope(200, "success", {"task_id": "", "status": "IN_PROGRESS"}).to_bytes()
    return Answer(200, {"content-type": JSON}, body, lost="truncated")


def _code_mismatch(_faults: Faults) -> Answer:
    return Answer(200, {"content-type": JSON}, Envelope(500, "Internal Server Error").to_bytes())


_REFUSALS: Mapping[str, Callable[[Faults], Answer]] = {
    "drop-before-accept": _broken_off,
    "submit-500": lambda _: SERVER_ERROR,
    "submit-502-html": lambda _: BAD_GATEWAY_PAGE,
    "submit-503": lambda _: enveloped(503, "Service Unavailable"),
    "submit-429": lambda faults: too_many_requests(seconds_of(faults, "submit-429")),
    "submit-402": lambda _: TOO_FEW_CREDITS,
    "submit-403": lambda _: enveloped(403, "Forbidden"),
    "submit-401": lambda _: UNAUTHORIZED,
    "code-mismatch": _code_mismatch,
}
