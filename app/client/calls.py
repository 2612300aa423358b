"""Every call of the API, written once, as steps that `Client` and `AsyncClient` take.

Whoever uses those reads `Call[X]` as "returns X" and `Flow[X]` as "iterates over X".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, TypeVar, Unpack
from uuid import uuid4

from pydantic import BaseModel

from app.client.address import JobId, header_value, job_path, next_address
from app.client.dispatch import DispatchStatus
from app.client.errors import ClientError, UnexpectedAnswerError
from app.client.event import Event, EventList
from app.client.exchange import Exchange
from app.client.export_records import ExportFormat
from app.client.exporting import exported
from app.client.following import followed
from app.client.job import CanceledJob, Job, JobBatch, JobPage, Picture
from app.client.job_filters import JobFilters, query_of
from app.client.job_options import JobBody, JobOptions
from app.client.quote import Quote
from app.client.refusal import REDIRECTS
from app.client.steps import Call, Emit, Flow
from app.client.usage import Usage
from app.client.waiting import settled

HOPS = 5  #: redirects to a picture
PAGE = 200  #: jobs of a page, the most that the gateway gives

Model = TypeVar("Model", bound=BaseModel)


class Calls:
    """The calls. Errors of all of them: `app.client.errors`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange, self.url = exchange, exchange.url
        self._get, self._post, self._told = exchange.get, exchange.post, exchange.told

    def submit(self, prompt: str, *, idempotency_key: str | None = None, **options: Unpack[JobOptions]) -> Call[Job]:
        """Have a job accepted. It is on the gateway's disk when this returns.

        Every submit bears an idempotency key, a new one unless you give it, so tries that follow a lost answer find the first
        job. Where this fails, `error.idempotency_key` is the key to go on with.

        Raises:
            IdempotencyKeyReusedError: your key came before, with another request.
            BudgetExceededError: the tenant's credits do not suffice.
        """
        return (yield from self._accepted(Job, "/jobs", {"prompt": prompt, **options}, idempotency_key))

    def submit_batch(self, jobs: Sequence[JobBody], *, idempotency_key: str | None = None) -> Call[list[Job]]:
        """Have 1 to 100 jobs accepted, all or none. One idempotency key holds for the whole."""
        batch = yield from self._accepted(JobBatch, "/jobs/batch", {"jobs": list(jobs)}, idempotency_key)
        return batch.jobs

    def quote(self, prompt: str, **options: Unpack[JobOptions]) -> Call[Quote]:
        """What `submit` would say and cost, without a job being made."""
        return (yield from self._told(Quote, self._post("/jobs/quote", {"prompt": prompt, **options})))

    def job(self, job: JobId) -> Call[Job]:
        """The job as it is now."""
        return (yield from self._told(Job, self._get(job_path(job))))

    def wait(self, job: JobId, *, timeout: float | None = None) -> Call[Job]:
        """The job, once it is settled: succeeded, failed or canceled.

        A poll that fails is no reason to give up: trouble of the network, of proxies and of the gateway is sat out for
        `Patience.outage` seconds.

        Args:
            timeout: in seconds; without one, as long as it takes.

        Raises:
            StillOpenError: the time is over; it holds the job. The job itself goes on.
            OutOfReachError, UnexpectedAnswerError, UnavailableError, ThrottledError: nothing else came for so long, or until
                the time was over.
        """
        return (yield from settled(self._exchange, job_path(job), timeout))

    def jobs(self, **filters: Unpack[JobFilters]) -> Flow[Job]:
        """All jobs that the filters let through, newest first, fetched page by page while you iterate."""
        cursor: str | None = None
        while True:
            page = yield from self.page(cursor=cursor, limit=PAGE, **filters)
            for job in page.jobs:
                yield Emit(job)
            if not page.has_more or page.next_cursor is None or page.next_cursor == cursor:
                return
            cursor = page.next_cursor

    def page(self, *, cursor: str | None = None, limit: int = 50, **filters: Unpack[JobFilters]) -> Call[JobPage]:
        """One page of a list.

        Args:
            cursor: `next_cursor` of the page before.
            limit: 1 to 200.
        """
        query = [*query_of(filters), ("limit", str(limit)), *([("cursor", cursor)] if cursor else [])]
        return (yield from self._told(JobPage, self._get("/jobs", query)))

    def export(
        self, export_format: ExportFormat = "ndjson", *, cursor: str | None = None, **filters: Unpack[JobFilters]
    ) -> Flow[bytes]:
        """An export's file, in blocks of whole records. After a break it goes on behind the last whole record.

        Args:
            cursor: of the last record of an earlier export that you want to go on with.
        """
        yield from exported(self._exchange, export_format, cursor, query_of(filters))

    def cancel(self, job: JobId) -> Call[CanceledJob]:
        """Ask for an end. `upstream_will_bill` says whether it costs; repeating it changes nothing.

        Raises:
            AlreadySettledError: the job has ended.
        """
        return (yield from self._told(CanceledJob, self._post(f"{job_path(job)}/cancel")))

    def retry(self, job: JobId, *, accept_double_billing: bool = False) -> Call[Job]:
        """A new job with the same request, for one that failed or was canceled. A second retry returns the first's.

        Raises:
            DoubleBillingError: nobody knows whether the job was billed, and you did not accept that risk.
            ConflictError: the job is open, or succeeded.
        """
        query = [("accept_double_billing", "true")] if accept_double_billing else []
        return (yield from self._told(Job, self._post(f"{job_path(job)}/retry", query=query)))

    def image(self, job: JobId, index: int = 0, *, thumbnail: bool = False) -> Call[Picture]:
        """A picture of the job. Where the gateway keeps no copy, it comes from the upstream, which does not get the key."""
        query = [("thumbnail", "1")] if thumbnail else []
        request = self._get(f"{job_path(job)}/images/{index:d}", query, accept="image/*")
        for _ in range(HOPS + 1):
            answer = yield from self._exchange.answer(request, redirects=True)
            if answer.status not in REDIRECTS:
                return Picture(answer.body, answer.headers.get("content-type"))
            request = replace(request, url=next_address(request.url, answer.headers.get("location", "")), ours=False)
        raise UnexpectedAnswerError("the picture's address leads from one to the next without end")

    def events(self, job: JobId) -> Call[list[Event]]:
        """What happened to the job so far, oldest first."""
        events: list[Event] = []
        while True:
            query = [("after", str(events[-1].id))] if events else []
            found = yield from self._told(EventList, self._get(f"{job_path(job)}/events", query))
            events += found.events
            if not (found.has_more and found.events):
                return events

    def stream(self, job: JobId, *, after: int | None = None) -> Flow[Event]:
        """What happened to the job and what happens, until it is settled. After a break it goes on where it was.

        Args:
            after: the id of an event; only later ones come.
        """
        yield from followed(self._exchange, f"{job_path(job)}/events", after)

    def usage(
        self, *, since: date | str | None = None, until: date | str | None = None, tenant: str | None = None
    ) -> Call[Usage]:
        """Credits and jobs by day and tenant.

        Args:
            since: the first day, UTC.
            until: the last day, UTC.
            tenant: for admin keys.
        """
        query = [
            (name, str(value)) for name, value in (("from", since), ("to", until), ("tenant", tenant)) if value is not None
        ]
        return (yield from self._told(Usage, self._get("/usage", query)))

    def dispatch(self) -> Call[DispatchStatus]:
        """Whether jobs are being sent, and if not, why. For admin keys."""
        return (yield from self._told(DispatchStatus, self._get("/dispatch")))

    def pause_dispatch(self) -> Call[DispatchStatus]:
        """Send no more jobs; they are still accepted. Repeating it changes nothing. For admin keys."""
        return (yield from self._told(DispatchStatus, self._post("/dispatch/pause")))

    def resume_dispatch(self) -> Call[DispatchStatus]:
        """Send jobs again. For admin keys."""
        return (yield from self._told(DispatchStatus, self._post("/dispatch/resume")))

    def _accepted(self, model: type[Model], path: str, body: Mapping[str, Any], key: str | None) -> Call[Model]:
        key = header_value("idempotency_key", str(uuid4()) if key is None else key, 255)
        request = self._post(path, body)
        try:
            return (yield from self._told(model, replace(request, headers={**request.headers, "Idempotency-Key": key})))
        except ClientError as error:
            error.idempotency_key = key
            raise
