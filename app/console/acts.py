"""What operators did, in words. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.audit.router import ActView
from app.console.words import number, plain
from app.storage.audit import COMMAND_LINE, START


@dataclass(frozen=True, slots=True)
class ShownAct:
    """An entry of the audit, as a page shows it."""

    audit_id: int
    at: datetime
    by: str
    has_key: bool  #: False where no key did it: a process at its start, or somebody at the machine
    words: str
    job: str | None
    key: str | None  #: the key that it was done to
    tenant: str | None
    operation: str | None
    data: str  #: all of it, as JSON


def shown_act(act: ActView) -> ShownAct:
    say, data = ACTS.get(act.action), act.data
    return ShownAct(
        audit_id=act.id,
        at=act.at,
        by=WITHOUT_KEY.get(act.key_id, act.key_id),
        has_key=act.key_id not in WITHOUT_KEY,
        words=say(data) if say else plain(act.action).capitalize(),
        job=str(act.job_id) if act.job_id else None,
        key=data.get("key_id"),
        tenant=act.tenant,
        operation=data.get("operation_id"),
        data=json.dumps(data, ensure_ascii=False, indent=2) if data else "",
    )


#: Who does things without a key, by what stands in the place of its id.
WITHOUT_KEY = {START: "a process at its start", COMMAND_LINE: "somebody at the command line"}


def _limits(data: Mapping[str, Any]) -> str:
    """What is null is not limited."""
    given = [f"{plain(name)} {number(value)}" for name, value in data.items() if value is not None]
    return f"Set limits: {', '.join(given)}" if given else "Took all limits away"


def _began(data: Mapping[str, Any]) -> str:
    found = data.get("matched", 0)
    count = f"at least {number(found)} jobs" if data.get("at_least") else "1 job" if found == 1 else f"{number(found)} jobs"
    return f"Began to {data.get('kind')} {count}"


ACTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "dispatch.pause": lambda d: "Paused sending",
    "dispatch.resume": lambda d: "Resumed sending",
    "job.cancel": lambda d: "Canceled a job",
    "job.retry": lambda d: "Retried a job",
    "job.check": lambda d: "Asked for a check of a job",
    "job.candidate": lambda d: f"Named task {d.get('task_id')} as a candidate of a job",
    "operation.create": _began,
    "operation.stop": lambda d: "Stopped an operation",
    "delivery.redeliver": lambda d: "Sent a delivery again",
    "deliveries.recover": lambda d: f"Recovered deliveries since {d.get('since')}",
    "receiver.resume": lambda d: f"Resumed receiver {d.get('origin')}",
    "delivery_secret.rotate": lambda d: "Rotated the delivery secret",
    "tenant.set": _limits,
    "key.create": lambda d: f"Made a key{_named(d)} with {', '.join(d.get('scopes', ()))}",
    "key.revoke": lambda d: "Revoked a key",
}


def _named(data: Mapping[str, Any]) -> str:
    return f" “{data['name']}”" if data.get("name") else ""
