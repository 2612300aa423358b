"""The client against the gateway itself, with the emulator behind it."""

from __future__ import annotations

import asyncio
import csv
import io
import json

import pytest
from PIL import Image

from app.client import (
    AlreadySettledError,
    AsyncClient,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    NotFoundError,
    StillOpenError,
)
from tests.acceptance.stage import ADMIN_KEY, Stage
from tests.client.faces import Faces
from tests.client.stand_in import JOB_ID


async def test_a_job_from_its_submit_to_its_picture(stage: Stage, face: Faces) -> None:
    async with face(stage.url, ADMIN_KEY) as client:
        options = {"size": "1024*768", "output_format": "png", "metadata": {"order": "17"}, "seed": 7, "priority": "high"}
        job = await client.ask("submit", "A red fox in the snow", **options)
        done = await client.ask("wait", job)
        picture = await client.ask("image", done)
        timeline = await client.ask("events", job)
    assert (job.state, done.state, done.credits.consumed, done.metadata) == ("queued", "succeeded", 5, {"order": "17"})
    assert (done.size, done.output_format, done.seed, done.priority) == ("1024*768", "png", 7, "high")
    assert [event.type for event in timeline][-1] == "succeeded"
    with Image.open(io.BytesIO(picture.content)) as opened:
        assert (opened.size, opened.format, picture.media_type) == ((1024, 768), "PNG", "image/png")


async def test_every_field_of_a_job_is_known_to_the_client(stage: Stage, face: Faces) -> None:
    async with face(stage.url, ADMIN_KEY) as client:
        done = await client.ask("wait", await client.ask("submit", "A fox"))
        told = (await stage.api.get(f"/jobs/{done.id}")).json()
    assert done.model_extra == {}
    assert not any(part.model_extra for part in (done.credits, done.upstream, done.links, *done.images))
    assert set(done.as_told()) == set(told)


async def test_the_same_key_finds_the_same_job_and_no_other(stage: Stage, face: Faces) -> None:
    async with face(stage.url, ADMIN_KEY) as client:
        first = await client.ask("submit", "A fox", idempotency_key="order-17")
        again = await client.ask("submit", "A fox", idempotency_key="order-17")
        with pytest.raises(IdempotencyKeyReusedError):
            await client.ask("submit", "A hen", idempotency_key="order-17")
    assert first.id == again.id


async def test_refusals_have_their_names(stage: Stage, face: Faces) -> None:
    async with face(stage.url, ADMIN_KEY) as client:
        done = await client.ask("wait", await client.ask("submit", "A fox"))
        with pytest.raises(AlreadySettledError):
            await client.ask("cancel", done)
        with pytest.raises(NotFoundError):
            await client.ask("job", JOB_ID)
        with pytest.raises(NotFoundError):
            await client.ask("wait", JOB_ID)
        with pytest.raises(InvalidRequestError) as caught:
            await client.ask("submit", "A fox", size="10*10", colour="red")
        with pytest.raises(InvalidRequestError):
            await client.collect("jobs", colour="red")
    assert {error.field for error in caught.value.errors} == {"size", "colour"}


async def test_a_paused_gateway_lets_a_wait_run_out_and_a_cancel_costs_nothing(stage: Stage, face: Faces) -> None:
    async with face(stage.url, ADMIN_KEY) as client:
        assert not (await client.ask("pause_dispatch")).submits.open
        job = await client.ask("submit", "A fox")
        with pytest.raises(StillOpenError) as caught:
            await client.ask("wait", job, timeout=0)
        canceled = await client.ask("cancel", job)
        assert (await client.ask("resume_dispatch")).submits.open
    assert (caught.value.job.state, canceled.state, canceled.upstream_will_bill) == ("queued", "canceled", "no")


async def test_lists_hold_what_the_filters_let_through(stage: Stage, face: Faces) -> None:
    async with face(stage.url, ADMIN_KEY) as client:
        await client.ask("pause_dispatch")
        jobs = [await client.ask("submit", f"Fox {n}") for n in range(3)]
        await client.ask("cancel", jobs[0])
        queued = await client.collect("jobs", state="queued")
        page = await client.ask("page", limit=2)
        rest = await client.ask("page", limit=2, cursor=page.next_cursor)
    assert [job.id for job in queued] == [jobs[2].id, jobs[1].id]
    assert [job.id for job in page.jobs + rest.jobs] == [job.id for job in reversed(jobs)]
    assert (page.has_more, rest.has_more, rest.next_cursor) == (True, False, None)


