"""When the storm is over: all comes to rest, and the judge looks at what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx

from app.emulator.fault import FAULTS
from tests.chaos import judge
from tests.chaos.balance import unbalanced_books
from tests.chaos.callers import Callers
from tests.chaos.constraints import broken_constraints
from tests.chaos.ledger import Ledger, read_ledger
from tests.chaos.stage import Stage
from tests.chaos.upstream import UNREADABLE
from tests.crash.processes import ADMIN_KEY, wait_for

REST = 240.0  #: seconds that all may take to come to rest

_UNSETTLED = "SELECT count(*) FROM jobs WHERE finished_at IS NULL"
_OPEN = "SELECT task_id FROM submissions WHERE outcome = 'open' AND task_id IS NOT NULL"
_UNDELIVERED = "SELECT count(*) FROM deliveries WHERE state = 'pending'"
_UNSTORED = "SELECT source_url FROM images WHERE state = 'pending'"
_SCHEDULED = ("deliveries", "images")


def come_to_rest(stage: Stage) -> None:
    """Returns when everything is over that can end now: jobs, credits that can be read, deliveries, pictures.

    What waits for minutes (a delivery after its second failure, a lease of the dead) is due at once: the rows are moved back
    in time, as no setting can.
    """
    stage.calm_down()
    wait_for(lambda: stage.rows(_UNSETTLED) == [(0,)] or None, REST)
    readable, gone = _readable(stage), _gone(stage)
    wait_for(lambda: readable.isdisjoint(row[0] for row in stage.rows(_OPEN)), REST)
    for table in _SCHEDULED:
        stage.rows(f"UPDATE {table} SET due_at = created_at WHERE due_at IS NOT NULL")
    wait_for(lambda: stage.rows(_UNDELIVERED) == [(0,)] or None, REST)
    wait_for(lambda: gone.issuperset(row[0] for row in stage.rows(_UNSTORED)), REST)


def everything_that_is_wrong(stage: Stage, callers: Callers) -> list[str]:
    """All complaints of all judges; empty, where every promise held."""
    account, ledger = stage.upstream.account(), read_ledger(stage.database_url)
    arrivals = [arrival for receiver in stage.receivers for arrival in receiver.arrivals]
    return [
        *judge.unanswered(callers.answers),
        *judge.lost_jobs(callers.orders, ledger),
        *judge.unsettled_jobs(ledger, account["tasks"]),
        *judge.second_submissions(ledger, account["tasks"]),
        *judge.lost_credits(ledger, account),
        *judge.wrong_sums(ledger),
        *judge.lost_deliveries(ledger, arrivals, _secret(stage), clock_is_right=not stage.is_sqlite),
        *judge.lost_pictures(ledger, account["tasks"], stage.pictures.path),
        *judge.surprises(stage.log()),
        *broken_constraints(stage),
        *_what_the_api_says(stage, ledger),
        *unbalanced_books(stage.database_url),
    ]


def told(stage: Stage, callers: Callers, seed: int) -> str:
    """What the storm was, for the report."""
    account = stage.upstream.account()
    answers = Counter(f"{a.what} {a.status}" for a in callers.answers)
    missed = sorted(FAULTS.keys() - account["faults_struck"].keys())
    states = dict(stage.rows("SELECT coalesce(error_code, state), count(*) FROM jobs GROUP BY 1"))
    submissions = dict(stage.rows("SELECT outcome, count(*) FROM submissions GROUP BY 1"))
    return (
        f"seed {seed}: {len(callers.orders)} orders, {len(account['tasks'])} tasks; jobs {states}; submissions {submissions}; "
        f"answers {dict(answers)}; faults that never struck: {missed or 'none'}"
    )


def _readable(stage: Stage) -> set[str]:
    """Tasks that end, so that a check tells their credits."""
    return {t["task_id"] for t in stage.upstream.tasks() if t["ends_at"] is not None and not UNREADABLE & t["faults"].keys()}


def _gone(stage: Stage) -> set[str]:
    """Pictures that the upstream itself does not have."""
    return {task["image_url"] for task in stage.upstream.tasks() if "image-gone" in task["faults"]}


def _secret(stage: Stage) -> str:
    secret: str = _get(stage, "/tenants/admin/delivery-secret")["secret"]
    return secret


def _what_the_api_says(stage: Stage, ledger: Ledger) -> Iterator[str]:
    """The figures that callers see: of each job, and of their usage."""
    days = _get(stage, "/usage", {"from": "2000-01-01", "to": "2000-01-02"})["days"]
    assert days == []
    days = _get(stage, "/usage")["days"]
    for name in ("accepted", "succeeded", "failed", "canceled"):
        if (said := sum(day[f"jobs_{name}"] for day in days)) != ledger.usage[name]:
            yield f"GET /usage says {said} {name}, the books say {ledger.usage[name]}"
    cursor: dict[str, str] = {}
    while True:
        page = _get(stage, "/jobs", {"limit": "200", **cursor})
        for job in page["jobs"]:
            yield from _wrong_credits(job, ledger)
        if not page["has_more"]:
            return
        cursor = {"cursor": page["next_cursor"]}


def _wrong_credits(job: dict[str, Any], ledger: Ledger) -> Iterator[str]:
    rows = next((rows for job_id, rows in ledger.submissions.items() if str(job_id) == job["id"]), [])
    expected = {
        "reserved": 0,
        "consumed": sum(s.credits or 0 for s in rows),
        "unresolved": 5 * sum(s.outcome == "open" for s in rows),
    }
    if job["credits"] != expected:
        yield f"GET /jobs says {job['credits']} of {job['id']}, its submissions say {expected}"


def _get(stage: Stage, path: str, query: dict[str, str] | None = None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    answer = httpx.get(f"{stage.apis[0].url}{path}", params=query, headers=headers, trust_env=False, timeout=60)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
