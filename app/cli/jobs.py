"""`gateway jobs`: submit, look, watch, cancel, retry and export, over the gateway's API."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.commands import Commands
from app.cli.display import Json, print_json, print_line, say
from app.cli.examples import examples
from app.cli.search import Search, filters_of, metadata_of
from app.exits import FAILED
from app.lifecycle.states import CompletedVia, JobState

if TYPE_CHECKING:
    from app.client import Client, Job, JobFilters, JobOptions

cli = typer.Typer(
    cls=Commands,
    help="Submit and look after jobs, over the API of the gateway at GATEWAY_URL (http://127.0.0.1:8000 unless set), with the "
    "key in GATEWAY_API_KEY.",
    no_args_is_help=True,
)

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.", show_default=False)]
Wait = Annotated[bool, typer.Option("--wait", help="Return when it is settled: exit 0 succeeded, 1 not.")]
Timeout = Annotated[float | None, typer.Option(min=0, help="With --wait: for so many seconds at most.", show_default=False)]
Metadata = Annotated[list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="May be repeated.")]
STATES, VIAS = [state.value for state in JobState], [via.value for via in CompletedVia]
States = Annotated[
    list[str] | None,
    typer.Option("--state", help=f"{', '.join(STATES[:-1])} or {STATES[-1]}; may be repeated.", autocompletion=lambda: STATES),
]
Tenant = Annotated[str | None, typer.Option(help="Another tenant's; for admin keys.")]
Words = Annotated[str | None, typer.Option("--q", help="Words in the prompt.")]
TaskId = Annotated[str | None, typer.Option(help="The upstream's id.")]
Key = Annotated[str | None, typer.Option("--idempotency-key", help="The key it was submitted with.")]
Via = Annotated[
    str | None,
    typer.Option("--completed-via", help=f"{', '.join(VIAS[:-1])} or {VIAS[-1]}.", autocompletion=lambda: VIAS),
]
ErrorCode = Annotated[str | None, typer.Option(help="Why it failed, as docs/errors.md lists it.")]
After = Annotated[str | None, typer.Option("--created-after", metavar="INSTANT", help="As 2026-11-05T12:00:00Z.")]
Before = Annotated[str | None, typer.Option("--created-before", metavar="INSTANT", help="As 2026-11-05T12:00:00Z.")]


@cli.command(
    epilog=examples(
        'gateway jobs submit "A red fox in the snow" --size "1024*768" --wait',
        "id=$(gateway jobs submit - --idempotency-key order-17 < prompt.txt)",
    )
)
def submit(
    prompt: Annotated[str, typer.Argument(help="What to draw; `-` reads it from standard input.", show_default=False)],
    size: Annotated[str | None, typer.Option(help="1024*1024 (default), 1024*1536, 1536*1024, 768*1024 or 1024*768.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed and request give the same picture; -1 is random.")] = None,
    output_format: Annotated[
        Literal["jpeg", "png", "webp"] | None, typer.Option("--format", help="The picture's format; jpeg unless given.")
    ] = None,
    callback_url: Annotated[str | None, typer.Option(help="Where the signed delivery goes once it is settled.")] = None,
    metadata: Metadata = None,
    priority: Annotated[Literal["high", "normal", "low"] | None, typer.Option(help="Order within the queue.")] = None,
    reuse: Annotated[
        Literal["never", "exact"] | None, typer.Option(help="exact: an identical job that succeeded answers, for 0 credits.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key and request find the first job; a new one unless given.")
    ] = None,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Have a job accepted. Prints its id."""
    from app.cli.connection import connected

    given = {
        "size": size, "seed": seed, "output_format": output_format, "callback_url": callback_url, "priority": priority,
        "reuse": reuse, "metadata": metadata_of(metadata) or None,
    }  # fmt: skip
    options: JobOptions = {name: value for name, value in given.items() if value is not None}  # type: ignore[assignment]
    with connected() as gateway:
        job = gateway.submit(_prompt(prompt), idempotency_key=idempotency_key, **options)
        _accepted(gateway, job, wait, timeout, as_json)


@cli.command(
    "list",
    epilog=examples(
        "gateway jobs list 'state:failed tenant:design q:\"red fox\" after:-7d'",
        "gateway jobs list --state failed --state canceled --created-after 2026-11-01T00:00:00Z",
        "gateway jobs list meta.order:17 --json | jq -r '.jobs[].id'",
    ),
)
def list_(
    search: Search = None,
    state: States = None,
    tenant: Tenant = None,
    q: Words = None,
    task_id: TaskId = None,
    idempotency_key: Key = None,
    completed_via: Via = None,
    error_code: ErrorCode = None,
    metadata: Metadata = None,
    created_after: After = None,
    created_before: Before = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Jobs of a page.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on behind an earlier page.")] = None,
    as_json: Json = False,
) -> None:
    """List jobs, newest first, a page at a time. For all of them there is `export`."""
    filters = _filters(
        search, state, tenant, q, task_id, idempotency_key, completed_via, error_code, metadata, created_after, created_before
    )
    from app.cli.connection import connected
    from app.cli.job_display import print_jobs

    with connected() as gateway:
        page = gateway.page(cursor=cursor, limit=limit, **filters)
    if as_json:
        print_json(page)
        return
    print_jobs(page.jobs)
    if page.has_more:
        say(f"There are more: --cursor {page.next_cursor}")


