"""One client of the upstream's document, with the same assertions against the emulator and against the gateway."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.drop_in.document_client import DocumentClient
from tests.drop_in.targets import Target

NOBODYS = ("n43abc123def456qwenimg", "0192f0c1-e2a3-7c5e-8d1f-3b5a7c9e1f20", "%00", "任务")
SIZES = "1024*1024, 1024*1536, 1536*1024, 768*1024, 1024*768"


async def test_a_picture_from_its_prompt_to_its_address(target: Target) -> None:
    before = datetime.now(UTC)
    task_id = await target.client.start("A serene mountain landscape at sunset", size="1024*768", output_format="png", seed=7)
    done = await target.client.polled(task_id)
    assert (done["status"], done["consumed_credits"], done["error_message"]) == ("SUCCESS", 5, None)
    assert done["request"] == {
        "prompt": "A serene mountain landscape at sunset", "size": "1024*768", "seed": 7, "output_format": "png",
    }  # fmt: skip
    told = datetime.strptime(done["created_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert before - timedelta(seconds=2) < told < before + timedelta(minutes=1)
    (address,) = done["response"]
    picture = await target.http.get(address)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")


async def test_an_open_task_is_billed_in_advance_and_shows_nothing_else(target: Target) -> None:
    task_id = await target.client.start("A fox [[never-ends]]")
    for data in (await target.client.task(task_id), await target.client.polled(task_id, "IN_PROGRESS")):
        assert data["status"] in ("PENDING", "IN_PROGRESS")
        assert (data["consumed_credits"], data["error_message"], data["response"]) == (5, None, None)


@pytest.mark.parametrize(
    ("fault", "why", "cost"),
    [("content-failure", "Content policy violation detected", 0), ("failure-billed", "Image generation failed", 5)],
)
async def test_a_failed_task_says_why_and_what_it_cost(target: Target, fault: str, why: str, cost: int) -> None:
    done = await target.client.polled(await target.client.start(f"A fox [[{fault}]]"))
    assert (done["status"], done["consumed_credits"]) == ("FAILED", cost)
    assert (done["error_message"], done["response"]) == (why, None)


async def test_defaults_are_applied_and_shown(target: Target) -> None:
    data = await target.client.task(await target.client.start("A fox"))
    assert data["request"] == {"prompt": "A fox", "size": "1024*1024", "seed": -1, "output_format": "jpeg"}


async def test_the_callback_url_is_echoed_where_one_was_given(target: Target) -> None:
    url = "http://127.0.0.1:9/hook"
    assert (await target.client.task(await target.client.start(callback_url=url)))["request"]["callback_url"] == url


async def test_a_prompt_is_kept_to_the_letter(target: Target) -> None:
    for prompt in ("x", "x" * 2000, "狐" * 2000, "🦊" * 2000, " a\tb\n"):
        assert (await target.client.task(await target.client.start(prompt)))["request"]["prompt"] == prompt


async def test_an_integral_seed_is_accepted(target: Target) -> None:
    for seed in (-1, 0, 42, 42.0, 2**53):
        echoed = (await target.client.task(await target.client.start(seed=seed)))["request"]["seed"]
        assert (echoed, type(echoed)) == (int(seed), int)


async def test_every_size_and_format_of_the_document_is_accepted(target: Target) -> None:
    for size in SIZES.split(", "):
        for output_format in ("jpeg", "png", "webp"):
            await target.client.start(size=size, output_format=output_format)


async def test_unknown_fields_are_ignored_and_the_content_type_is_not_looked_at(target: Target) -> None:
    task_id = await target.client.start("A fox", style="oil", n=4, metadata=7, priority="urgent", reuse="exact")
    assert "style" not in (await target.client.task(task_id))["request"]
    untyped = await target.client.ask("POST", "/api/generate", content=b'{"prompt": "A fox"}')
    assert untyped.code == 200


async def test_the_last_of_two_equal_fields_counts(target: Target) -> None:
    answer = await target.client.send(b'{"prompt": 7, "prompt": "A fox"}')
    assert (await target.client.task(answer.data["task_id"]))["request"]["prompt"] == "A fox"


WRONG_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"prompt": None}, "'prompt' is required."),
    ({"prompt": ""}, "'prompt' is required."),
    ({"prompt": "  \n"}, "'prompt' is required."),
    ({"prompt": 7}, "'prompt' must be a string."),
    ({"prompt": ["a fox"]}, "'prompt' must be a string."),
    ({"prompt": "x" * 2001}, "'prompt' must be at most 2000 characters."),
    ({"prompt": "🦊" * 2001}, "'prompt' must be at most 2000 characters."),
    ({"prompt": 7, "size": "1*1"}, "'prompt' must be a string."),
    *(({"size": size}, f"'size' must be one of: {SIZES}.") for size in ("512*512", "1024x1024", None, 1024, ["1024*1024"])),
    *(({"seed": seed}, "'seed' must be an integer number.") for seed in ("42", True, 42.5, None, [1])),
    *(
        ({"output_format": name}, "'output_format' must be one of: jpeg, png, webp.")
        for name in ("jpg", "PNG", None, 1, {"jpeg": 1})
    ),
    *(
        ({"callback_url": url}, "'callback_url' must be an http or https URL.")
        for url in ("ftp://hook.example/", "/jobs/1", "http://", "http://[::1/", "https://a:b/", "", 7, None)
    ),
]


async def test_a_wrong_field_is_refused_in_the_documents_words(target: Target) -> None:
    for fields, message in WRONG_FIELDS:
        await refused(target.client, json.dumps({"prompt": "A fox", **fields}).encode(), message)


async def test_a_missing_prompt_is_refused_in_the_documents_words(target: Target) -> None:
    await refused(target.client, b"{}", "'prompt' is required.")


BROKEN_BODIES: list[tuple[bytes, str]] = [
    (b"", "body is not valid JSON."),
    (b"prompt=fox", "body is not valid JSON."),
    (b"\xff", "body is not valid JSON."),
    (b'\xef\xbb\xbf{"prompt": "A fox"}', "body is not valid JSON."),
    (b'{"prompt": NaN}', "body is not valid JSON."),
    (b'{"prompt": "A fox", "seed": Infinity}', "body is not valid JSON."),
    (b'{"prompt": "A fox", "seed": ' + b"9" * 5000 + b"}", "body is not valid JSON."),
    (b"[" * 100_000, "body is not valid JSON."),
    (b'{"prompt": "A fox"', "body is not valid JSON."),
    ('{"prompt": "A fox"}'.encode("utf-16"), "body is not valid JSON."),
    (b"[]", "body must be a JSON object."),
    (b'"fox"', "body must be a JSON object."),
    (b"null", "body must be a JSON object."),
]


async def test_a_body_that_is_no_json_object_is_refused(target: Target) -> None:
    for body, message in BROKEN_BODIES:
        await refused(target.client, body, message)


BAD_KEYS = (None, "", "sk-ours", "Bearer", "Bearer sk-wrong", "Basic c2stb3Vycw==", "Bearer gw_0_x y")


async def test_without_a_good_key_everything_is_401(target: Target) -> None:
    task_id, stranger = await target.client.start(), DocumentClient(target.http, None)
    for authorization in BAD_KEYS:
        headers = {} if authorization is None else {"Authorization": authorization}
        for answer in (
            await stranger.ask("POST", "/api/generate", headers, json={"prompt": "A fox"}),
            await stranger.ask("POST", "/api/generate", headers, content=b"nonsense"),
            await stranger.ask("GET", "/api/status", headers, params={"task_id": task_id}),
        ):
            assert (answer.code, answer.data) == (401, None), authorization
            assert answer.message == "Unauthorized: API key is missing or invalid."


async def test_a_task_that_is_not_there_is_404_and_so_is_another_keys(target: Target) -> None:
    task_id = await target.client.start()
    answers = [await target.client.status(nobodys) for nobodys in NOBODYS]
    for answer in [*answers, await target.other.status(task_id)]:
        assert (answer.code, answer.message, answer.data) == (404, "Not Found: task does not exist.", None)
    assert (await target.client.status(task_id)).code == 200


async def test_a_missing_task_id_is_400(target: Target) -> None:
    for query in ("", "?task_id=", "?id=1"):
        answer = await target.client.ask("GET", f"/api/status{query}")
        assert (answer.code, answer.message, answer.data) == (400, "Bad Request: 'task_id' is required.", None)


async def test_an_account_without_credits_is_402(target: Target) -> None:
    answer = await target.poor.generate()
    assert (answer.code, answer.data) == (402, None)
    assert answer.message.startswith("Payment Required: ")


async def test_another_method_is_405(target: Target) -> None:
    for method, path, allowed in (("GET", "generate", "POST"), ("PUT", "generate", "POST"), ("POST", "status", "GET")):
        answer = await target.client.ask(method, f"/api/{path}")
        assert (answer.code, answer.message, answer.data) == (405, "Method Not Allowed", None)
        assert allowed in answer.headers["allow"]


async def refused(client: DocumentClient, body: bytes, message: str) -> None:
    answer = await client.send(body)
    assert (answer.code, answer.message, answer.data) == (400, f"Bad Request: {message}", None), body[:80]
