"""An upstream for measurements: it answers and calls back as the document says, as cheaply as Python can, with no faults.

It is outside of what is measured. `app/emulator` is the faithful one; it costs several times as much processor.

Run it alone with: python -m tests.benchmarks.upstream PORT SECONDS_A_TASK_RUNS [PICTURE]
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import uvicorn

from tests.benchmarks.servers import free_port, ready, running

KEY = "sk-bench"
CALLERS = 64  #: callbacks under way at once
IDLE = 2.0  #: seconds; uvicorn closes at five, and what is sent meanwhile is lost
_JSON = [(b"content-type", b"application/json")]


@dataclass(frozen=True)
class Upstream:
    """One that runs."""

    url: str
    http: httpx.Client = field(repr=False)  #: kept open: who waits looks ten times a second

    def figures(self) -> Figures:
        return Figures(**self.http.get("/figures").raise_for_status().json())


@dataclass
class Figures:
    """What the upstream saw."""

    submits: int = 0
    checks: int = 0
    told: int = 0  #: tasks that a check found ended
    callbacks: int = 0  #: answered with 2xx
    refused_callbacks: int = 0  #: answered otherwise, or not at all


@contextmanager
def running_upstream(folder: Path, *, run_seconds: float, picture: Path | None = None) -> Iterator[Upstream]:
    """Starts one in a process of its own; a task takes `run_seconds`, and brings `picture`, if that is to be fetched."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = [str(port), str(run_seconds), *([str(picture)] if picture else [])]
    with (
        running([sys.executable, "-m", "tests.benchmarks.upstream", *words], {}, folder),
        httpx.Client(base_url=url, trust_env=False, timeout=60) as http,
    ):
        ready(url, "/figures")
        yield Upstream(url, http)


@dataclass
class _Task:
    body: dict[str, Any]
    ends_at: float
    told: bool = False


class _App:
    """Plain ASGI: a framework would cost more than the work."""

    def __init__(self, pictures: str, run_seconds: float, picture: bytes) -> None:
        self._pictures, self._run_seconds, self._picture = pictures, run_seconds, picture
        self._tasks: dict[str, _Task] = {}
        self._figures = Figures()
        self._calls: set[asyncio.Task[None]] = set()
        self._http: aiohttp.ClientSession | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        body = await _body(receive)
        if scope["path"].startswith("/images/"):
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"image/png")]})
            # What follows a picture's end does no harm, and makes each another one.
            await send({"type": "http.response.body", "body": self._picture + scope["path"].encode()})
            return
        match scope["path"]:
            case "/figures":
                status, answer = 200, vars(self._figures)
            case _ if (b"authorization", f"Bearer {KEY}".encode()) not in scope["headers"]:
                status, answer = 401, _envelope(401, "Unauthorized", None)
            case "/api/generate":
                status, answer = 200, self._generate(json.loads(body))
            case "/api/status":
                status, answer = self._status(scope["query_string"].decode().partition("task_id=")[2])
            case _:
                status, answer = 404, _envelope(404, "Not Found", None)
        await send({"type": "http.response.start", "status": status, "headers": _JSON})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    def _generate(self, request: dict[str, Any]) -> dict[str, Any]:
        self._figures.submits += 1
        task_id = f"n{self._figures.submits:012d}qwenimg"
        self._tasks[task_id] = _Task(request, time.monotonic() + self._run_seconds)
        asyncio.get_running_loop().call_later(self._run_seconds, self._ended, task_id)
        return _envelope(200, "success", {"task_id": task_id, "status": "IN_PROGRESS"})

    def _status(self, task_id: str) -> tuple[int, dict[str, Any]]:
        self._figures.checks += 1
        if (task := self._tasks.get(task_id)) is None:
            return 404, _envelope(404, "Not Found: task does not exist.", None)
        ended = time.monotonic() >= task.ends_at
        self._figures.told += ended and not task.told
        task.told = task.told or ended
        return 200, self._told(task_id, task, ended=ended)

    def _told(self, task_id: str, task: _Task, *, ended: bool) -> dict[str, Any]:
        data = {
            "task_id": task_id,
            "status": "SUCCESS" if ended else "IN_PROGRESS",
            "consumed_credits": 5,
            "error_message": None,
            "created_at": "2026-01-01T00:00:00Z",
            "request": task.body,
            "response": [f"{self._pictures}/{task_id}.png"] if ended else None,
        }
        return _envelope(200, "success", data)

    def _ended(self, task_id: str) -> None:
        if url := self._tasks[task_id].body.get("callback_url"):
            call = asyncio.create_task(self._call_back(url, self._told(task_id, self._tasks[task_id], ended=True)))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _call_back(self, url: str, told: dict[str, Any]) -> None:
        if self._http is None:
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CALLERS, keepalive_timeout=IDLE))
        try:
            async with self._http.post(url, data=json.dumps(told), headers={"Content-Type": "application/json"}) as answer:
                heard = answer.ok
        except (aiohttp.ClientError, TimeoutError):
            heard = False
        self._figures.callbacks += heard
        self._figures.refused_callbacks += not heard


_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def _body(receive: _Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


def _envelope(code: int, message: str, data: dict[str, Any] | None) -> dict[str, Any]:
    return {"code": code, "message": message, "data": data}


if __name__ == "__main__":
    app = _App(
        f"http://127.0.0.1:{sys.argv[1]}/images",
        float(sys.argv[2]),
        Path(sys.argv[3]).read_bytes() if len(sys.argv) > 3 else b"",
    )
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        access_log=False,
        log_level="warning",
        lifespan="off",
        date_header=False,
        timeout_keep_alive=75,  # as nginx has it
    )
