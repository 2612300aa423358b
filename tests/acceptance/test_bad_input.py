"""Bad input by the dozen: each gets its clear error, nothing is echoed raw, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.acceptance.stage import Stage, open_stage

JSON = {"Content-Type": "application/json"}
CANARY = "canary-7c1e"


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with open_stage(database_url) as opened:
        await opened.api.post("/dispatch/pause")
        yield opened


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"prompt": "A", "prompt": "B"}', "prompt"),
        (b'{"prompt": "A", "metadata": {"a": "1", "a": "2"}}', "a"),
        (b'{"prompt": "A", "\\u0070rompt": "B"}', "prompt"),
    ],
)
async def test_what_is_given_twice_is_refused(stage: Stage, body: bytes, field: str) -> None:
    answer = await stage.api.post("/jobs", content=body, headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": field, "message": "give it once"}]


@pytest.mark.parametrize(
    "body",
    [
        '{"prompt": "雨"}'.encode("utf-16"),
        '{"prompt": "雨"}'.encode("utf-32-le"),
        '{"prompt": "é"}'.encode("latin-1"),
        '\ufeff{"prompt": "A"}'.encode(),
        b'{"prompt": "A"} trailing',
        b'{"prompt": "A"}{"prompt": "B"}',
        b"{'prompt': 'A'}",
        b'{"prompt": "A",}',
        b'{"prompt": "A" /* why */}',
        b'{"prompt": "\x01"}',
        b'{"prompt": "\\x41"}',
        b'{"prompt": "A", "seed": 0x10}',
        b'{"prompt": "A", "seed": 1e999}',
        b'{"prompt": "A", "seed": -Infinity}',
        b'{"prompt": "A", "seed": ' + b"9" * 5000 + b"}",
        b'{"prompt": "A", "metadata": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
        b'{"prompt": {"$gt": ""}}',
        b'{"prompt": ["A"]}',
        b'{"prompt": true}',
        b'{"__proto__": {"prompt": "A"}, "prompt": "A"}',
        b'{"prompt": "A", "state": "succeeded"}',
        b'{"prompt": "A", "tenant": "other"}',
        b'{"prompt": "A", "id": "0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f20"}',
        b'{"prompt": "A", "callback_url": ""}',
        b'{"prompt": "A", "callback_url": "ftp://caller.example/"}',
        b'{"prompt": "A", "callback_url": "https://user:secret@caller.example/"}',
        b'{"prompt": "A", "callback_url": "https://caller.example/\\r\\nX: 1"}',
        b'{"prompt": "A", "reuse": "always"}',
        b'{"prompt": "A", "metadata": {"": "empty"}}',
        b'{"prompt": "A", "metadata": [["a", "b"]]}',
        b'{"prompt": "A", "size": "1024X1024"}',
        b'{"prompt": "A", "size": 1024}',
    ],
)
async def test_a_nasty_body_is_refused_and_leaves_nothing(stage: Stage, body: bytes) -> None:
    answer = await stage.api.post("/jobs", content=body, headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text
    assert answer.json()["errors"]
    assert len(answer.content) < 2000
    assert (await stage.api.get("/jobs")).json()["jobs"] == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"prompt": "x" * 2001}, "write at most 2000 characters"),
        ({"prompt": ""}, "write at least 1 character"),
        ({"prompt": "A", "metadata": {"k" * 41: ""}}, "write at most 40 characters"),
        ({"prompt": "A", "metadata": {"k": "x" * 501}}, "write at most 500 characters"),
        ({"prompt": "A", "callback_url": "https://x.example/" + "x" * 2000}, "write at most 2000 characters"),
        ({"prompt": "A", "metadata": {str(n): "" for n in range(17)}}, "Dictionary should have at most 16 items"),
    ],
)
async def test_a_text_that_is_too_long_is_told_in_characters(stage: Stage, body: dict[str, Any], message: str) -> None:
    [error] = (await stage.api.post("/jobs", json=body)).json()["errors"]
    assert error["message"].startswith(message), error


async def test_values_are_never_echoed_in_errors(stage: Stage) -> None:
    bodies: list[dict[str, Any]] = [
        {"prompt": CANARY * 300},
        {"prompt": "A", "size": CANARY},
        {"prompt": "A", "metadata": {"k": CANARY * 100}},
        {"prompt": "A", "callback_url": f"http://169.254.169.254/{CANARY}"},
        {"prompt": "A", "priority": CANARY},
    ]
    for body in bodies:
        answer = await stage.api.post("/jobs", json=body)
        assert answer.status_code == 422
        assert CANARY not in answer.text
    for path in (f"/jobs/{CANARY}", f"/{CANARY}", f"/callbacks/{CANARY}", f"/jobs?cursor={CANARY}", f"/jobs?limit={CANARY}"):
        answer = await stage.api.get(path)
        assert answer.status_code in (404, 405, 422)
        assert CANARY not in answer.text


async def test_line_ends_in_metadata_stay_data(stage: Stage) -> None:
    value = "a\r\nX-Evil: 1\r\n\r\n<script>"
    job = await stage.accept(metadata={"k": value})
    answer = await stage.api.get(f"/jobs/{job['id']}")
    assert answer.json()["metadata"] == {"k": value}
    assert "x-evil" not in answer.headers
    assert b"\r\n" not in answer.content


@pytest.mark.parametrize("path", ["/jobs", "/jobs/batch", "/jobs/quote"])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
async def test_twenty_megabytes_are_refused(stage: Stage, path: str, declared: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"prompt": "'
        for _ in range(20):
            yield b"x" * 1024 * 1024

    content = b"".join([chunk async for chunk in chunks()]) if declared else chunks()
    answer = await stage.api.post(path, content=content, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "content_too_large")


async def test_a_coded_body_is_not_taken_for_a_broken_one(stage: Stage) -> None:
    answer = await stage.api.post("/jobs", content=b"\x1f\x8b", headers={**JSON, "Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [
        ("PUT", "/jobs", "GET, POST"),
        ("DELETE", "/jobs/x", "GET"),
        ("GET", "/jobs/x/cancel", "POST"),
        ("PATCH", "/keys", "GET, POST"),
        ("PATCH", "/tenants/x", "GET, PUT"),
        ("POST", "/jobs/x/images/0", "GET, HEAD"),
        ("DELETE", "/healthz", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_names_the_right_ones(stage: Stage, method: str, path: str, right: str) -> None:
    answer = await stage.api.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == right


async def test_a_defect_of_ours_tells_nothing_but_its_request_id(stage: Stage) -> None:
    async def boom() -> None:
        raise RuntimeError(CANARY)

    stage.app.add_api_route("/boom", boom)
    with capture_logs() as logs:
        answer = await stage.api.get("/boom", headers={"X-Request-ID": "my-id"})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert (answer.json()["code"], answer.json()["request_id"]) == ("internal_error", "my-id")
    assert CANARY not in answer.text
    assert [line["route"] for line in logs if line["event"] == "request failed"] == ["/boom"]


async def test_a_body_that_stops_coming_is_given_up(stage: Stage) -> None:
    """The client's side of a request that announces more than it sends, and hangs up."""
    host, port = stage.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    key = stage.api.headers["Authorization"]
    fields = ("Host: x", f"Authorization: {key}", "Content-Type: application/json", "Content-Length: 100")
    head = "\r\n".join(("POST /jobs HTTP/1.1", *fields, "", ""))
    writer.write(head.encode() + json.dumps({"prompt": "A"}).encode())
    writer.write_eof()
    await reader.read()
    writer.close()
    assert (await stage.api.get("/jobs")).json()["jobs"] == []


