"""Examples of what is sent and answered, by operation."""

from __future__ import annotations

from typing import Any

Example = dict[str, Any]

_HOST = "https://gateway.example.com"
_ID = "0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f20"
_HERE = f"{_HOST}/jobs/{_ID}"
_SOURCE = "https://cdn.example.com/0001.png"
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def example(summary: str, value: Any) -> Example:
    return {"summary": summary, "value": value}


def _job(state: str, **changes: Any) -> dict[str, Any]:
    settled = state in ("succeeded", "failed", "canceled")
    return {
        "id": _ID,
        "state": state,
        "tenant": "design",
        "prompt": "A serene mountain landscape at sunset",
        "size": "1024*768",
        "seed": -1,
        "output_format": "png",
        "callback_url": "https://shop.example.com/hooks/pictures",
        "metadata": {"order": "17"},
        "priority": "normal",
        "idempotency_key": "order-17",
        "images": [],
        "error": None,
        "credits": {"reserved": 0 if settled else 5, "consumed": 0, "unresolved": 0},
        "upstream": {"task_id": None, "status": None},
        "attempts": 0,
        "submissions": 0,
        "completed_via": None,
        "cancel_requested": False,
        "retry_of": None,
        "created_at": "2026-11-05T12:00:00.000000Z",
        "submitted_at": None,
        "finished_at": None,
        "updated_at": "2026-11-05T12:00:00.000000Z",
        "poll_after_ms": None if settled else 1000,
        "place": None,
        "estimate": None,
        "links": {
            "self": _HERE,
            "events": f"{_HERE}/events",
            "cancel": None if settled else f"{_HERE}/cancel",
            "retry": f"{_HERE}/retry" if state in ("failed", "canceled") else None,
        },
        **changes,
    }


_ESTIMATE = {"p50_at": "2026-11-05T12:00:21.000000Z", "p90_at": "2026-11-05T12:00:48.000000Z"}
_SENT = {"attempts": 1, "submissions": 1, "submitted_at": "2026-11-05T12:00:00.400000Z"}
_ENDED = {
    **_SENT,
    "completed_via": "callback",
    "finished_at": "2026-11-05T12:00:19.300000Z",
    "updated_at": "2026-11-05T12:00:19.300000Z",
}
_IMAGE = {
    "url": f"{_HERE}/images/0",
    "source_url": _SOURCE,
    "stored": True,
    "media_type": "image/png",
    "width": 1024,
    "height": 768,
    "bytes": 1482113,
    "sha256": _SHA256,
}

QUEUED = _job("queued", place=3, estimate=_ESTIMATE)
RUNNING = _job(
    "running",
    **_SENT,
    upstream={"task_id": "task-7f3a", "status": "IN_PROGRESS"},
    poll_after_ms=2000,
    estimate=_ESTIMATE,
    updated_at="2026-11-05T12:00:01.100000Z",
)
SUCCEEDED = _job(
    "succeeded",
    **_ENDED,
    images=[_IMAGE],
    credits={"reserved": 0, "consumed": 5, "unresolved": 0},
    upstream={"task_id": "task-7f3a", "status": "SUCCESS"},
)
FAILED = _job(
    "failed",
    **_ENDED,
    upstream={"task_id": "task-7f3a", "status": "FAILED"},
    error={"code": "generation_failed", "message": "Content policy violation detected", "retryable": False},
)
CANCELED = _job(
    "canceled", cancel_requested=True, finished_at="2026-11-05T12:00:05.000000Z", updated_at="2026-11-05T12:00:05.000000Z"
)

_REPLAYED = {"running": example("As it is now", RUNNING)}
_GATE = {
    "submits": {"open": True, "reason": None, "since": None, "until": None, "detail": None},
    "checks": {"open": True, "reason": None, "since": None, "until": None, "detail": None},
    "paused_by": None,
    "failures": 0,
    "open_submissions": 12,
    "max_in_flight": 100,
}
_PAUSED = {
    **_GATE,
    "submits": {**_GATE["submits"], "open": False, "reason": "paused", "since": "2026-11-05T12:00:00.000000Z"},  # type: ignore[dict-item]
    "paused_by": "3fb1c2d4",
}
_TENANT = {
    "name": "design",
    "monthly_credits": 5000,
    "open_jobs_max": 200,
    "requests_per_second": 5.0,
    "created_at": "2026-11-01T09:00:00.000000Z",
}
_KEY = {
    "id": "3fb1c2d4",
    "tenant": "design",
    "name": "shop",
    "scopes": ["jobs:write", "jobs:read"],
    "created_at": "2026-11-01T09:00:00.000000Z",
    "expires_at": None,
    "last_used_at": "2026-11-05T12:00:00.000000Z",
    "revoked_at": None,
}
_SECRET = {
    "secret": "whsec_" + "x" * 43 + "=",
    "created_at": "2026-11-05T12:00:00.000000Z",
    "previous_valid_until": None,
}