async def test_a_wait_hears_of_the_end_from_its_long_poll(stage: Stage) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async with AsyncClient(stage.url, ADMIN_KEY, sleep=pause) as client:
        jobs = [await client.submit(f"Fox {n}") for n in range(20)]
        found = await asyncio.gather(*(client.wait(job) for job in jobs))
    assert {job.state for job in found} == {"succeeded"}
    assert pauses == []


async def test_a_stream_tells_the_whole_life_and_ends(stage: Stage, face: Faces) -> None:
    async with face(stage.url, ADMIN_KEY) as client:
        job = await client.ask("submit", "A fox")
        seen = await client.collect("stream", job)
        timeline = await client.ask("events", job)
        after = await client.collect("stream", job, after=seen[1].id)
    assert seen[-1].type == "succeeded"
    assert [event.id for event in seen] == [event.id for event in timeline][: len(seen)]
    assert [event.id for event in after][: len(seen) - 2] == [event.id for event in seen[2:]]


async def test_a_batch_is_accepted_whole(stage: Stage, face: Faces) -> None:
    async with face(stage.url, ADMIN_KEY) as client:
        jobs = await client.ask("submit_batch", [{"prompt": "A fox"}, {"prompt": "A hen", "seed": 7}])
        with pytest.raises(InvalidRequestError):
            await client.ask("submit_batch", [{"prompt": "A fox"}, {"prompt": ""}])
        listed = await client.collect("jobs")
    assert [job.prompt for job in jobs] == ["A fox", "A hen"]
    assert {job.id for job in listed} == {job.id for job in jobs}


async def test_a_quote_and_the_usage_agree_with_the_model(stage: Stage, face: Faces) -> None:
    async with face(stage.url, ADMIN_KEY) as client:
        quote = await client.ask("quote", "A fox")
        await client.ask("wait", await client.ask("submit", "A fox"))
        usage = await client.ask("usage", tenant="admin")
    assert (quote.credits, quote.model_extra, quote.budget.model_extra) == (5, {}, {})
    [day] = usage.days
    assert (day.jobs_succeeded, day.credits_consumed, day.model_extra, usage.model_extra) == (1, 5, {}, {})
    assert usage.now.model_extra == {}


async def test_a_canceled_job_is_retried_once(stage: Stage, face: Faces) -> None:
    async with face(stage.url, ADMIN_KEY) as client:
        await client.ask("pause_dispatch")
        job = await client.ask("submit", "A fox")
        await client.ask("cancel", job)
        first, second = await client.ask("retry", job), await client.ask("retry", job)
        await client.ask("resume_dispatch")
        done = await client.ask("wait", first)
    assert (first.id, first.retry_of) == (second.id, job.id)
    assert done.succeeded


async def test_an_export_holds_every_job_and_goes_on_behind_a_cursor(stage: Stage, face: Faces) -> None:
    async with face(stage.url, ADMIN_KEY) as client:
        await client.ask("pause_dispatch")
        jobs = [await client.ask("submit", f'Fox "{n}",\nin the snow') for n in reversed(range(3))]
        table = b"".join(await client.collect("export", "csv")).decode()
        lines = [json.loads(line) for line in b"".join(await client.collect("export")).splitlines()]
        rest = b"".join(await client.collect("export", cursor=lines[0]["cursor"]))
        rows = b"".join(await client.collect("export", "csv", cursor=lines[0]["cursor"])).decode()
        none = b"".join(await client.collect("export", state="failed"))
    ids = [str(job.id) for job in reversed(jobs)]
    assert [line["id"] for line in lines] == [row["id"] for row in csv.DictReader(io.StringIO(table, newline=""))] == ids
    assert [json.loads(line)["id"] for line in rest.splitlines()] == ids[1:]
    assert table.endswith(rows)
    assert rows.startswith(ids[1])
    assert none == b""
