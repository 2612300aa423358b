"""What callers receive at their `callback_url`, by operation. Source: docs/webhooks.md; Standard Webhooks 1.0.0."""

from __future__ import annotations

from typing import Any

from app.openapi.examples import DELIVERIES


def _header(name: str, description: str, value: str | int) -> dict[str, Any]:
    schema = {"type": "integer" if isinstance(value, int) else "string"}
    return {"name": name, "in": "header", "required": True, "description": description, "schema": schema, "example": value}


_ID = _header(
    "webhook-id",
    "The delivery's id, the same in every attempt: keep it, and do the work once.",
    "0192f0c2-7a3e-7b1c-9d2e-1f4a6b8c0d2e",
)

_ANSWERS = {
    "2XX": {"description": "Delivered. Answer before working on it: an attempt takes 15 seconds at most."},
    "410": {"description": "Stop: this delivery is not attempted again."},
    "default": {"description": "A failure, redirects included: attempted again, up to eight times in about 28 hours."},
}

_DELIVERY: dict[str, Any] = {
    "post": {
        "operationId": "jobSettled",
        "summary": "A job is settled",
        "description": "Sent to the job's `callback_url` at least once, signed by Standard Webhooks 1.0.0. Verify the "
        "signature over the raw body with the tenant's secret (`GET /tenants/{name}/delivery-secret`) first.",
        "tags": ["deliveries"],
        "parameters": [
            _ID,
            _header("webhook-timestamp", "When this attempt was made, in Unix time.", 1793872800),
            _header(
                "webhook-signature",
                "One `v1,…` for each live secret, with a space between them.",
                "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
            ),
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/DeliveryBody"}, "examples": DELIVERIES}},
        },
        "responses": _ANSWERS,
    }
}

_TASK_CALLBACK: dict[str, Any] = {
    "post": {
        "operationId": "taskEnded",
        "summary": "A task has ended",
        "description": "As the upstream sends it: unsigned, with the answer of `GET /api/status` as its body.",
        "tags": ["drop-in"],
        "parameters": [_ID],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/StatusAnswer"}}},
        },
        "responses": _ANSWERS,
    }
}

CALLBACKS: dict[str, dict[str, Any]] = {
    "acceptJob": {"jobSettled": {"{$request.body#/callback_url}": _DELIVERY}},
    "acceptBatch": {"jobSettled": {"{$request.body#/jobs/0/callback_url}": _DELIVERY}},  # each job has its own
    "generate": {"taskEnded": {"{$request.body#/callback_url}": _TASK_CALLBACK}},
}
