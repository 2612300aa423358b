"""`gateway jobs watch`: a job's timeline as it grows, or a list that stays up to date, until nothing in it is open."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from uuid import UUID

from app.cli.connection import connected
from app.cli.display import print_json, say
from app.cli.job_display import live_jobs, live_timeline
from app.client import Client, Job, JobFilters
from app.lifecycle.states import SETTLED, JobState

OPEN = [state.value for state in JobState if state not in SETTLED]


def watch_job(job_id: str, *, as_json: bool) -> bool:
    """Until it is settled; returns whether it succeeded."""
    with connected() as gateway:
        job = gateway.job(job_id)
        if as_json:
            for event in gateway.stream(job):
                print_json(event)
        else:
            with live_timeline(job) as tell:
                for event in gateway.stream(job):
                    tell(event)
        job = gateway.job(job)
    if as_json:
        print_json(job)
    return job.succeeded


def watch_search(filters: JobFilters, *, limit: int, every: float, forever: bool, as_json: bool) -> bool:
    """Until no job that fits is open, nor one that was shown; returns whether all that were ever shown succeeded."""
    with connected() as gateway, live_jobs(as_json=as_json) as show:
        seen: set[UUID] = set()
        while True:
            page = gateway.page(limit=limit, **filters)
            seen.update(job.id for job in page.jobs)
            show(page.jobs)
            if not forever and not _some_open(gateway, page.jobs, filters):
                break
            time.sleep(every)
        jobs = [*page.jobs, *_ends_of(gateway, seen - {job.id for job in page.jobs})]
        show(jobs)
    if page.has_more:
        say(f"There are more than the {limit} newest.")
    return all(job.succeeded for job in jobs)


def _ends_of(gateway: Client, left: Iterable[UUID]) -> list[Job]:
    """Jobs that the page shows no longer, as `state:running` loses what has ended; one that is still open is waited for."""
    return [gateway.wait(job_id) for job_id in sorted(left, reverse=True)]


def _some_open(gateway: Client, shown: Sequence[Job], filters: JobFilters) -> bool:
    """Also among those that are not shown, being older."""
    if any(not job.is_settled for job in shown):
        return True
    asked = filters.get("state") or OPEN
    states = [state for state in ([asked] if isinstance(asked, str) else asked) if state in OPEN]
    narrowed: JobFilters = {**filters, "state": states}
    return bool(states) and bool(gateway.page(limit=1, **narrowed).jobs)
