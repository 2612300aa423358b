"""Tasks under way: as rows of the gateway, and an upstream where each goes on for ever, or has ended when it is looked at.

Its answers cost nearly nothing, and it runs in a process of its own: python -m tests.benchmarks.open_tasks PORT STATUS
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httptools
import uvloop

from app.lifecycle.states import JobState
from app.storage.database import Database, database_url
from tests.benchmarks.history import instant, multiply, settled_down
from tests.benchmarks.servers import Server, free_port, ready, running
from tests.storage.factory import Factory

SET = 1  #: of the copies, for their ids, tokens and tasks


@contextmanager
def open_tasks(folder: Path, status: str = "IN_PROGRESS") -> Iterator[Server]:
    """Such an upstream. `GET /asked` tells the number of checks, `GET /callback?task_id=` where to call back."""
    port = free_port()
    with running([sys.executable, "-m", "tests.benchmarks.open_tasks", str(port), status], {}, folder) as pid:
        yield ready(f"http://127.0.0.1:{port}", "/asked", pid)


async def open_submissions(url: str, count: int, *, due_in: timedelta) -> None:
    """Fills the database with running jobs, each with one open submission, of which the first check is due so much later."""
    database = Database(database_url(url))
    try:
        life = await Factory(database).in_state(JobState.RUNNING)
        now, due = (instant(database, datetime.now(UTC) + later) for later in (timedelta(0), due_in))
        times = dict.fromkeys(("created_at", "submitted_at", "updated_at"), now)
        of_submission = {"sent_at": now, "answered_at": now, "due_at": due, "check_at": due}
        await multiply(database, life, count, set_no=SET, jobs=times, submissions=of_submission)
        await settled_down(database)
    finally:
        await database.dispose()


class Tasks:
    """What there is upstream: whatever is asked for."""

    def __init__(self, status: str) -> None:
        self._status, self._asked, self._numbers = status, 0, count(1)
        self._callbacks: dict[str, str | None] = {}

    def answer(self, method: str, url: str, body: bytes) -> object:
        parts = urlsplit(url)
        task_id = parse_qs(parts.query).get("task_id", [""])[0]
        match method, parts.path:
            case "POST", "/api/generate":
                return self._submitted(json.loads(body))
            case "GET", "/api/status":
                self._asked += 1
                return self._told(task_id)
            case "GET", "/callback":
                return {"url": self._callbacks[task_id]}
            case _:
                return {"asked": self._asked}

    def _submitted(self, request: dict[str, str]) -> object:
        task_id = f"made-{next(self._numbers)}"
        self._callbacks[task_id] = request.get("callback_url")
        return {"code": 200, "message": "ok", "data": {"task_id": task_id, "status": "PENDING"}}

    def _told(self, task_id: str) -> object:
        data: dict[str, object] = {"task_id": task_id, "status": self._status}
        if self._status == "SUCCESS":
            data |= {"response": ["https://pictures.example/1.jpeg"], "consumed_credits": 5}
        return {"code": 200, "message": "ok", "data": data}


class _Connection(asyncio.Protocol):
    def __init__(self, tasks: Tasks) -> None:
        self._tasks, self._parser = tasks, httptools.HttpRequestParser(self)
        self._url, self._body = b"", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        answer = self._tasks.answer(self._parser.get_method().decode(), self._url.decode(), self._body)
        self._url, self._body = b"", b""
        content = json.dumps(answer).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content)
        self._transport.write(head + content)  # type: ignore[attr-defined]


async def main(port: int, status: str) -> None:
    tasks = Tasks(status)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(tasks), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
