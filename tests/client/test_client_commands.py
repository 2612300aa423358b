"""`gateway jobs` and `gateway dispatch`: what they print where, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.stage import ADMIN_KEY, Stage
from tests.client.command import KEY, gateway, on_a_terminal
from tests.client.stand_in import DROP, JOB_ID, answer, chunked, job, problem, standing_in
from tests.client.test_client_calls import DISPATCH
from tests.client.test_client_streams import END, LINES, NDJSON, SSE, event, page

# --- with the gateway itself ---


async def test_a_job_by_commands_alone(stage: Stage) -> None:
    there = {"url": stage.url, "key": ADMIN_KEY}
    made = await gateway(
        "jobs", "submit", "-", "--size", "1024*768", "--metadata", "order=17", "--wait", given="A fox\n", **there
    )
    job_id = made.out.strip()
    assert (made.code, made.err) == (0, f"Job {job_id}: succeeded\n")
    shown = json.loads((await gateway("jobs", "show", job_id, "--json", **there)).out)
    assert (shown["state"], shown["prompt"], shown["metadata"]) == ("succeeded", "A fox", {"order": "17"})
    listed = await gateway("jobs", "list", "--state", "succeeded", **there)
    assert [line.split("\t")[::4] for line in listed.out.splitlines()] == [[job_id, "A fox"]]
    canceled = await gateway("jobs", "cancel", job_id, **there)
    assert (canceled.code, canceled.out) == (4, "")
    assert "already_settled" in canceled.err


async def test_dispatch_is_paused_and_resumed(stage: Stage) -> None:
    there = {"url": stage.url, "key": ADMIN_KEY}
    assert not json.loads((await gateway("dispatch", "pause", "--json", **there)).out)["submits"]["open"]
    assert "submits\tshut: paused" in (await gateway("dispatch", "status", **there)).out
    resumed = await gateway("dispatch", "resume", **there)
    assert (resumed.code, resumed.out.splitlines()[0]) == (0, "submits\topen")


# --- how they end ---


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (problem(404, "not_found"), 3),
        (problem(409, "already_settled"), 4),
        (problem(422, "idempotency_key_reused"), 4),
        (problem(422, "invalid_request"), 2),
        (problem(401, "unauthorized"), 2),
        (problem(403, "scope_missing"), 2),
        (problem(402, "credit_budget_exceeded"), 1),
        (problem(429, "too_many_requests", Retry_After="3600"), 1),
        (problem(500, "internal_error"), 5),
        (answer(b"<h1>nginx</h1>", content_type="text/html"), 5),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
async def test_what_the_gateway_refuses_is_one_line_and_an_exit_code(said: bytes, code: int) -> None:
    async with standing_in(said) as server:
        ended = await gateway("jobs", "cancel", JOB_ID, url=server.url)
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1)
    assert ended.err.startswith("gateway: ")
    assert KEY not in ended.err


async def test_a_gateway_out_of_reach_is_5_and_a_lost_submit_says_how_to_go_on() -> None:
    async with standing_in(DROP, DROP, DROP, DROP) as server:
        lost = await gateway("jobs", "submit", "A fox", url=server.url)
        key = server.asked[0].headers["idempotency-key"]
    assert (lost.code, lost.out) == (5, "")
    assert f"--idempotency-key {key}" in lost.err
    gone = await gateway("jobs", "list", url=server.url)
    assert (gone.code, gone.out) == (5, "")
    assert server.url in gone.err


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["list"], {"key": None}, "GATEWAY_API_KEY is not set"),
        (["list"], {"key": "two words"}, "GATEWAY_API_KEY"),
        (["list"], {"url": "gateway:8000"}, "http://"),
        (["show", "a/b"], {}, "job id"),
        (["submit", "A fox", "--metadata", "order"], {}, "KEY=VALUE"),
        (["submit", "A fox", "--format", "gif"], {}, "--format"),
        (["list", "--limit", "0"], {}, "--limit"),
        (["export", "--format", "csv", "--json"], {}, "--json"),
        (["export", "--output", "/nowhere/at/all"], {}, "--output"),
        (["export", "--output", "/dev/null"], {}, "--output"),
    ],
)
async def test_bad_usage_and_settings_are_2_and_named(
    arguments: list[str], environment: dict[str, str | None], told: str
) -> None:
    ended = await gateway("jobs", *arguments, **{"url": "http://127.0.0.1:9", **environment})  # type: ignore[arg-type]
    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err
    assert "two words" not in ended.err


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("canceled", 1)])
async def test_the_exit_code_of_a_wait_tells_how_the_job_ended(state: str, code: int) -> None:
    async with standing_in(answer(job(), 202), answer(job("running", poll_after_ms=1)), answer(job(state))) as server:
        ended = await gateway("jobs", "retry", JOB_ID, "--wait", "--json", url=server.url)
    assert (ended.code, json.loads(ended.out)["state"], ended.err) == (code, state, "")


async def test_a_wait_that_is_over_is_1_and_has_told_the_id() -> None:
    async with standing_in(answer(job(), 202), answer(job("running"))) as server:
        ended = await gateway("jobs", "submit", "A fox", "--wait", "--timeout", "0", url=server.url)
    assert (ended.code, ended.out.strip()) == (1, JOB_ID)
    assert "still running" in ended.err


# --- what they print ---


async def test_a_list_is_tab_separated_and_other_peoples_words_stay_on_their_line() -> None:
    nasty = job(prompt="a\tfox\n\x1b[2J\u202e")
    async with standing_in(answer({"jobs": [nasty], "next_cursor": "c1", "has_more": True})) as server:
        ended = await gateway("jobs", "list", "--limit", "1", "--metadata", "order=1 7", url=server.url)
    assert ended.out == f"{JOB_ID}\tqueued\t\t0\ta fox  [2J \n"
    assert "--cursor c1" in ended.err
    assert server.asked[0].query == [("metadata.order", "1 7"), ("limit", "1")]


async def test_json_holds_what_a_later_gateway_adds() -> None:
    async with standing_in(answer({"jobs": [job(mood="狐")], "next_cursor": None, "has_more": False, "total": 1})) as server:
        ended = await gateway("jobs", "list", "--json", url=server.url)
    assert json.loads(ended.out) == {"jobs": [job(mood="狐")], "next_cursor": None, "has_more": False, "total": 1}


async def test_a_list_on_a_terminal_is_a_table() -> None:
    async with standing_in(page(1, 2, cursor=None), DISPATCH) as server:
        listed = await on_a_terminal("jobs", "list", url=server.url)
        status = await on_a_terminal("dispatch", "status", url=server.url)
    assert listed.code == status.code == 0
    assert "accepted" in listed.out.splitlines()[0]
    assert "A fox" in listed.out
    assert "3 of 100" in status.out


WATCHED = [
    answer(job("running")),
    chunked(event(1, "accepted"), event(2, "running"), content_type=SSE, end=False),
    chunked(event(3, "succeeded"), END, content_type=SSE),
    answer(job("succeeded", finished_at="2026-11-05T12:00:00Z")),
]


async def test_a_watch_prints_an_event_a_line() -> None:
    async with standing_in(*WATCHED) as server:
        ended = await gateway("jobs", "watch", JOB_ID, url=server.url)
    assert ended.code == 0
    assert [line.split("\t")[1] for line in ended.out.splitlines()] == ["accepted", "running", "succeeded"]


async def test_a_watch_in_json_ends_with_the_job() -> None:
    async with standing_in(*WATCHED[:-1], answer(job("failed"))) as server:
        ended = await gateway("jobs", "watch", JOB_ID, "--json", url=server.url)
    *events, last = map(json.loads, ended.out.splitlines())
    assert ([one["type"] for one in events], last["state"], ended.code) == (["accepted", "running", "succeeded"], "failed", 1)


async def test_a_watch_on_a_terminal_is_a_live_view() -> None:
    async with standing_in(*WATCHED) as server:
        ended = await on_a_terminal("jobs", "watch", JOB_ID, url=server.url)
    assert ended.code == 0
    assert "\x1b[" in ended.out
    assert JOB_ID in ended.out
    assert all(kind in ended.out for kind in ("accepted", "running", "succeeded"))


# --- exports ---


async def test_an_export_goes_to_standard_output_through_a_break() -> None:
    cut = [chunked(*LINES[:2], LINES[2][:5], content_type=NDJSON, end=False), chunked(*LINES[2:], content_type=NDJSON)]
    async with standing_in(*cut) as server:
        ended = await gateway("jobs", "export", "--state", "failed", url=server.url)
    assert (ended.code, ended.out) == (0, b"".join(LINES).decode())


async def test_an_exports_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "jobs.ndjson"
    file.write_text("before")
    async with standing_in(
        chunked(*LINES[:2], content_type=NDJSON, end=False), problem(403, "scope_missing"), chunked(*LINES, content_type=NDJSON)
    ) as server:
        broken = await gateway("jobs", "export", "--output", str(file), url=server.url)
        assert (broken.code, file.read_text(), list(tmp_path.iterdir())) == (2, "before", [file])
        whole = await gateway("jobs", "export", "--output", str(file), "--json", url=server.url)
    assert (whole.code, file.read_bytes(), list(tmp_path.iterdir())) == (0, b"".join(LINES), [file])
    assert json.loads(whole.out) == {"file": str(file), "bytes": len(b"".join(LINES))}
