"""The demo's stage: an emulator and a gateway as processes of their own, on free loopback ports."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from app.storage.process_lock import only_process

START_SECONDS = 30.0
STOP_SECONDS = 30.0
UPSTREAM_KEY = "sk-emulator"


class StageError(Exception):
    """A process of the demo did not start or did not stop as it should."""


@dataclass(slots=True)
class Stage:
    """Where everything is while the demo runs."""

    gateway_url: str
    emulator_url: str
    api_key: str
    folder: Path
    exit_codes: dict[str, int]  #: filled when the processes have ended


@asynccontextmanager
async def open_stage(folder: Path) -> AsyncIterator[Stage]:
    """Starts both processes with a fresh database in `folder`; ends them with SIGTERM, the gateway first.

    Raises:
        StageError: one did not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "gateway.db"
    with only_process(database):  # not under a demo that still runs
        for old in (database, *folder.glob("gateway.db-*")):
            old.unlink(missing_ok=True)
    exit_codes: dict[str, int] = {}
    async with _process("emulator", ["emulator", "--port", "0", "--json"], {}, folder, exit_codes) as emulator:
        emulator_url = await _announced_url(emulator)
        port = _free_port()
        api_key = f"gw_demo_{secrets.token_urlsafe(24)}"
        settings = {
            "DATABASE_URL": f"sqlite:///{folder / 'gateway.db'}",
            "UPSTREAM_BASE_URL": emulator_url,
            "UPSTREAM_API_KEY": UPSTREAM_KEY,
            "PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
            "BOOTSTRAP_ADMIN_KEY": api_key,
            "UPSTREAM_SUBMIT_RATE": "50",  # hundreds of jobs, too, are sent while somebody watches
            "UPSTREAM_STATUS_RATE": "100",
            "CALLBACK_GRACE": "6s",
            "POLL_MIN": "1s",
            "IMAGE_STORE_URL": f"file://{folder / 'images'}",
            "IMAGE_ALLOW": "127.0.0.1",
            "LOG_FORMAT": "json",
        }
        environment = {f"GATEWAY_{name}": value for name, value in settings.items()}
        async with _process("gateway", ["serve", "--port", str(port)], environment, folder, exit_codes) as gateway:
            stage = Stage(f"http://127.0.0.1:{port}", emulator_url, api_key, folder, exit_codes)
            await _until_ready(stage, gateway)
            yield stage


@asynccontextmanager
async def _process(
    name: str, arguments: list[str], environment: dict[str, str], folder: Path, exit_codes: dict[str, int]
) -> AsyncIterator[asyncio.subprocess.Process]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
    with (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app", *arguments,
            env={**clean, **environment}, stdout=asyncio.subprocess.PIPE, stderr=log, start_new_session=True,
            cwd=folder,  # away from the .env of whoever runs it
        )  # fmt: skip
        try:
            yield process
        finally:
            exit_codes[name] = await _end(process)


async def _end(process: asyncio.subprocess.Process) -> int:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            return await process.wait()
    except TimeoutError:
        process.kill()
        return await process.wait()


async def _announced_url(emulator: asyncio.subprocess.Process) -> str:
    assert emulator.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            line = await emulator.stdout.readline()
        return str(json.loads(line)["url"])
    except (TimeoutError, ValueError, KeyError):
        raise StageError("the emulator did not start; see emulator.log") from None


async def _until_ready(stage: Stage, gateway: asyncio.subprocess.Process) -> None:
    async with httpx.AsyncClient(base_url=stage.gateway_url, trust_env=False) as client:
        for _ in range(int(START_SECONDS / 0.05)):
            if gateway.returncode is not None:
                break
            try:
                if (await client.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
    raise StageError("the gateway did not start; see gateway.log")


def _free_port() -> int:
    """The upstream must be told where to call back before the gateway listens, so the port is chosen here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
