"""What can go wrong for a program that uses the gateway.

ClientError
├── BadArgumentError                    an id, a key or an address that cannot be one; also a ValueError; nothing was sent
├── OutOfReachError                     no answer came: no connection, or it broke, or the time was over
├── UnexpectedAnswerError               somebody answered, but not as the gateway does: a proxy, a wrong address
├── StillOpenError                      the wait is over and the job is not settled
└── RefusedError                        the gateway answered with a problem (RFC 9457)
    ├── InvalidRequestError             400, 405, 408, 413, 415, 422: change the request
    │   └── IdempotencyKeyReusedError   `idempotency_key_reused`: the key belongs to another request
    ├── UnauthorizedError               401: no such API key
    ├── BudgetExceededError             402 `credit_budget_exceeded`
    ├── ForbiddenError                  403 `scope_missing`: this API key may not do that
    ├── NotFoundError                   404: there is none, or it is another tenant's
    ├── ConflictError                   409: the job does not allow it now; `code` says why
    │   ├── AlreadySettledError         `already_settled`
    │   └── DoubleBillingError          `may_be_billed_twice`: a retry needs `accept_double_billing`
    ├── ThrottledError                  429: too much at once
    └── UnavailableError                500, 502, 503, 504: the gateway, or a proxy before it, cannot answer now

A `code` that is not named here falls under its status. No message and no repr holds the API key.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.client.job import Job


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of a request."""

    field: str
    message: str


class ClientError(Exception):
    """Something between this program and the gateway went wrong."""

    idempotency_key: str | None = None  #: of the submit that failed: sent again with it, it cannot be billed twice
    retry_after: float | None = None  #: seconds, where the answer named them


class BadArgumentError(ClientError, ValueError):
    """This cannot be sent. The message does not repeat it."""


class OutOfReachError(ClientError):
    """No answer came from the gateway."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent  #: the request may have arrived


class UnexpectedAnswerError(ClientError):
    """The answer is not one of the gateway's."""

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class StillOpenError(ClientError):
    """The wait is over and the job is not settled. It goes on; wait again, or cancel it."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"job {job.id} is still {job.state}")
        self.job = job  #: as it was when it was last seen


class RefusedError(ClientError):
    """The gateway answered with a problem."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        request_id: str | None = None,
        errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status  #: of HTTP
        self.code = code  #: the problem's name, as docs/errors.md lists them
        self.detail = detail
        self.request_id = request_id  #: leads to the gateway's log
        self.errors = errors
        self.retry_after = retry_after

    def __str__(self) -> str:
        fields = "".join(f"; {error.field}: {error.message}" for error in self.errors)
        return f"{self.detail} ({self.status} {self.code}{', request ' + self.request_id if self.request_id else ''}){fields}"


class InvalidRequestError(RefusedError):
    """The request does not fit; `errors` names the fields."""


class IdempotencyKeyReusedError(InvalidRequestError):
    """This idempotency key came before, with another request."""


class UnauthorizedError(RefusedError):
    """The gateway does not know this API key."""


class BudgetExceededError(RefusedError):
    """The tenant's credits do not suffice."""


class ForbiddenError(RefusedError):
    """This API key may not do that."""


class NotFoundError(RefusedError):
    """There is no such thing, or it is another tenant's."""


class ConflictError(RefusedError):
    """The job does not allow it as it is."""


class AlreadySettledError(ConflictError):
    """The job has ended; it can no longer be canceled."""


class DoubleBillingError(ConflictError):
    """Nobody knows whether the first job was billed; its retry may be billed as well."""


class ThrottledError(RefusedError):
    """Too many requests, or too many open jobs."""


class UnavailableError(RefusedError):
    """The gateway, or what stands before it, cannot answer now."""


BY_CODE: dict[str, type[RefusedError]] = {
    "idempotency_key_reused": IdempotencyKeyReusedError,
    "already_settled": AlreadySettledError,
    "may_be_billed_twice": DoubleBillingError,
}

BY_STATUS: dict[int, type[RefusedError]] = {
    400: InvalidRequestError,
    401: UnauthorizedError,
    402: BudgetExceededError,
    403: ForbiddenError,
    404: NotFoundError,
    405: InvalidRequestError,
    408: InvalidRequestError,
    409: ConflictError,
    413: InvalidRequestError,
    415: InvalidRequestError,
    422: InvalidRequestError,
    429: ThrottledError,
    500: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}
