"""Every error code of the API, as the OpenAPI document shows it. What each means is in docs/errors.md."""

from __future__ import annotations

from typing import Any

#: The status of each code, and its `detail`, in which what stands in braces is filled in.
CODES: dict[str, tuple[int, str]] = {
    "client_disconnected": (400, "The connection ended before the body did."),
    "unauthorized": (401, "An API key is needed: Authorization: Bearer …"),
    "credit_budget_exceeded": (402, "This month's credits of this tenant are spent or reserved."),
    "scope_missing": (403, "This API key lacks the scope {scope}."),
    "other_site": (403, "This was not sent from a page of the console."),
    "not_found": (404, "There is no such {what}."),
    "method_not_allowed": (405, "This address does not take that method."),
    "request_timeout": (408, "The body did not arrive within {seconds:g} s."),
    "already_settled": (409, "The job is {state}; it can no longer be canceled."),
    "not_settled": (409, "The job is {state}; it can be retried once it is settled."),
    "already_succeeded": (409, "The job succeeded; ask for a new one instead."),
    "may_be_billed_twice": (
        409,
        "Nobody knows whether the first try was billed. Retry with ?accept_double_billing=true to pay for a second one.",
    ),
    "last_admin_key": (409, "This is the last admin key that opens anything; make another one first."),
    "delivery_under_way": (409, "The delivery is being attempted, or will be within a minute."),
    "not_sent": (409, "Nothing was sent, so there is no task to look at."),
    "nothing_to_check": (409, "No task of the job is known, and none was named; name one as a candidate."),
    "books_closed": (409, "The job's books are closed; nothing can change any more."),
    "task_known": (409, "The task is known already."),
    "task_taken": (409, "This task is another job's."),
    "too_many_candidates": (409, "As many candidates are named as may be; checks will drop those that are not this job's."),
    "operation_done": (409, "The operation is done; there is nothing left to stop."),
    "content_too_large": (413, "The body may have at most {limit} bytes."),
    "unsupported_media_type": (415, "Send the body as application/json, without a content coding."),
    "form_expected": (415, "Send the form as application/x-www-form-urlencoded."),
    "range_not_satisfiable": (416, "The picture has {size} bytes; the range begins behind them."),
    "invalid_request": (422, "The request does not fit; see errors."),
    "idempotency_key_reused": (422, "This Idempotency-Key was used for another request."),
    "rate_limit_exceeded": (429, "This tenant may not accept jobs this fast."),
    "open_jobs_exceeded": (429, "This tenant may not have more unsettled jobs at once."),
    "too_many_redeliveries": (429, "Too many deliveries are being sent again at this moment; try again soon."),
    "internal_error": (500, "Something went wrong on our side; the request id names it."),
    "storage_unavailable": (503, "The database is out of reach for the moment; try again."),
    "too_many_connections": (503, "Too many {what} at once; try again."),
    "picture_store_unavailable": (503, "The picture store is out of reach for the moment; try again."),
    "delivery_not_ready": (503, "The delivery could not be made ready on our side; nothing was sent."),
}

#: Codes that answer only some routes, which name them; the others go with their status everywhere.
_NAMED = frozenset(
    {
        "other_site", "form_expected", "idempotency_key_reused", "too_many_redeliveries", "picture_store_unavailable",
        "delivery_not_ready",
        *(code for code, (status, _) in CODES.items() if status == 409),
    }
)  # fmt: skip

REQUEST_ID = "0192f0c1e2a37c5e8d1f3b5a7c9e1f20"  #: of every example

#: What fills in the details of examples.
_FILLED: dict[str, dict[str, Any]] = {
    "scope_missing": {"scope": "jobs:write"},
    "not_found": {"what": "job"},
    "request_timeout": {"seconds": 10},
    "already_settled": {"state": "succeeded"},
    "not_settled": {"state": "running"},
    "content_too_large": {"limit": 262144},
    "range_not_satisfiable": {"size": 123456},
    "too_many_connections": {"what": "connections"},
}
_FIELDS = {"invalid_request": [{"field": "prompt", "message": "write at least 1 character that is not blank"}]}


def codes_of(status: int) -> list[str]:
    """The codes that go with a status wherever it is answered."""
    return [code for code, (of, _) in CODES.items() if of == status and code not in _NAMED]


def detail_of(code: str, **filled_in: object) -> str:
    """What the API says with this code."""
    return CODES[code][1].format(**filled_in)


def example_of(code: str, title: str, **filled_in: object) -> dict[str, Any]:
    """A problem with this code, as callers see it.

    Args:
        filled_in: of its detail, what shall not be as usual.
    """
    status, detail = CODES[code][0], detail_of(code, **{**_FILLED.get(code, {}), **filled_in})
    errors = {"errors": _FIELDS[code]} if code in _FIELDS else {}
    return {
        "type": "about:blank", "title": title, "status": status, "detail": detail, "code": code,
        "request_id": REQUEST_ID, **errors,
    }  # fmt: skip