@pytest.mark.parametrize("name", ["body", "query", "path", "header"])
async def test_a_field_that_is_called_like_a_part_of_the_request_is_named(stage: Stage, name: str) -> None:
    answer = await stage.api.post("/jobs", json={"prompt": "A", name: 1, "metadata": {name: 1}})
    assert {error["field"] for error in answer.json()["errors"]} == {name, f"metadata.{name}"}
    answer = await stage.api.get("/deliveries", params={name: "1", "limit": "x"})
    assert {error["field"] for error in answer.json()["errors"]} == {name, "limit"}


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/usage?tenant=%00", "tenant"),
        ("/deliveries?origin=https://a%00", "origin"),
        ("/receivers?origin=https://a%00", "origin"),
    ],
)
async def test_what_no_database_holds_is_refused_in_a_query(stage: Stage, path: str, field: str) -> None:
    answer = await stage.api.get(path)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("origin", [f"https://{CANARY}:port", f"ftp://{CANARY}", CANARY, f"https://[{CANARY}"])
async def test_an_origin_that_is_none_is_refused_without_repeating_it(stage: Stage, origin: str) -> None:
    answer = await stage.api.get("/receivers", params={"origin": origin})
    message = "write scheme, host and port, like https://hooks.example"
    assert answer.json()["errors"] == [{"field": "origin", "message": message}]
