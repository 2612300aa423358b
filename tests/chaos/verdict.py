"""When the storm is over: all comes to rest, and the judge looks at what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from random import Random
from typing import Any

import httpx

from app.emulator.fault import FAULTS
from app.images import archive
from app.images.next_try import LONGEST, pause_after
from app.lifecycle.delivery import JITTER, PAUSES
from app.storage import deliveries
from tests.chaos import judge
from tests.chaos.balance import unbalanced_books
from tests.chaos.callers import Callers
from tests.chaos.constraints import broken_constraints
from tests.chaos.explained import unexplained_failures
from tests.chaos.ledger import Ledger, read_ledger
from tests.chaos.stage import Stage
from tests.chaos.upstream import UNREADABLE
from tests.crash.processes import ADMIN_KEY, wait_for

REST = 150.0  #: seconds that each part may take to come to rest
SLACK = timedelta(seconds=10)
LOOKED_AT = 60  #: pictures that are compared with what the upstream shows

_UNSETTLED = "SELECT count(*) FROM jobs WHERE finished_at IS NULL"
_OPEN = "SELECT task_id FROM submissions WHERE outcome = 'open' AND task_id IS NOT NULL"
_UNDELIVERED = "SELECT count(*) FROM deliveries WHERE state = 'pending'"
_UNSTORED = "SELECT source_url FROM images WHERE state = 'pending'"
_SCHEDULED = ("deliveries", "images")
_NO_FAULT = {"run"}


def come_to_rest(stage: Stage, callers: Callers) -> list[str]:
    """Returns when everything is over that can end now, with what is wrong about it: jobs, credits, deliveries, pictures."""
    stage.calm_down()
    wrong: list[str] = []
    try:
        _let_it_end(stage, callers, wrong)
    except AssertionError as error:
        wrong.append(f"it did not come to rest: {error}")
    return wrong


def _let_it_end(stage: Stage, callers: Callers, wrong: list[str]) -> None:
    """What waits for minutes (a delivery after its second failure, a lease of the dead) is due at once: the rows are moved back
    in time, as no setting can. Before that, none of them may wait for longer than anything does.
    """
    if stage.trouble.offsets:
        _wait(f"jobs accepted by the right clock: {_UNSETTLED}", lambda: _settled_since_the_jump(stage, callers))
        # What was dated by the clock that was ahead is not due for as long again; so it goes there once more.
        stage.set_clock(stage.apis[0], max(off for _, off in stage.trouble.offsets))
    _wait("all jobs settled", lambda: stage.rows(_UNSETTLED) == [(0,)])
    readable, gone = _readable(stage), _gone(stage)
    _wait("credits read", lambda: readable.isdisjoint(row[0] for row in stage.rows(_OPEN)))
    wrong += overlong_waits(read_ledger(stage.database_url), stage.trouble.now())
    for table in _SCHEDULED:
        stage.rows(f"UPDATE {table} SET due_at = created_at WHERE due_at IS NOT NULL")
    _wait("all delivered", lambda: stage.rows(_UNDELIVERED) == [(0,)])
    _wait("all pictures stored", lambda: gone.issuperset(row[0] for row in stage.rows(_UNSTORED)))


def _wait(what: str, look: Callable[[], bool]) -> None:
    try:
        wait_for(look, REST)
    except AssertionError:
        raise AssertionError(f"not within {REST:g} s: {what}") from None


def _settled_since_the_jump(stage: Stage, callers: Callers) -> bool:
    """Whether all are settled that were accepted since the clock jumped back for the last time."""
    jumped_at = stage.trouble.offsets[-1][0]
    fresh = [o.ids[0] for o in callers.orders if o.accepted_at and o.accepted_at >= jumped_at and not o.may_be_there]
    assert fresh, "jobs are accepted after a jump"
    listed = ", ".join(f"'{job_id.replace('-', '')}'" for job_id in fresh)
    return stage.rows(f"{_UNSETTLED} AND job_id IN ({listed})") == [(0,)]


def everything_that_is_wrong(stage: Stage, callers: Callers) -> list[str]:
    """All complaints of all judges; empty, where every promise held."""
    account, ledger, jobs = stage.upstream.account(), read_ledger(stage.database_url), _all_jobs(stage)
    arrivals = [arrival for receiver in stage.receivers for arrival in receiver.arrivals]
    return [
        *judge.unanswered(callers.answers),
        *judge.turned_away_without_need(callers.answers, stage.trouble),
        *judge.lost_jobs(callers.orders, ledger),
        *judge.broken_cancels(callers.orders, ledger),
        *judge.changed_ends(callers.shown, jobs, ledger),
        *judge.unsettled_jobs(ledger, account["tasks"]),
        *unexplained_failures(ledger, account, stage.trouble),
        *judge.second_submissions(ledger, account["tasks"]),
        *judge.lost_credits(ledger, account),
        *judge.wrong_sums(ledger),
        *judge.lost_deliveries(ledger, arrivals, _secret(stage), clock_is_right=not stage.is_sqlite),
        *judge.lost_pictures(ledger, account["tasks"], stage.pictures.path, _painted(stage, ledger)),
        *judge.broken_callbacks(account["tasks"]),
        *(complaint for log in stage.log() for complaint in judge.surprises(log.lines())),
        *broken_constraints(stage),
        *_what_the_api_says(stage, ledger, jobs),
        *unbalanced_books(stage.database_url),
        *(f"fault {name} never struck" for name in sorted(missed(account))),
    ]


def missed(account: dict[str, Any]) -> set[str]:
    """The faults that have not struck yet."""
    return FAULTS.keys() - account["faults_struck"].keys() - _NO_FAULT


def overlong_waits(ledger: Ledger, now: datetime) -> Iterator[str]:
    """Whatever is scheduled is due within the longest pause that it can be given, or when a lease ends that may hold it."""
    for row in (row for rows in ledger.deliveries.values() for row in rows if row.due_at):
        pause = PAUSES[min(row.attempts, len(PAUSES)) - 1] * (1 + JITTER) if row.attempts else timedelta(0)
        if row.due_at > now + max(pause, deliveries.LEASE) + SLACK:
            yield f"delivery {row.delivery_id}, after {row.attempts} attempts, waits until {row.due_at}; it is {now}"
    for row in (row for rows in ledger.images.values() for row in rows if row.due_at):
        pause = max(pause_after(row.attempts), min((now - row.created_at) / 2, LONGEST)) * (1 + JITTER)
        if row.due_at > now + max(pause, archive.LEASE) + SLACK:
            yield f"picture {row.index} of {row.job_id}, after {row.attempts} tries, waits until {row.due_at}; it is {now}"


def told(stage: Stage, callers: Callers, seed: int) -> str:
    """What the storm was, for the report."""
    account = stage.upstream.account()
    answers = Counter(f"{a.what} {a.status}" for a in callers.answers)
    states = dict(stage.rows("SELECT coalesce(error_code, state), count(*) FROM jobs GROUP BY 1"))
    submissions = dict(stage.rows("SELECT outcome, count(*) FROM submissions GROUP BY 1"))
    return (
        f"seed {seed}: {len(callers.orders)} orders, {len(account['tasks'])} tasks; jobs {states}; submissions {submissions}; "
        f"answers {dict(answers)}; faults that never struck: {sorted(missed(account)) or 'none'}"
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


def _painted(stage: Stage, ledger: Ledger) -> judge.Painted:
    """What the upstream shows, of some pictures that were stored."""
    stored = [row.source_url for rows in ledger.images.values() for row in rows if row.state == "stored"]
    some = Random(0).sample(stored, min(len(stored), LOOKED_AT))
    with ThreadPoolExecutor(2) as lookers:
        shown = dict(zip(some, lookers.map(stage.upstream.picture_sha256, some), strict=True))
    return shown.get


def _what_the_api_says(stage: Stage, ledger: Ledger, jobs: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The figures that callers see: of each job, and of their usage."""
    days = _get(stage, "/usage", {"from": "2000-01-01", "to": "2000-01-02"})["days"]
    assert days == []
    days = _get(stage, "/usage")["days"]
    for name in ("accepted", "succeeded", "failed", "canceled"):
        if (said := sum(day[f"jobs_{name}"] for day in days)) != ledger.usage[name]:
            yield f"GET /usage says {said} {name}, the books say {ledger.usage[name]}"
    for job in jobs:
        yield from _wrong_credits(job, ledger)


def _all_jobs(stage: Stage) -> list[dict[str, Any]]:
    cursor: dict[str, str] = {}
    found: list[dict[str, Any]] = []
    while True:
        page = _get(stage, "/jobs", {"limit": "200", **cursor})
        found += page["jobs"]
        if not page["has_more"]:
            return found
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