_SMALL = {"prompt": "A red fox in the snow"}
_FULL = {
    "prompt": "A serene mountain landscape at sunset",
    "size": "1024*768",
    "seed": 42,
    "output_format": "png",
    "metadata": {"order": "17"},
    "priority": "high",
    "callback_url": "https://shop.example.com/hooks/pictures",
    "reuse": "exact",
}

_OPERATION = {
    "id": "0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f21",
    "kind": "retry",
    "state": "running",
    "filter": {"state": ["failed"], "error_code": "upstream_unavailable", "created_after": "2026-11-05T02:00:00Z"},
    "query": "state=failed&error_code=upstream_unavailable&created_after=2026-11-05T02%3A00%3A00Z",
    "accept_double_billing": False,
    "by": "3fb1c2d4",
    "stopped_by": None,
    "matched": {"jobs": 1240, "at_least": False},
    "progress": {"seen": 150, "done": 146, "skipped": 3, "failed": 1},
    "codes": {"already_retried": 3, "credit_budget_exceeded": 1},
    "created_at": "2026-11-05T12:00:00.000000Z",
    "started_at": "2026-11-05T12:00:00.010000Z",
    "finished_at": None,
    "links": {
        "self": f"{_HOST}/operations/0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f21",
        "stop": f"{_HOST}/operations/0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f21/stop",
    },
}
_STOPPED = {
    **_OPERATION, "state": "stopped", "stopped_by": "3fb1c2d4", "finished_at": "2026-11-05T12:00:02.000000Z",
    "links": {**_OPERATION["links"], "stop": None},  # type: ignore[dict-item]
}  # fmt: skip
_REFUSED = [
    {"job_id": _ID, "at": "2026-11-05T12:00:01.000000Z", "result": "failed", "code": "credit_budget_exceeded"},
]
_COUNT = {"kind": "retry", "matched": {"jobs": 1240, "at_least": False}}
_ACT = {
    "id": 42, "at": "2026-11-05T12:00:00.000000Z", "key_id": "3fb1c2d4", "action": "job.candidate", "tenant": "design",
    "job_id": _ID, "data": {"task_id": "task-0001"},
}  # fmt: skip

#: Request bodies.
BODIES: dict[str, dict[str, Example]] = {
    "acceptJob": {"small": example("What is needed", _SMALL), "full": example("Everything that can be said", _FULL)},
    "acceptBatch": {"two": example("Two jobs", {"jobs": [_SMALL, {"prompt": "A red fox in the rain", "priority": "low"}]})},
    "quoteJob": {"small": example("What is needed", _SMALL)},
    "createOperation": {
        "count": example(
            "Only count", {"kind": "cancel", "filter": {"state": ["queued"], "tenant": "design"}, "dry_run": True}
        ),
        "filter": example("All that match", {"kind": "retry", "filter": _OPERATION["filter"]}),
        "selection": example("A selection", {"kind": "cancel", "jobs": [_ID]}),
    },
    "nameCandidate": {"task": example("A task of the upstream's account", {"task_id": "task-0001"})},
    "createKey": {
        "service": example("For a service", {"tenant": "design", "name": "shop", "scopes": ["jobs:write", "jobs:read"]})
    },
    "setLimits": {
        "limited": example("All limits", {"monthly_credits": 5000, "open_jobs_max": 200, "requests_per_second": 5}),
        "unlimited": example("None", {}),
    },
}

