"""What a reader of the document is told first, and what the parts of its paths mean."""

from __future__ import annotations

from typing import Any

DESCRIPTION = """
The gateway stands in front of the Qwen-Image-2512 API, which draws pictures from text, asynchronously and for credits. It
accepts jobs, writes them down before it answers, sends them, hears the upstream's callbacks, checks what was never called
back, and can say afterwards what happened and what it cost. An accepted job is never lost, and never silently paid twice.

## Authentication

`Authorization: Bearer <gateway key>`. Each key belongs to a tenant and has scopes: `jobs:write`, `jobs:read`, `admin`.
Another tenant's job is a 404, as if there were none.

## A job's life

`queued` → `submitting` → `running` → `succeeded`, `failed` or `canceled`; these three never change again. `unconfirmed` is a
job that was sent, with its answer lost: it is never sent a second time on the chance.

## Waiting

Every unsettled job says in `poll_after_ms` and `Retry-After` when asking again is worth it. Better than asking:

- `Prefer: wait=N` on `POST /jobs` and `GET /jobs/{job_id}` answers when the job is settled, or after N seconds (at most 60)
  with the job as it is then.
- `GET /jobs/{job_id}/events` with `Accept: text/event-stream` tells what happens as it happens.
- A `callback_url` receives one signed delivery once the job is settled; see the callbacks of `POST /jobs`.

No read ever causes a request upstream.

## Idempotency

Send an `Idempotency-Key` with every `POST /jobs` and `POST /jobs/batch`, one for each thing that you want done. The same key
and body yield the first job, as it is now, with 200 and `Idempotent-Replayed: true`, for 0 credits; the same key with another
body is a 422. A key holds as long as its job, or any job of its batch, is kept.

## Lists

Newest first. `limit` says how many, `next_cursor` of one page is the `cursor` of the next, and the `Link` header holds its
address. A cursor is good for the filters that it came with. Unknown filters are refused, never ignored.

## Limits

A tenant may have a budget of credits a month (402), a limit of unsettled jobs, and a rate of requests (429). `RateLimit` and
`RateLimit-Policy` say how the rate stands, `Retry-After` when to come again, `POST /jobs/quote` and `GET /usage` what is
left.

## Errors

RFC 9457, `application/problem+json`. `code` is what programs should look at: it stays. `errors` names every field that does
not fit. What was sent is never repeated in an error. An address that does not take a method answers 405 with `Allow`.
`X-Request-ID` is on every answer, and leads to our log.
""".strip()

TAGS: list[dict[str, str]] = [
    {"name": "jobs", "description": "Accept, wait for, find, cancel and repeat jobs, and fetch their pictures."},
    {"name": "deliveries", "description": "What was sent to callback URLs, and sending it again."},
    {"name": "usage", "description": "Credits and jobs, by day."},
    {"name": "drop-in", "description": "The upstream's own contract, so that its clients move by changing their base URL."},
    {"name": "operators", "description": "Keys, tenants, the gate, and how the gateway is. Most of it takes an admin key."},
    {"name": "upstream", "description": "Where the upstream calls back. Not for you."},
]

_ID = {"format": "uuid", "examples": ["0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f20"]}

PATH_PARAMETERS: dict[str, dict[str, Any]] = {
    "job_id": {"description": "The job's id.", "schema": _ID},
    "delivery_id": {"description": "The delivery's id, which its receiver sees as `webhook-id`.", "schema": _ID},
    "index": {"description": "Which picture of the job, from 0 on.", "schema": {"pattern": "^[0-9]{1,3}$", "examples": ["0"]}},
    "key_id": {"description": "The key's id, which is also its middle part.", "schema": {"examples": ["3fb1c2d4"]}},
    "name": {
        "description": "The tenant's name.",
        "schema": {"pattern": "^[a-z0-9._-]{1,64}$", "examples": ["design"]},
    },
    "operation_id": {"description": "The operation's id.", "schema": _ID},
    "token": {"description": "Of one submission, unguessable.", "schema": {"examples": ["7Jx0-example"]}},
}

#: What these mean where a route says nothing else.
USUAL_PARAMETERS = {
    "limit": "How many a page holds.",
    "cursor": "`next_cursor` of the page before, with the same filters.",
    "state": "Only those in this state.",
}