@cli.command(epilog=examples("gateway jobs show 0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f20 --json | jq .credits"))
def show(
    job_id: JobId,
    events: Annotated[bool, typer.Option("--events", help="Its timeline instead.")] = False,
    as_json: Json = False,
) -> None:
    """Show a job as it is now."""
    from app.cli.connection import connected
    from app.cli.job_display import print_event, print_job

    with connected() as gateway:
        if events:
            for event in gateway.events(job_id):
                print_json(event) if as_json else print_event(event)
        else:
            job = gateway.job(job_id)
            print_json(job) if as_json else print_job(job)


@cli.command(
    epilog=examples("gateway jobs watch 0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f20", "gateway jobs watch 'tenant:design after:1h'")
)
def watch(
    search: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID|SEARCH", help="A job's id, or a search as `list` takes it.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Of a search: so many of the newest.")] = 50,
    every: Annotated[float, typer.Option(min=0.5, max=3600, help="Of a search: seconds between two looks.")] = 2.0,
    forever: Annotated[bool, typer.Option("--forever", help="Of a search: go on until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Follow a job, or all that a search finds, until none is open: exit 0 all succeeded, 1 not all.

    With --json: a job's events, one a line, and the job at the end; of a search, each job whenever its state changed.
    """
    from app.cli.watching import watch_job, watch_search

    if search and len(search) == 1 and _ID.fullmatch(search[0]):
        succeeded = watch_job(search[0], as_json=as_json)
    else:
        succeeded = watch_search(filters_of(search, {}), limit=limit, every=every, forever=forever, as_json=as_json)
    if not succeeded:
        raise typer.Exit(FAILED)


@cli.command(epilog=examples("gateway jobs cancel 0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f20"))
def cancel(job_id: JobId, as_json: Json = False) -> None:
    """Ask for a job's end. What the upstream has, it finishes and bills; the job ends canceled all the same."""
    from app.cli.connection import connected
    from app.cli.job_display import print_job

    with connected() as gateway:
        job = gateway.cancel(job_id)
    print_json(job) if as_json else print_job(job)
    billed = {"no": "It costs nothing.", "yes": "The upstream will bill it."}.get(job.upstream_will_bill or "")
    say(billed or "Nobody knows whether the upstream will bill it.")


@cli.command(epilog=examples("gateway jobs list --state failed | cut -f1 | xargs -n1 gateway jobs retry"))
def retry(
    job_id: JobId,
    accept_double_billing: Annotated[
        bool, typer.Option("--accept-double-billing", help="Although nobody knows whether the first try was billed.")
    ] = False,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Have a job that failed or was canceled tried again, as a new one. Prints the new id; repeating it finds the same."""
    from app.cli.connection import connected

    with connected() as gateway:
        job = gateway.retry(job_id, accept_double_billing=accept_double_billing)
        _accepted(gateway, job, wait, timeout, as_json)


@cli.command(
    epilog=examples(
        "gateway jobs export --format csv --output november.csv --created-after 2026-11-01T00:00:00Z",
        "gateway jobs export 'state:succeeded tenant:design' | jq -r .prompt",
    )
)
def export(
    search: Search = None,
    export_format: Annotated[Literal["ndjson", "csv"], typer.Option("--format", help="The file's format.")] = "ndjson",
    output: Annotated[Path | None, typer.Option(help="A file; it is there whole or not at all. Else standard output.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Go on behind the record that bears this cursor.")] = None,
    state: States = None,
    tenant: Tenant = None,
    q: Words = None,
    task_id: TaskId = None,
    idempotency_key: Key = None,
    completed_via: Via = None,
    error_code: ErrorCode = None,
    metadata: Metadata = None,
    created_after: After = None,
    created_before: Before = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --output: tell of the file in JSON. Else: ndjson.")] = False,
) -> None:
    """Export all jobs that the filters let through. A connection that breaks is taken up where it broke."""
    from app.cli.connection import connected
    from app.cli.whole_file import whole_file

    if as_json and output is None and export_format != "ndjson":
        raise typer.BadParameter("standard output is either csv or JSON", param_hint="--json")
    filters = _filters(
        search, state, tenant, q, task_id, idempotency_key, completed_via, error_code, metadata, created_after, created_before
    )
    with connected() as gateway, whole_file(output) as file:
        size = sum(file.write(block) for block in gateway.export(export_format, cursor=cursor, **filters))
        file.flush()
    if output is not None:
        print_json({"file": str(output), "bytes": size}) if as_json else say(f"Wrote {size} bytes to {output}.")


def _accepted(gateway: Client, job: Job, wait: bool, timeout: float | None, as_json: bool) -> None:
    """Tells of a job that was just accepted; the id comes first, whatever becomes of the wait."""
    if not as_json:
        print_line(str(job.id))
    if wait:
        job = gateway.wait(job, timeout=timeout)
    if as_json:
        print_json(job)
    else:
        say(f"Job {job.id}: {job.state}" + (f", {job.error.code}: {job.error.message}" if job.error else ""))
    if wait and not job.succeeded:
        raise typer.Exit(FAILED)


def _prompt(given: str) -> str:
    import sys

    return sys.stdin.read().rstrip("\r\n") if given == "-" else given


def _filters(
    search: list[str] | None,
    state: list[str] | None,
    tenant: str | None,
    q: str | None,
    task_id: str | None,
    idempotency_key: str | None,
    completed_via: str | None,
    error_code: str | None,
    metadata: list[str] | None,
    created_after: str | None,
    created_before: str | None,
) -> JobFilters:
    options = {
        "state": state, "tenant": tenant, "q": q, "task_id": task_id, "idempotency_key": idempotency_key,
        "completed_via": completed_via, "error_code": error_code, "metadata": metadata_of(metadata),
        "created_after": created_after, "created_before": created_before,
    }  # fmt: skip
    return filters_of(search, options)