#: Answers, by status.
ANSWERS: dict[str, dict[str, dict[str, Example]]] = {
    "acceptJob": {
        "200": _REPLAYED,
        "202": {
            "queued": example("Accepted", QUEUED),
            "succeeded": example("With `Prefer: wait=30`, settled in time", SUCCEEDED),
        },
    },
    "acceptBatch": {"200": {"jobs": example("As they are now", {"jobs": [RUNNING]})},
                    "202": {"jobs": example("Accepted", {"jobs": [QUEUED]})}},
    "quoteJob": {
        "200": {
            "open": example(
                "It would be accepted",
                {
                    "credits": 5, "reused": False, "budget": {"monthly_credits": 5000, "left": 3170}, "refusal": None,
                    "queue_depth": 2, "estimate": _ESTIMATE,
                },
            ),
            "spent": example(
                "The budget is spent",
                {
                    "credits": 5, "reused": False, "budget": {"monthly_credits": 5000, "left": 0},
                    "refusal": "credit_budget_exceeded", "queue_depth": 0, "estimate": _ESTIMATE,
                },
            ),
        }
    },
    "showJob": {
        "200": {
            "queued": example("Accepted, not yet sent", QUEUED),
            "running": example("Being drawn", RUNNING),
            "succeeded": example("The picture is there", SUCCEEDED),
            "failed": example("It will not come", FAILED),
            "canceled": example("Canceled before it was sent", CANCELED),
        }
    },
    "listJobs": {
        "200": {
            "page": example("A page with another behind it", {"jobs": [SUCCEEDED], "next_cursor": "AgAGQ…", "has_more": True}),
            "last": example("The last page", {"jobs": [FAILED], "next_cursor": None, "has_more": False}),
        }
    },
    "cancelJob": {
        "200": {"canceled": example("It was never sent", {**CANCELED, "upstream_will_bill": "no"})},
        "202": {
            "running": example("It runs upstream", {**RUNNING, "cancel_requested": True, "upstream_will_bill": "yes"})
        },
    },
    "retryJob": {
        "200": {"running": example("The first retry", {**RUNNING, "idempotency_key": None, "retry_of": _ID})},
        "202": {"queued": example("A new job", {**QUEUED, "idempotency_key": None, "retry_of": _ID})},
    },
    "listEvents": {
        "200": {
            "timeline": example(
                "From accept to success",
                {
                    "events": [
                        {"id": 41, "at": "2026-11-05T12:00:00.000000Z", "type": "accepted", "data": {}},
                        {"id": 44, "at": "2026-11-05T12:00:00.400000Z", "type": "submitting", "data": {"submission": 1}},
                        {
                            "id": 45, "at": "2026-11-05T12:00:01.100000Z", "type": "running",
                            "data": {"submission": 1, "task_id": "task-7f3a"},
                        },
                        {"id": 61, "at": "2026-11-05T12:00:19.300000Z", "type": "succeeded", "data": {}},
                    ],
                    "has_more": False,
                },
            )
        }
    },
    "showUsage": {
        "200": {
            "tenant": example(
                "One tenant",
                {
                    "days": [
                        {
                            "day": "2026-11-05", "tenant": "design", "jobs_accepted": 40, "jobs_succeeded": 37,
                            "jobs_failed": 2, "jobs_canceled": 1, "credits_consumed": 185,
                        }
                    ],
                    "now": {
                        "open_jobs": 3, "open_jobs_max": 200, "credits_held": 15, "credits_consumed": 1815,
                        "monthly_credits": 5000, "credits_left": 3170,
                    },
                },
            )
        }
    },
    "listKeys": {"200": {"keys": example("One key", {"keys": [_KEY]})}},
    "createKey": {
        "201": {"key": example("With the key itself", {**_KEY, "last_used_at": None, "key": "gw_3fb1c2d4_" + "x" * 43})}
    },
    "showKey": {"200": {"key": example("In use", _KEY)}},
    "listTenants": {"200": {"tenants": example("One tenant", {"tenants": [_TENANT]})}},
    "showTenant": {"200": {"tenant": example("With limits", _TENANT)}},
    "setLimits": {"200": {"tenant": example("With limits", _TENANT)}, "201": {"tenant": example("With limits", _TENANT)}},
    "showDeliverySecret": {"200": {"secret": example("The current one", _SECRET)}},
    "rotateDeliverySecret": {
        "200": {"secret": example("A new one", {**_SECRET, "previous_valid_until": "2026-11-06T12:00:00.000000Z"})}
    },
    "checkJob": {"202": {"running": example("Checked soon", RUNNING)}},
    "nameCandidate": {"202": {"running": example("Checked soon", RUNNING)}},
    "createOperation": {
        "200": {"count": example("A dry run", _COUNT), "operation": example("The one that there is", _OPERATION)},
        "202": {"operation": example("It begins", _OPERATION)},
    },
    "listOperations": {
        "200": {"operations": example("One operation", {"operations": [_OPERATION], "next_cursor": None, "has_more": False})}
    },
    "showOperation": {"200": {"operation": example("It runs", {**_OPERATION, "jobs": None, "refused": _REFUSED})}},
    "stopOperation": {"200": {"stopped": example("It is stopped", _STOPPED)}},
    "listActs": {"200": {"acts": example("One act", {"acts": [_ACT], "next_cursor": None, "has_more": False})}},
    "showDispatch": {"200": {"open": example("Open", _GATE), "paused": example("Paused", _PAUSED)}},
    "pauseDispatch": {"200": {"paused": example("Paused", _PAUSED)}},
    "resumeDispatch": {"200": {"open": example("Open", _GATE)}},
    "healthz": {"200": {"ok": example("Alive", {"status": "ok"})}},
    "readyz": {
        "200": {
            "ready": example(
                "Ready",
                {
                    "status": "ready",
                    "checks": {
                        "database": {"ok": True}, "migrations": {"ok": True}, "gate": {"ok": True}, "callbacks": {"ok": True},
                    },
                },
            )
        }
    },
}  # fmt: skip

#: Bodies of deliveries.
DELIVERIES: dict[str, Example] = {
    job["state"]: example(
        f"It is {job['state']}", {"type": f"job.{job['state']}", "timestamp": job["finished_at"], "data": job}
    )
    for job in (SUCCEEDED, FAILED, CANCELED)
}
