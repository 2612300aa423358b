"""A world under a clock which only moves when told to, and an emulator on a loopback port."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from app.emulator import EmulatorOptions, World, create_emulator
from app.emulator.answer import Answer
from app.emulator.callback import OutgoingCallback

KEY = "sk-emulator"
BEARER = f"Bearer {KEY}"
START = 1_734_602_400.0  # 2024-12-19T10:00:00Z, the document's moment
HOOK = "http://hook.example/jobs/1"


@dataclass
class Play:
    """A world, its clock, and the few words with which tests talk to it."""

    options: EmulatorOptions
    now: float = START
    world: World = field(init=False)

    def __post_init__(self) -> None:
        self.world = World(self.options, lambda: self.now)

    def submit(self, prompt: object = "a red fox", *, authorization: str | None = BEARER, **fields: object) -> Answer:
        return self.world.submit(authorization, json.dumps({"prompt": prompt, **fields}).encode())

    def accepted(self, prompt: str = "a red fox", **fields: object) -> str:
        """Submit, and return the id of the task which came of it, told or not."""
        self.submit(prompt, **fields)
        return str(self.tasks()[-1]["task_id"])

    def status(self, task_id: str | None, authorization: str | None = BEARER) -> Answer:
        return self.world.status(authorization, task_id)

    def data(self, task_id: str) -> dict[str, Any]:
        return envelope_of(self.status(task_id))["data"]

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds

    def callbacks(self, http_status: int | None = 200, error: str | None = None) -> list[OutgoingCallback]:
        """Take what is due, and note the same outcome for each."""
        taken = self.world.take_due_callbacks()
        for callback in taken:
            self.world.note_callback(callback, http_status=http_status, error=error)
        return taken

    def account(self) -> dict[str, Any]:
        return json.loads(json.dumps(self.world.account()))

    def tasks(self) -> list[dict[str, Any]]:
        return self.account()["tasks"]

    def consumed(self) -> int:
        return int(self.account()["keys"][KEY]["consumed"])


def envelope_of(answer: Answer) -> dict[str, Any]:
    return json.loads(answer.body)


@pytest.fixture
def make_play() -> Callable[..., Play]:
    def make(**options: Any) -> Play:
        defaults: dict[str, Any] = {"seed": 1, "run_seconds": (10.0, 10.0), "pending_seconds": 2.0}
        return Play(EmulatorOptions(**{**defaults, **options}))

    return make


@pytest.fixture
def play(make_play: Callable[..., Play]) -> Play:
    return make_play()


@pytest.fixture
def read() -> Callable[[Answer], dict[str, Any]]:
    return envelope_of


@dataclass
class Receiver:
    """A webhook's receiver: keeps what it was sent, and can make its senders wait."""

    url: str = ""
    status: int = 200
    received: "asyncio.Queue[tuple[bytes, dict[str, str]]]" = field(default_factory=asyncio.Queue)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> Starlette:
        async def hook(request: Request) -> Response:
            await self.received.put((await request.body(), dict(request.headers)))
            await self.open.wait()
            return Response(status_code=self.status)

        return Starlette(routes=[Route("/hook", hook, methods=["POST"])])

    async def next(self) -> dict[str, Any]:
        body, _ = await asyncio.wait_for(self.received.get(), 60)
        return json.loads(body)


@dataclass
class Live:
    """An emulator on a port, a client with its key, and a receiver of its callbacks."""

    client: httpx.AsyncClient
    receiver: Receiver

    async def submit(self, prompt: str, **fields: object) -> httpx.Response:
        body = {"prompt": prompt, "callback_url": self.receiver.url, **fields}
        return await self.client.post("/api/generate", json=body)

    async def account(self) -> dict[str, Any]:
        return (await self.client.get("/control/account")).json()

    async def account_when(self, true_of: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The account, once it says so: each look gives the emulator's loop its turn."""
        async with asyncio.timeout(60):
            while not true_of(account := await self.account()):
                pass
        return account


class _SignalledServer(uvicorn.Server):
    """Starts and stops by events; leaves the process's signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.stop = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        await self.stop.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """Serve an application on a free loopback port; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = _SignalledServer(
        uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1, timeout_keep_alive=60)
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.wait_for(server.ready.wait(), 60)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.stop.set()
        await serving


@pytest.fixture
async def make_live() -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> Live:
            receiver = Receiver()
            receiver.open.set()
            receiver.url = await stack.enter_async_context(served(receiver.app())) + "/hook"
            defaults: dict[str, Any] = {"run_seconds": (0.0, 0.0), "pending_seconds": 0.0}
            emulator = create_emulator(EmulatorOptions(**{**defaults, **options}))
            url = await stack.enter_async_context(served(emulator))
            client = httpx.AsyncClient(base_url=url, headers={"authorization": BEARER}, trust_env=False, timeout=60)
            return Live(await stack.enter_async_context(client), receiver)

        yield make


@pytest.fixture
async def live(make_live: Callable[..., Any]) -> Live:
    made: Live = await make_live()
    return made


@pytest.fixture
async def direct() -> AsyncIterator[Live]:
    """The application without a socket, and without callbacks."""
    transport = httpx.ASGITransport(create_emulator(EmulatorOptions()))
    headers = {"authorization": BEARER}
    async with httpx.AsyncClient(transport=transport, base_url="http://emulator", headers=headers) as client:
        yield Live(client, Receiver(url=HOOK))
