"""A client of the upstream, written from its document and from nothing else: all that changes between targets is its base URL.

The document: `POST /api/generate` answers with a task id, `GET /api/status` is polled until SUCCESS or FAILED, every answer is
an envelope, and a `callback_url` is called once the task has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

STATUSES = ("PENDING", "IN_PROGRESS", "SUCCESS", "FAILED")
POLL_EVERY = 0.05  #: seconds; the document asks for 5 to 10, of pictures that take as long


@dataclass(frozen=True)
class Answer:
    """An answer of the API, taken out of its envelope."""

    code: int
    message: str
    data: Any
    headers: Mapping[str, str]


class DocumentClient:
    """Holds one API key."""

    def __init__(self, http: httpx.AsyncClient, key: str | None) -> None:
        self._http = http
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    async def generate(self, prompt: str = "A serene mountain landscape at sunset", **fields: Any) -> Answer:
        return await self.ask("POST", "/api/generate", json={"prompt": prompt, **fields})

    async def send(self, body: bytes) -> Answer:
        """`POST /api/generate` with a body as it is."""
        return await self.ask("POST", "/api/generate", content=body, headers={"Content-Type": "application/json"})

    async def start(self, prompt: str = "A serene mountain landscape at sunset", **fields: Any) -> str:
        """The id of an accepted task."""
        answer = await self.generate(prompt, **fields)
        assert (answer.code, answer.message) == (200, "success"), answer
        assert list(answer.data) == ["task_id", "status"]
        assert answer.data["status"] == "IN_PROGRESS"
        task_id = answer.data["task_id"]
        assert isinstance(task_id, str)
        return task_id

    async def status(self, task_id: str) -> Answer:
        return await self.ask("GET", "/api/status", params={"task_id": task_id})

    async def task(self, task_id: str) -> dict[str, Any]:
        """The `data` of a status answer, with the document's fields in its order, and no other."""
        answer = await self.status(task_id)
        assert (answer.code, answer.message) == (200, "success"), answer
        data: dict[str, Any] = answer.data
        assert list(data) == [
            "task_id", "status", "consumed_credits", "error_message", "created_at", "request", "response",
        ]  # fmt: skip
        assert data["task_id"] == task_id
        assert data["status"] in STATUSES
        return data

    async def polled(self, task_id: str, *wanted: str) -> dict[str, Any]:
        """Polls until the task has one of these statuses; without any, until it has ended."""
        while (data := await self.task(task_id))["status"] not in (wanted or ("SUCCESS", "FAILED")):
            await asyncio.sleep(POLL_EVERY)
        return data

    async def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        return read(await self._http.request(method, path, headers={**self._headers, **(headers or {})}, **more))


def read(answer: httpx.Response) -> Answer:
    """Out of the envelope; the HTTP status and `code` are the same number."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["code", "message", "data"]
    assert body["code"] == answer.status_code
    return Answer(body["code"], body["message"], body["data"], answer.headers)


@asynccontextmanager
async def connected(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=60) as http:
        yield http
