"""What the upstream can tell us: the answer to a submit, and the reading of a check.

Answers to a submit, by what they prove:

    SubmitAnswer
    ├── Accepted      a task id: the job runs upstream, whatever else was wrong with the answer
    ├── Refused       proof that nothing was accepted; the job may be sent again
    ├── Rejected      400: the request itself is wrong; sending it again changes nothing
    └── Unproven      sent, but nobody can say whether it was accepted

Readings of a check, by what they say of the task:

    Reading
    ├── StillGoing    PENDING or IN_PROGRESS, or SUCCESS that does not show its pictures yet
    ├── Succeeded     SUCCESS with its pictures
    ├── TaskFailed    FAILED
    ├── NotFound      404: the upstream does not know the task (or not yet, or no longer)
    └── NoAnswer      the check itself failed; it says nothing about the task
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Refusal(StrEnum):
    """Why a submit was certainly not accepted; the gate acts on it."""

    NOT_CONNECTED = "not_connected"  #: no connection was made, so nothing was sent
    UNAUTHORIZED = "unauthorized"  #: 401: our key is missing or bad
    NO_CREDITS = "no_credits"  #: 402: the account is empty
    FORBIDDEN = "forbidden"  #: 403: the account may not do this
    THROTTLED = "throttled"  #: 429: too many requests
    SERVER_ERROR = "server_error"  #: 500: "please retry", says the document


@dataclass(frozen=True, slots=True)
class Accepted:
    task_id: str
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    reason: Refusal
    detail: str
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    message: str


@dataclass(frozen=True, slots=True)
class Unproven:
    detail: str


SubmitAnswer = Accepted | Refused | Rejected | Unproven


@dataclass(frozen=True, slots=True)
class StillGoing:
    status: str
    callback_url: str | None = None  #: as the upstream echoes our request; decides whether a candidate is ours
    prompt: str | None = None  #: as echoed
    credits: int | None = None  #: as told; they count only once the task is over


@dataclass(frozen=True, slots=True)
class Succeeded:
    images: tuple[str, ...]  #: addresses of the pictures, at least one
    credits: int | None  #: as told; None when the upstream does not say
    callback_url: str | None = None
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class TaskFailed:
    message: str
    credits: int | None
    callback_url: str | None = None
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class NotFound:
    pass


@dataclass(frozen=True, slots=True)
class NoAnswer:
    detail: str
    unauthorized: bool = False  #: 401: our key is bad; shuts the gate for checks as well
    retry_after: timedelta | None = None  #: 429 or 503 may ask for patience


Reading = StillGoing | Succeeded | TaskFailed | NotFound | NoAnswer
