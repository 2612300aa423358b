"""Whether the books agree once a soak is over. Its old jobs are gone, so sums are compared, and the rows that are left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.chaos.balance import unbalanced_books
from tests.chaos.ledger import Ledger, read_ledger
from tests.chaos.stage import Stage
from tests.crash.processes import wait_for

_UNSETTLED = "SELECT count(*) FROM jobs WHERE finished_at IS NULL"
_OPEN_TASKS = "SELECT task_id FROM submissions WHERE outcome = 'open' AND task_id IS NOT NULL"
_SOON = "SELECT count(*) FROM deliveries WHERE state = 'pending' AND attempts = 0"


def wrong_books(stage: Stage, counts: Mapping[str, int], patience: float) -> Iterator[str]:
    """What does not agree, in sentences. First waits until jobs, and the credits that can be known, are settled.

    Args:
        counts: `accepted` jobs, and of them those to be `delivered_to` somebody.
        patience: seconds.
    """
    stage.calm_down()
    wait_for(lambda: stage.rows(_UNSETTLED) == [(0,)] or None, patience)
    wait_for(lambda: stage.rows(_OPEN_TASKS) == [] or None, patience)
    wait_for(lambda: stage.rows(_SOON) == [(0,)] or None, patience)
    account, ledger = stage.upstream.account(), read_ledger(stage.database_url)
    yield from _wrong_usage(ledger, account, counts["accepted"])
    yield from _wrong_deliveries(stage, ledger, counts["delivered_to"])
    yield from unbalanced_books(stage.database_url)


def _wrong_usage(ledger: Ledger, account: dict[str, Any], accepted: int) -> Iterator[str]:
    """Usage is kept by day when jobs go: what it says was consumed is what the upstream charged for tasks it told us of."""
    told = sum(task["consumed_credits"] for task in account["tasks"] if _was_told(task))
    if ledger.usage["consumed"] != told:
        yield f"usage says {ledger.usage['consumed']} credits, the upstream's account of the tasks that it told {told}"
    if ledger.usage["accepted"] != accepted:
        yield f"usage says {ledger.usage['accepted']} jobs were accepted, their callers {accepted}"
    settled = sum(ledger.usage[state] for state in ("succeeded", "failed", "canceled"))
    if settled != accepted:
        yield f"usage says {settled} jobs were settled, of {accepted}"


def _was_told(task: dict[str, Any]) -> bool:
    """By the answer to its submit, or by a callback that we took."""
    if task["submit_answer"] in ("told", "error-with-task-id"):
        return True
    heard = [c for c in task["callbacks"] if c["http_status"] == 204 and c["names"] == task["task_id"]]
    return bool(heard) or task["submit_answer"] == "hung"  # held back for less than we wait


def _wrong_deliveries(stage: Stage, ledger: Ledger, wanted: int) -> Iterator[str]:
    """Every one was taken by its receiver, or is on the list still."""
    arrivals = [arrival for receiver in stage.receivers for arrival in receiver.arrivals]
    taken = {arrival.headers["webhook-id"] for arrival in arrivals if arrival.status == 204}
    rows = [row for rows in ledger.deliveries.values() for row in rows]
    listed = {str(row.delivery_id) for row in rows if row.state != "delivered"}
    if len(taken | listed) != wanted:
        yield f"{wanted} deliveries were wanted, {len(taken)} were taken, {len(listed - taken)} more are listed"
    yield from (
        f"delivery {row.delivery_id} is {row.state}: {row.last_error}" for row in rows if row.state in ("exhausted", "gone")
    )
