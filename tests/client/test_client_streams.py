"""Streams, lists and exports that break and go on."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from app.client import NotFoundError, UnexpectedAnswerError
from app.client.event_stream import MESSAGE_MAX, EventStream, Message
from app.client.export_records import RECORD_MAX, ExportFormat, ExportRecords
from tests.client.faces import Faces
from tests.client.stand_in import DROP, JOB_ID, answer, chunked, job, problem, standing_in

SSE = "text/event-stream; charset=utf-8"
NDJSON = "application/x-ndjson"


def event(number: int, kind: str) -> bytes:
    data = json.dumps({"id": number, "at": "2026-11-05T12:00:00Z", "type": kind, "data": {"n": number}})
    return f"event: {kind}\ndata: {data}\nid: {number}\n\n".encode()


END = b'event: end\ndata: {"state": "succeeded"}\n\n'


# --- a job's live timeline ---


async def test_a_stream_goes_on_behind_the_last_event_until_the_gateway_says_it_is_all(face: Faces) -> None:
    script = [
        chunked(b"retry: 3000\n\n", event(1, "accepted"), event(5, "submitting")[:-9], content_type=SSE, end=False),
        problem(503, "storage_unavailable"),
        chunked(b": ping\n\n", event(5, "submitting"), content_type=SSE),
        DROP,
        chunked(event(9, "succeeded"), END, b"id: 11\ndata: {}\n\n", content_type=SSE),
    ]
    async with standing_in(*script) as server, face(server.url) as client:
        events = await client.collect("stream", JOB_ID)
    assert [(e.id, e.type, e.data) for e in events] == [
        (1, "accepted", {"n": 1}),
        (5, "submitting", {"n": 5}),
        (9, "succeeded", {"n": 9}),
    ]
    assert [a.headers.get("last-event-id") for a in server.asked] == [None, "1", "1", "5", "5"]
    assert {a.headers["accept"] for a in server.asked} == {"text/event-stream"}
    assert client.pauses[0] == 3.0


async def test_a_stream_may_begin_behind_an_event(face: Faces) -> None:
    async with standing_in(chunked(END, content_type=SSE)) as server, face(server.url) as client:
        assert await client.collect("stream", JOB_ID, after=7) == []
    assert server.asked[0].headers["last-event-id"] == "7"


async def test_a_stream_of_no_job_is_told(face: Faces) -> None:
    async with standing_in(problem(404, "not_found")) as server, face(server.url) as client:
        with pytest.raises(NotFoundError):
            await client.collect("stream", JOB_ID)


@pytest.mark.parametrize(
    "strange",
    [
        answer({"events": []}),
        chunked(b"data: x\nid: 1\n\n", content_type=SSE),
        chunked(b"data: " + b"x" * MESSAGE_MAX, content_type=SSE),
        answer(b"", 204, content_type=None),
    ],
    ids=["JSON", "no event", "endless", "nothing"],
)
async def test_a_stream_that_is_none_is_told(face: Faces, strange: bytes) -> None:
    async with standing_in(strange) as server, face(server.url) as client:
        with pytest.raises(UnexpectedAnswerError):
            await client.collect("stream", JOB_ID)


def test_messages_do_not_depend_on_where_the_network_cuts() -> None:
    sent = "retry: 20\r\n: ping\r\rid: 1\rdata: a\r\ndata:b: ü\n\nevent: end\r\ndata\r\n\r\nid: 2\n\ndata: cut\n".encode()
    expected = [Message("message", "a\nb: ü", "1"), Message("end", "", None)]
    for at in range(len(sent) + 1):
        stream = EventStream()
        assert [*stream.feed(sent[:at]), *stream.feed(sent[at:])] == expected, at
        assert stream.retry == 0.02


# --- lists ---


def page(*numbers: int, cursor: str | None) -> bytes:
    ids = [f"0192f0c1-e2a3-7c5e-8d1f-{number:012}" for number in numbers]
    return answer({"jobs": [job(id=one) for one in ids], "next_cursor": cursor, "has_more": cursor is not None})


async def test_a_list_is_fetched_page_by_page_with_its_filters(face: Faces) -> None:
    script = [page(5, 4, cursor="c1"), DROP, page(3, cursor="c2"), page(cursor=None)]
    filters: dict[str, Any] = {"state": ["failed", "canceled"], "metadata": {"order": "1 7"}, "q": "狐狸 & fox"}
    async with standing_in(*script) as server, face(server.url) as client:
        jobs = await client.collect("jobs", **filters)
    assert [str(one.id)[-1] for one in jobs] == ["5", "4", "3"]
    asked = [("state", "failed"), ("state", "canceled"), ("metadata.order", "1 7"), ("q", "狐狸 & fox"), ("limit", "200")]
    cursors: list[list[tuple[str, str]]] = [[], [("cursor", "c1")], [("cursor", "c1")], [("cursor", "c2")]]
    assert [a.query for a in server.asked] == [asked + cursor for cursor in cursors]


async def test_a_list_whose_cursor_stands_still_ends(face: Faces) -> None:
    async with (
        standing_in(page(5, cursor="c1"), page(4, cursor="c1"), page(3, cursor="c1")) as server,
        face(server.url) as client,
    ):
        assert len(await client.collect("jobs")) == 2


async def test_an_instant_without_a_time_zone_is_refused(face: Faces) -> None:
    from datetime import datetime

    async with standing_in() as server, face(server.url) as client:
        with pytest.raises(ValueError, match="time zone"):
            await client.collect("jobs", created_after=datetime(2026, 11, 5))  # noqa: DTZ001


# --- exports ---

LAST = 5  #: of the records; the last one of a complete export has no cursor
CURSORS = [f"c{n}" if n < LAST else None for n in range(LAST + 1)]
LINES = [json.dumps({"id": n, "prompt": "ü\u2028x", "cursor": cursor}).encode() + b"\n" for n, cursor in enumerate(CURSORS)]


def csv_file(first: int = 0, *, header: bool = True) -> bytes:
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerows([["id", "prompt", "cursor"]] if header else [])
    rows.writerows([n, f'a "fox"\nin line {n}, ü', cursor] for n, cursor in enumerate(CURSORS) if n >= first)
    return text.getvalue().encode()


@pytest.mark.parametrize("breaks", [{"end": False}, {"end": False, "again": True}], ids=["once", "twice"])
async def test_an_export_goes_on_behind_the_last_whole_record(face: Faces, breaks: dict[str, bool]) -> None:
    script = [chunked(LINES[0], LINES[1] + LINES[2][:7], content_type=NDJSON, end=False)]
    if breaks.get("again"):
        script += [DROP, problem(503, "storage_unavailable"), chunked(LINES[2][:9], content_type=NDJSON, end=False)]
    script += [chunked(*LINES[2:], content_type=NDJSON)]
    async with standing_in(*script) as server, face(server.url) as client:
        blocks = await client.collect("export", "ndjson", state="failed")
    assert b"".join(blocks) == b"".join(LINES)
    first, *others = [a.query for a in server.asked]
    assert first == [("format", "ndjson"), ("state", "failed")]
    assert others == [[*first, ("cursor", "c1")]] * (len(script) - 1)


async def test_an_export_in_csv_keeps_one_header_and_whole_rows(face: Faces) -> None:
    whole = csv_file()
    cut = whole.index(b"in line 2") + 3
    script = [
        chunked(whole[:9], content_type="text/csv; charset=utf-8", end=False),
        chunked(whole[:23], content_type="text/csv", end=False),
        chunked(whole[:cut], content_type="text/csv", end=False),
        chunked(csv_file(2, header=False), content_type="text/csv"),
    ]
    async with standing_in(*script) as server, face(server.url) as client:
        blocks = await client.collect("export", "csv")
    assert b"".join(blocks) == whole
    assert [dict(a.query).get("cursor") for a in server.asked] == [None, None, None, "c1"]


@pytest.mark.parametrize(("export_format", "rest"), [("ndjson", b"".join(LINES[2:])), ("csv", csv_file(2, header=False))])
async def test_an_export_that_goes_on_from_yesterday_breaks_and_goes_on(face: Faces, export_format: str, rest: bytes) -> None:
    media_type = NDJSON if export_format == "ndjson" else "text/csv"
    cut = rest.index(b"c3") + (5 if export_format == "ndjson" else 4)
    script = [chunked(rest[:cut], content_type=media_type, end=False), chunked(rest[cut:], content_type=media_type)]
    async with standing_in(*script) as server, face(server.url) as client:
        blocks = await client.collect("export", export_format, cursor="c1")
    assert b"".join(blocks) == rest
    assert [dict(a.query)["cursor"] for a in server.asked] == ["c1", "c3"]


async def test_an_export_that_ends_before_its_last_record_goes_on(face: Faces) -> None:
    script = [chunked(*LINES[:2], content_type=NDJSON), chunked(*LINES[2:], content_type=NDJSON)]
    async with standing_in(*script) as server, face(server.url) as client:
        assert b"".join(await client.collect("export")) == b"".join(LINES)
    assert [dict(a.query).get("cursor") for a in server.asked] == [None, "c1"]


async def test_an_export_that_breaks_behind_its_last_record_is_whole(face: Faces) -> None:
    async with standing_in(chunked(*LINES, content_type=NDJSON, end=False)) as server, face(server.url) as client:
        assert b"".join(await client.collect("export")) == b"".join(LINES)
    assert (len(server.asked), client.pauses) == (1, [])


@pytest.mark.parametrize(("export_format", "nothing"), [("ndjson", b""), ("csv", b"id,cursor\r\n")])
async def test_an_export_of_no_jobs_ends(face: Faces, export_format: str, nothing: bytes) -> None:
    media_type = NDJSON if export_format == "ndjson" else "text/csv"
    async with standing_in(answer(nothing, content_type=media_type)) as server, face(server.url) as client:
        assert b"".join(await client.collect("export", export_format)) == nothing
    assert len(server.asked) == 1


@pytest.mark.parametrize("export_format", ["ndjson", "csv"])
def test_records_do_not_depend_on_where_the_network_cuts(export_format: ExportFormat) -> None:
    sent = b"".join(LINES) if export_format == "ndjson" else csv_file()
    for at in range(len(sent) + 1):
        records = ExportRecords(export_format)
        records.begin(None)
        first = records.feed(sent[:at])
        assert first in (b"", sent[: len(first)])
        assert first + records.feed(sent[at:]) == sent, at
        assert records.is_complete(ended=False)


def test_a_record_without_end_is_not_held() -> None:
    records = ExportRecords("csv")
    records.begin(None)
    with pytest.raises(UnexpectedAnswerError, match="too large"):
        records.feed(b'"' + b"x" * RECORD_MAX + b"\n")
