"""`gateway jobs list`, `export` and `watch` take the words of the search box, beside their options."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.cli.search import filters_of
from tests.acceptance.stage import ADMIN_KEY, open_stage
from tests.client.command import gateway, on_a_terminal
from tests.client.stand_in import JOB_ID, answer, chunked, job, standing_in
from tests.client.test_client_streams import LINES, NDJSON

OTHER_ID = "0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f21"
EMPTY = answer({"jobs": [], "next_cursor": None, "has_more": False})


def page(*jobs: dict[str, Any]) -> bytes:
    return answer({"jobs": list(jobs), "next_cursor": None, "has_more": False})


async def test_a_search_and_options_are_one_query() -> None:
    async with standing_in(EMPTY, chunked(*LINES, content_type=NDJSON)) as server:
        listed = await gateway(
            "jobs", "list", 'state:failed q:"red fox"', "meta.order:17", "snow", "--tenant", "design", "--metadata", "shop=b c",
            "--state", "canceled", "--q", "hen", url=server.url,
        )  # fmt: skip
        exported = await gateway("jobs", "export", "after:2026-01-01 via:callback", url=server.url)
    assert (listed.code, exported.code) == (0, 0)
    assert sorted(server.asked[0].query) == sorted(
        [
            ("state", "canceled"), ("state", "failed"), ("tenant", "design"), ("q", 'hen "red fox" snow'),
            ("metadata.shop", "b c"), ("metadata.order", "17"), ("limit", "50"),
        ]
    )  # fmt: skip
    assert server.asked[1].query == [("format", "ndjson"), ("created_after", "2026-01-01"), ("completed_via", "callback")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("colour:red", "colour: is no filter; known are state, tenant"),
        ('"red', "close the quotation mark"),
        ("meta.order:1 meta.order:2", "meta.order: give it only once"),
    ],
)
async def test_a_search_that_cannot_be_read_is_2_before_anything_is_asked(words: str, told: str) -> None:
    async with standing_in() as server:
        for command in ("list", "export", "watch"):
            ended = await gateway("jobs", command, words, url=server.url, variables={"COLUMNS": "200"})
            assert (ended.code, ended.out) == (2, "")
            assert told in ended.err
    assert server.asked == []


def test_ages_count_from_now() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    [after] = filters_of(["after:0s"], {})["created_after"]
    assert before <= datetime.fromisoformat(str(after)) <= datetime.now(UTC)


async def test_the_gateway_itself_reads_what_the_command_line_says(sqlite_url: str) -> None:
    async with open_stage(sqlite_url) as stage:
        fox = await stage.run('A "red fox" at 16:9', metadata={"the order": "17"})
        await stage.run("A white hen")
        there = {"url": stage.url, "key": ADMIN_KEY}
        for words in (
            '"red fox"',
            'meta."the order":17',
            'state:succeeded "16:9"',
            "red after:1h via:callback",
        ):
            found = json.loads((await gateway("jobs", "list", words, "--json", **there)).out)
            assert [one["id"] for one in found["jobs"]] == [fox["id"]], words
        twice = await gateway("jobs", "list", "tenant:a tenant:b", **there)
        assert (twice.code, twice.out) == (2, "")
        assert "tenant" in twice.err


# --- watch ---


async def test_a_watched_search_tells_each_change_once_and_ends_when_none_is_open() -> None:
    states = [("queued", "running"), ("queued", "running"), ("running", "succeeded"), ("succeeded", "succeeded")]
    pages = [page(job(one, id=OTHER_ID), job(other)) for one, other in states]
    async with standing_in(*pages, EMPTY) as server:
        ended = await gateway("jobs", "watch", "meta.batch:17", "--every", "0.5", url=server.url)
    assert [tuple(line.split("\t")[:2]) for line in ended.out.splitlines()] == [
        (JOB_ID, "running"), (OTHER_ID, "queued"), (JOB_ID, "succeeded"), (OTHER_ID, "running"), (OTHER_ID, "succeeded"),
    ]  # fmt: skip
    assert (ended.code, ended.err) == (0, "")
    open_ones = [("state", state) for state in ("queued", "submitting", "unconfirmed", "running")]
    assert server.asked[-1].query == [("metadata.batch", "17"), *open_ones, ("limit", "1")]


async def test_a_watched_search_ends_with_1_when_a_job_failed() -> None:
    async with standing_in(page(job("failed"), job("succeeded", id=OTHER_ID))) as server:
        ended = await gateway("jobs", "watch", "state:failed state:succeeded", "--json", url=server.url)
    assert (ended.code, [json.loads(line)["state"] for line in ended.out.splitlines()]) == (1, ["succeeded", "failed"])
    assert len(server.asked) == 1, "no open state was asked for"


@pytest.mark.parametrize(("end", "code"), [("failed", 1), ("canceled", 1), ("succeeded", 0)])
async def test_a_job_that_leaves_the_search_is_judged_by_its_end(end: str, code: int) -> None:
    pages = [page(job("running", id=OTHER_ID), job("running")), page(job("running"))]
    ended_well, ended = answer(job("succeeded")), answer(job(end, id=OTHER_ID))
    async with standing_in(*pages, EMPTY, EMPTY, ended, ended_well) as server:
        watched = await gateway("jobs", "watch", "state:running", "--every", "0.5", url=server.url)
    told = [tuple(line.split("\t")[:2]) for line in watched.out.splitlines()]
    assert told[-2:] == [(JOB_ID, "succeeded"), (OTHER_ID, end)]
    assert watched.code == code, watched.err


async def test_a_job_that_leaves_the_search_while_it_is_open_is_waited_for() -> None:
    ends = [answer(job("running")), answer(job("failed"))]
    async with standing_in(page(job("queued")), EMPTY, EMPTY, *ends) as server:
        watched = await gateway("jobs", "watch", "state:queued", "--every", "0.5", url=server.url)
    assert (watched.code, watched.out.splitlines()[-1].split("\t")[1]) == (1, "failed")


async def test_a_watched_search_on_a_terminal_is_a_table_that_is_drawn_anew() -> None:
    async with standing_in(page(job("running")), page(job("succeeded")), EMPTY) as server:
        ended = await on_a_terminal("jobs", "watch", "fox", "--every", "0.5", url=server.url)
    assert ended.code == 0
    assert "1 running" in ended.out
    assert "1 succeeded" in ended.out
    assert "A fox" in ended.out
