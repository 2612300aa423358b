"""What the gateway adds to the upstream's contract, in the upstream's envelope."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from app import problems
from app.drop_in.enveloped_route import EnvelopedRoute
from app.errors import StorageUnavailableError
from tests.acceptance.stage import ADMIN_KEY, PATIENCE, Stage
from tests.drop_in.document_client import POLL_EVERY, DocumentClient, connected
from tests.drop_in.targets import key_of


@pytest.fixture
async def http(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """Without a key."""
    async with connected(stage.url) as opened:
        yield opened


@pytest.fixture
def client(http: httpx.AsyncClient) -> DocumentClient:
    return DocumentClient(http, ADMIN_KEY)


async def test_a_task_id_is_a_jobs_id_both_ways(stage: Stage, client: DocumentClient) -> None:
    task_id = await client.start("A fox", seed=7)
    job = (await stage.api.get(f"/jobs/{task_id}")).json()
    assert (job["prompt"], job["seed"], job["priority"], job["metadata"]) == ("A fox", 7, "normal", {})
    assert (await client.task((await stage.accept("A hen"))["id"]))["request"]["prompt"] == "A hen"


async def test_a_task_goes_upstream_once_and_costs_what_the_upstream_says(stage: Stage, client: DocumentClient) -> None:
    done = await client.polled(await client.start("A fox", seed=7, size="768*1024", output_format="webp"))
    (task,) = stage.tasks()
    assert (task["prompt"], task["requested_seed"], task["size"], task["output_format"]) == ("A fox", 7, "768*1024", "webp")
    assert done["consumed_credits"] == task["consumed_credits"] == 5


async def test_a_stored_picture_opens_by_a_link_of_ours_without_a_key(
    stage: Stage, client: DocumentClient, http: httpx.AsyncClient
) -> None:
    task_id = await client.start(output_format="png")
    theirs = stage.emulator_url
    async with asyncio.timeout(PATIENCE):
        while (await client.polled(task_id))["response"][0].startswith(theirs):
            await asyncio.sleep(POLL_EVERY)  # the archive tells callers nothing; they poll
    (address,) = (await client.task(task_id))["response"]
    assert address.startswith(f"{stage.url}/jobs/{task_id}/images/0?")
    picture = await http.get(address)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    assert (await http.get(address.partition("?")[0])).status_code == 401


async def test_a_canceled_job_reads_failed(stage: Stage, client: DocumentClient) -> None:
    await stage.api.post("/dispatch/pause")
    task_id = await client.start()
    assert (await client.task(task_id))["status"] == "PENDING"
    await stage.api.post(f"/jobs/{task_id}/cancel")
    task = await client.task(task_id)
    assert (task["status"], task["error_message"], task["consumed_credits"]) == ("FAILED", "The task was canceled.", 0)


REFUSED = [
    ({"prompt": "a\0b"}, "'prompt' must not hold NUL characters or lone surrogates."),
    ({"prompt": "a\ud800b"}, "'prompt' must not hold NUL characters or lone surrogates."),
    ({"seed": -2}, "'seed' must be an integer number from -1 to 9223372036854775807."),
    ({"seed": 2**63}, "'seed' must be an integer number from -1 to 9223372036854775807."),
    ({"seed": 1e300}, "'seed' must be an integer number from -1 to 9223372036854775807."),
    ({"callback_url": "http://hook.example/"}, "'callback_url' is not allowed: the URL must begin with https://."),
    ({"callback_url": "https://127.0.0.1/"}, None),
    ({"callback_url": "https://169.254.169.254/latest"}, None),
    ({"callback_url": "https://user:secret@hook.example/"}, None),
    ({"callback_url": "https://hook.example/\0"}, None),
    ({"callback_url": "https://hook.example/" + "x" * 2000}, None),
]


async def test_what_the_gateway_cannot_keep_or_may_not_call_is_refused(stage: Stage, client: DocumentClient) -> None:
    for fields, message in REFUSED:
        answer = await client.send(json.dumps({"prompt": "A fox", **fields}).encode())
        assert (answer.code, answer.data) == (400, None), fields
        if message is None:
            assert answer.message.startswith("Bad Request: 'callback_url' is not allowed: "), fields
            assert "secret" not in answer.message
        else:
            assert answer.message == f"Bad Request: {message}"
    assert (await stage.api.get("/jobs")).json()["jobs"] == []


async def test_a_seed_of_63_bits_is_accepted(client: DocumentClient) -> None:
    assert (await client.task(await client.start(seed=2**63 - 1)))["request"]["seed"] == 2**63 - 1


async def test_a_body_over_the_limit_is_413(client: DocumentClient) -> None:
    answer = await client.send(b'{"prompt": "A fox", "x": "' + b"x" * 300_000 + b'"}')
    assert (answer.code, answer.data) == (413, None)
    assert answer.message.startswith("Content Too Large: ")


async def test_a_key_without_the_scope_is_403(stage: Stage, http: httpx.AsyncClient) -> None:
    reader = DocumentClient(http, await key_of(stage, "acme", "jobs:read"))
    writer = DocumentClient(http, await key_of(stage, "acme", "jobs:write"))
    task_id = await writer.start()
    for answer, scope in ((await reader.generate(), "jobs:write"), (await writer.status(task_id), "jobs:read")):
        assert (answer.code, answer.data) == (403, None)
        assert answer.message == f"Forbidden: This API key lacks the scope {scope}."
    assert (await reader.task(task_id))["task_id"] == task_id


async def test_too_many_requests_are_429_and_say_when_to_come_again(stage: Stage, http: httpx.AsyncClient) -> None:
    client = DocumentClient(http, await key_of(stage, "acme"))
    limits = {"monthly_credits": None, "open_jobs_max": None, "requests_per_second": 0.01}
    await stage.api.put("/tenants/acme", json=limits)
    first, second = await client.generate(), await client.generate()
    assert first.code == 200
    assert first.headers["ratelimit"].startswith('"requests";r=0;')
    assert (second.code, second.data) == (429, None)
    assert second.message.startswith("Too Many Requests: ")
    assert 0 < int(second.headers["retry-after"]) <= 100


async def test_a_401_says_which_scheme_it_takes(http: httpx.AsyncClient) -> None:
    assert (await DocumentClient(http, None).generate()).headers["www-authenticate"] == "Bearer"


async def test_an_idempotency_key_finds_the_first_task_again(stage: Stage, client: DocumentClient) -> None:
    async def ask(body: str, key: str = "order-17") -> tuple[int, str | None, bool]:
        answer = await client.ask("POST", "/api/generate", {"Idempotency-Key": key}, content=body.encode())
        replayed = answer.headers.get("idempotent-replayed") == "true"
        return answer.code, answer.data and answer.data["task_id"], replayed

    first = await ask('{"prompt": "A fox"}')
    assert first[::2] == (200, False)
    assert await ask('{"prompt": "A fox", "seed": -1, "style": "oil"}') == (200, first[1], True)
    assert await ask('{"prompt": "A hen"}') == (422, None, False)
    assert await ask("nonsense") == (422, None, False)
    assert await ask('{"prompt": "A fox", "callback_url": "http://127.0.0.1/"}') == (422, None, False)
    assert await ask('{"prompt": "A fox"}', key="no good") == (400, None, False)
    assert len((await stage.api.get("/jobs")).json()["jobs"]) == 1


async def test_a_key_of_the_other_route_is_not_taken_for_the_same_request(stage: Stage, client: DocumentClient) -> None:
    await stage.api.post("/jobs", json={"prompt": "A fox"}, headers={"Idempotency-Key": "order-17"})
    answer = await client.ask("POST", "/api/generate", {"Idempotency-Key": "order-17"}, json={"prompt": "A fox"})
    assert answer.code == 422


async def test_errors_of_ours_are_envelopes_too_and_say_nothing_of_themselves() -> None:
    router = APIRouter(route_class=EnvelopedRoute)

    @router.get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError("secret")

    @router.get("/away")
    async def away() -> None:
        raise StorageUnavailableError("secret")

    app = FastAPI()
    problems.install(app)
    app.include_router(router, prefix="/api")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway.test") as http:
        client = DocumentClient(http, None)
        defect, outage = await client.ask("GET", "/api/broken"), await client.ask("GET", "/api/away")
    assert (defect.code, defect.message, defect.data) == (500, "Internal Server Error", None)
    assert (outage.code, outage.message, outage.data) == (503, "Service Unavailable: try again.", None)
    assert outage.headers["retry-after"] == "2"


async def test_the_openapi_pages_describe_it(stage: Stage) -> None:
    paths = (await stage.api.get("/openapi.json")).json()["paths"]
    generate, status = paths["/api/generate"]["post"], paths["/api/status"]["get"]
    assert set(generate["responses"]) == {"200", "400", "401", "402", "403", "408", "413", "422", "429", "500", "503"}
    assert set(status["responses"]) == {"200", "400", "401", "403", "404", "500", "503"}
    assert generate["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/GenerateRequest")
