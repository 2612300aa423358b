"""A deployment under test: API processes and workers on one PostgreSQL, one address in front, the emulator behind."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.emulator import EmulatorOptions, World, create_emulator
from tests.acceptance.stage import serving
from tests.crash.processes import ADMIN_KEY, ONE_REQUEST_EACH, SECRET_KEY, UPSTREAM_KEY, Process

PATIENCE = 90.0  #: seconds
POSTING_AT_ONCE = 24
UNSETTLED = ("queued", "submitting", "unconfirmed", "running")
Found = TypeVar("Found")


async def wait_for(look: Callable[[], Awaitable[Found]], seconds: float = PATIENCE) -> Found:
    """What `look` finds, as soon as it finds something; the one place that polls."""
    until = time.monotonic() + seconds
    while not (found := await look()):
        assert time.monotonic() < until, "it did not come"
        await asyncio.sleep(0.03)
    return found


class Door:
    """The one address of all API replicas, as a load balancer gives it: hands each callback to the next replica."""

    def __init__(self) -> None:
        self.behind: list[str] = []
        self._turns = itertools.count()
        self._http = httpx.AsyncClient(trust_env=False, timeout=10, limits=ONE_REQUEST_EACH)
        self.app = Starlette(routes=[Route("/callbacks/{token}", self._forward, methods=["POST"])])

    async def _forward(self, request: Request) -> Response:
        replica = self.behind[next(self._turns) % len(self.behind)]
        try:
            answer = await self._http.post(replica + request.url.path, content=await request.body())
        except httpx.TransportError:
            return Response(status_code=502)
        return Response(status_code=answer.status_code)

    async def aclose(self) -> None:
        await self._http.aclose()


@dataclass
class Deployment:
    database_url: str
    directory: Path
    world: World  #: the emulator's core; its account is the judge
    door: Door
    environment: dict[str, str]
    http: httpx.AsyncClient
    workers: list[Process] = field(default_factory=list)
    ever: list[Process] = field(default_factory=list)  #: all that ran

    # --- processes ---

    async def start(self, *, apis: int = 0, workers: int = 0, code: Path | None = None) -> None:
        """Starts processes: of this code, or of another release's that lies in the folder `code`."""
        await asyncio.gather(*(self._start_api(code) for _ in range(apis)), *(self.start_worker(code) for _ in range(workers)))

    async def start_worker(self, code: Path | None = None) -> Process:
        process = await self._started("worker", code=code)
        await asyncio.to_thread(process.said, process.stderr, "gateway: working")
        self.workers.append(process)
        return process

    async def kill(self, worker: Process) -> None:
        self.workers.remove(worker)
        os.kill(worker.pid, signal.SIGKILL)
        assert await asyncio.to_thread(worker.ended) == -signal.SIGKILL

    async def stop_workers(self) -> None:
        """Stops all of them as a deployment does."""
        stopping, self.workers = self.workers, []
        for worker in stopping:
            worker.terminate()
        assert await asyncio.gather(*(asyncio.to_thread(worker.ended) for worker in stopping)) == [0] * len(stopping)

    async def _start_api(self, code: Path | None) -> None:
        process = await self._started("serve", "--no-worker", "--port", "0", code=code)
        line = await asyncio.to_thread(process.said, process.stderr, "gateway: listening on ")
        self.door.behind.append(line.split()[3])

    async def _started(self, *arguments: str, code: Path | None = None) -> Process:
        environment = {**self.environment, **({"PYTHONPATH": str(code)} if code else {})}
        process = Process(["-m", "app", *arguments], environment, self.directory)
        self.ever.append(process)
        return process

    def end(self) -> None:
        for process in self.ever:
            process.end()

    def api_at(self, url: str) -> Process:
        return next(process for process in self.ever if any(url in line.split() for line in process.stderr))

    def have_claimed(self, number: int) -> bool:
        """Whether so many processes claimed something."""
        return len([of_one for of_one in self.claimed() if of_one]) >= number

    def claimed(self) -> list[Counter[str]]:
        """Which jobs each process says that it claimed."""
        return [Counter(line["job_id"] for line in log_of(process) if line["event"] == "submitting") for process in self.ever]

    def complaints(self) -> list[dict[str, Any]]:
        """What the processes logged as errors."""
        return [line for process in self.ever for line in log_of(process) if line["level"] in ("error", "critical")]

    # --- callers ---

    @property
    def apis(self) -> list[str]:
        return self.door.behind

    async def accept(self, prompts: Iterable[str]) -> list[dict[str, Any]]:
        """The accepted jobs, posted over all API replicas by turns."""
        room = asyncio.Semaphore(POSTING_AT_ONCE)

        async def post(number: int, prompt: str) -> dict[str, Any]:
            async with room:
                answer = await self.post(self.apis[number % len(self.apis)], prompt)
            assert answer.status_code == 202, answer.text
            return answer.json()

        return await asyncio.gather(*(post(n, prompt) for n, prompt in enumerate(prompts)))

    async def accept_until(self, subject: str, look: Callable[[], bool]) -> list[dict[str, Any]]:
        """The accepted jobs: a few more at a time, until `look` is content; it is chance which process claims them."""
        accepted: list[dict[str, Any]] = []

        async def more() -> bool:
            if not look():
                accepted.extend(await self.accept(f"{subject} {len(accepted) + n}" for n in range(12)))
            return look()

        await wait_for(more)
        return accepted

    async def post(self, api: str, prompt: str) -> httpx.Response:
        return await self.http.post(
            f"{api}/jobs", json={"prompt": prompt}, headers={"Idempotency-Key": prompt.replace(" ", "-")}
        )

    async def count(self, *states: str) -> int:
        """How many jobs are in these states, up to 200."""
        answer = await self.http.get(f"{self.apis[0]}/jobs", params={"state": states, "limit": 200})
        assert answer.status_code == 200, answer.text
        return len(answer.json()["jobs"])

    async def until_settled(self) -> None:
        async def look() -> bool:
            return not await self.count(*UNSETTLED)

        await wait_for(look)

    async def until_quiet(self) -> None:
        """Returns when nothing waits to be sent, no task runs upstream, and every callback has arrived."""

        async def look() -> bool:
            if await self.count("queued"):
                return False
            account = self.world.account()
            return not account["open"] and all(any(c["http_status"] == 204 for c in t["callbacks"]) for t in account["tasks"])

        await wait_for(look)

    async def until_submits(self, number: int) -> None:
        """Returns when the emulator has seen so many submits."""

        async def look() -> bool:
            return self.world.account()["requests"]["submit"] >= number

        await wait_for(look)

    async def jobs(self) -> list[dict[str, Any]]:
        """All jobs, page by page."""
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await self.http.get(f"{self.apis[0]}/jobs", params={"limit": "200", **cursor})).json()
            found += page["jobs"]
            if not page["has_more"]:
                return found
            cursor = {"cursor": page["next_cursor"]}

    # --- the database ---

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def let_a_minute_pass(self) -> None:
        """Moves what the database remembers of open submissions a minute back: the leases of the dead run out.

        (A lease is a minute, which no setting changes and no test waits for.)
        """
        self.query("""
            UPDATE submissions SET sent_at = sent_at - interval '61 s', lease_until = lease_until - interval '61 s',
                   due_at = due_at - interval '61 s', check_at = check_at - interval '61 s'
            WHERE outcome = 'open'""")


