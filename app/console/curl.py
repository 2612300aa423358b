"""A job's request as a command for a shell. Pure."""

from __future__ import annotations

import json
import shlex
from typing import Any

from app.job_view import JobView
from app.lifecycle.request import RANDOM_SEED

KEY = "GATEWAY_API_KEY"  #: the variable of the environment that holds the key; it is never written out


def curl_of(job: JobView, base_url: str) -> str:
    """`curl` of a `POST /jobs` with the same body: it makes a new job.

    Args:
        base_url: where callers reach the gateway, without a slash at the end.
    """
    lines = (
        f"curl --fail-with-body {shlex.quote(f'{base_url}/jobs')}",
        f'--header "Authorization: Bearer ${KEY}"',
        "--header 'Content-Type: application/json'",
        f"--data-raw {shlex.quote(json.dumps(_body(job), ensure_ascii=False))}",
    )
    return " \\\n  ".join(lines)


def _body(job: JobView) -> dict[str, Any]:
    """What is as by default is left out, but for what a reader looks for first."""
    body: dict[str, Any] = {"prompt": job.prompt, "size": job.size, "output_format": job.output_format}
    if job.seed != RANDOM_SEED:
        body["seed"] = job.seed
    if job.priority != "normal":
        body["priority"] = job.priority
    return {**body, **{name: value for name in ("metadata", "callback_url") if (value := getattr(job, name))}}
