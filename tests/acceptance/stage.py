"""A whole gateway and an emulator in this process, on loopback ports, speaking real HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn

from app.config import Settings
from app.emulator import EmulatorOptions, World, create_emulator
from app.gateway import Seams
from app.main import create_app

ADMIN_KEY = "gw_test_admin_key_0123456789"
UPSTREAM_KEY = "sk-emulator"
SECRET_KEY = "only-the-tests-have-this-secret-key"
PATIENCE = 60  #: seconds that a test waits for a job before it fails; the longest that the API lets one wait


@dataclass(frozen=True)
class Stage:
    url: str
    emulator_url: str
    api: httpx.AsyncClient  #: speaks to the gateway with the admin key
    world: World  #: the emulator's core; its account is the judge
    app: Any

    async def accept(self, prompt: str = "A red fox", **body: Any) -> dict[str, Any]:
        answer = await self.api.post("/jobs", json={"prompt": prompt, **body})
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def settled(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job once it is settled."""
        answer = await self.api.get(f"/jobs/{job['id']}", headers={"Prefer": f"wait={PATIENCE}"}, timeout=PATIENCE + 5)
        found = answer.json()
        assert found["finished_at"] is not None, found
        return found

    async def run(self, prompt: str = "A red fox", **body: Any) -> dict[str, Any]:
        return await self.settled(await self.accept(prompt, **body))

    async def events(self, job: dict[str, Any]) -> list[str]:
        return [e["type"] for e in (await self.api.get(f"/jobs/{job['id']}/events")).json()["events"]]

    async def until(self, job: dict[str, Any], event: str) -> None:
        """Returns once the job's timeline tells of it."""
        async with asyncio.timeout(PATIENCE):
            while event not in await self.events(job):  # each look is a request: the server works meanwhile
                pass

    def tasks(self) -> list[dict[str, Any]]:
        return self.world.account()["tasks"]


def settings_for(database_url: str, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "database_url": database_url,
        "auto_migrate": True,
        "upstream_api_key": UPSTREAM_KEY,
        "bootstrap_admin_key": ADMIN_KEY,
        "secret_key": SECRET_KEY,
        "upstream_submit_rate": 1000,
        "upstream_status_rate": 1000,
        "poll_min": "100ms",
        "poll_max": "1s",
        "callback_grace": "5s",
        "image_store_url": "off",
        **changes,
    }
    return Settings(_env_file=None, **values)


@asynccontextmanager
async def open_stage(
    database_url: str, emulator: EmulatorOptions | None = None, seams: Seams | None = None, **changes: Any
) -> AsyncIterator[Stage]:
    options = emulator or EmulatorOptions(run_seconds=(0.05, 0.1), pending_seconds=0.02)
    emulated, listener = create_emulator(options), _listener()
    url = _url(listener)
    async with serving(emulated) as emulator_url:
        settings = settings_for(database_url, **{"upstream_base_url": emulator_url, "public_base_url": url, **changes})
        app = create_app(settings, seams=seams or Seams())
        async with serving(app, listener), client(url) as api:
            yield Stage(url, emulator_url, api, emulated.state.world, app)


def client(url: str, key: str | None = ADMIN_KEY) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=PATIENCE)


@asynccontextmanager
async def serving(app: Any, listener: socket.socket | None = None) -> AsyncIterator[str]:
    """Serves the app while the block runs; yields its address."""
    listener = listener or _listener()
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=5,
        timeout_keep_alive=PATIENCE,  # an idle connection must not be closed just as a client uses it again
    )  # fmt: skip
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    ready = asyncio.create_task(server.ready.wait())
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if task.done():
        task.result()
        raise AssertionError("the app did not start")
    try:
        yield _url(listener)
    finally:
        server.should_exit = True
        await task
        listener.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self.ready.set()


def _listener() -> socket.socket:
    # The protocol is named, so that asyncio sets TCP_NODELAY; else each answer on a kept connection takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    return listener


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"