@asynccontextmanager
async def deployed(
    database_url: str,
    directory: Path,
    emulator: EmulatorOptions | None = None,
    *,
    gateway_url: str | None = None,
    **settings: str,
) -> AsyncIterator[Deployment]:
    """A deployment without processes yet; those that are started end with the block. `settings` in small letters.

    Args:
        gateway_url: how the gateway reaches the database, when not by `database_url`.
    """
    emulated, door = create_emulator(emulator or EmulatorOptions(run_seconds=(0.1, 0.4), callback_retries=60)), Door()
    async with AsyncExitStack() as stack:
        emulator_url = await stack.enter_async_context(serving(emulated))
        stack.push_async_callback(door.aclose)
        public_url = await stack.enter_async_context(serving(door.app))
        key = {"Authorization": f"Bearer {ADMIN_KEY}"}
        http = httpx.AsyncClient(headers=key, trust_env=False, timeout=PATIENCE, limits=ONE_REQUEST_EACH)
        environment = {
            "GATEWAY_DATABASE_URL": gateway_url or database_url,
            "GATEWAY_UPSTREAM_BASE_URL": emulator_url,
            "GATEWAY_UPSTREAM_API_KEY": UPSTREAM_KEY,
            "GATEWAY_PUBLIC_BASE_URL": public_url,
            "GATEWAY_BOOTSTRAP_ADMIN_KEY": ADMIN_KEY,
            "GATEWAY_SECRET_KEY": SECRET_KEY,
            "GATEWAY_LOG_FORMAT": "json",
            "GATEWAY_POLL_MIN": "200ms",
            "GATEWAY_POLL_MAX": "1s",
            "GATEWAY_UPSTREAM_SUBMIT_RATE": "1000",
            "GATEWAY_UPSTREAM_STATUS_RATE": "1000",
            **{f"GATEWAY_{name.upper()}": value for name, value in settings.items()},
        }
        deployment = Deployment(
            database_url, directory, emulated.state.world, door, environment, await stack.enter_async_context(http)
        )
        stack.callback(deployment.end)
        yield deployment


def log_of(process: Process) -> list[dict[str, Any]]:
    """The whole lines of its log."""
    lines = [line for line in list(process.stderr) if line.startswith("{") and line.endswith("}\n")]
    return [json.loads(line) for line in lines]


def tasks_by_prompt(world: World) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for task in world.account()["tasks"]:
        found.setdefault(task["prompt"], []).append(task)
    return found


async def check_the_books(deployment: Deployment, accepted: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every job is there and settled, none was accepted twice upstream, and the credits are the account's; returns the jobs."""
    jobs = {job["id"]: job for job in await deployment.jobs()}
    assert jobs.keys() == {job["id"] for job in accepted}
    tasks = tasks_by_prompt(deployment.world)
    assert [prompt for prompt, found in tasks.items() if len(found) > 1] == []
    for job in jobs.values():
        assert job["finished_at"] is not None, job
        shown, found = job["upstream"]["task_id"], tasks.get(job["prompt"], [])
        assert [shown] == [task["task_id"] for task in found] or (shown is None and not found), job
        assert job["credits"]["consumed"] == sum(task["consumed_credits"] for task in found), job
    [key] = deployment.world.account()["keys"].values()
    assert sum(job["credits"]["consumed"] for job in jobs.values()) == key["consumed"]
    return list(jobs.values())


def check_that_only_the_unsent_failed(deployment: Deployment, jobs: Iterable[dict[str, Any]]) -> int:
    """Who died between its intent and its send leaves a job that nobody may send again; all others succeeded.

    Returns how many there were.
    """
    failed = [job for job in jobs if job["state"] != "succeeded"]
    for job in failed:
        assert (job["state"], job["error"]["code"]) == ("failed", "submission_unconfirmed"), job
        assert job["credits"] == {"reserved": 0, "consumed": 0, "unresolved": 5}, job
        assert job["prompt"] not in tasks_by_prompt(deployment.world)
    return len(failed)
