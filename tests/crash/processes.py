"""Processes under test, and waiting for them: for what they say, for their end, and for what others say of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import httpx

ROOT = Path(__file__).parents[2]
ADMIN_KEY = "gw_test_admin_key_0123456789"
UPSTREAM_KEY = "sk-emulator"
SECRET_KEY = "only-the-tests-have-this-secret-key"
PATIENCE = 90.0  #: seconds
#: For each connection. One that a server closes when it has been idle for a while may be closed just as it is used again.
ONE_REQUEST_EACH = httpx.Limits(max_keepalive_connections=0)
Found = TypeVar("Found")


def wait_for(look: Callable[[], Found | None], seconds: float = PATIENCE) -> Found:
    """What `look` finds, as soon as it finds something; the one place that polls."""
    until = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < until, "it did not come"
        threading.Event().wait(0.02)


class Process:
    """A child process whose output is read as it comes."""

    def __init__(self, arguments: list[str], environment: dict[str, str], directory: Path) -> None:
        base = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
        self._child = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=directory,
            env={**base, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        pipes = ((self._child.stdout, self.stdout), (self._child.stderr, self.stderr))
        self._readers = [threading.Thread(target=_read, args=pipe, daemon=True) for pipe in pipes]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._child.poll()

    def said(self, lines: list[str], word: str) -> str:
        """The first of these lines that holds `word`, once it is there."""

        def look() -> str | None:
            found = next((line for line in lines if word in line), None)
            assert found or self._child.poll() is None, "".join(self.stderr)
            return found

        return wait_for(look)

    def terminate(self) -> None:
        self._child.send_signal(signal.SIGTERM)

    def ended(self, seconds: float = PATIENCE) -> int:
        """The exit code; negative for a signal."""
        code = self._child.wait(seconds)
        for reader in self._readers:
            reader.join()
        return code

    def end(self) -> None:
        if self._child.poll() is None:
            self._child.kill()
        self.ended()
        for pipe in (self._child.stdout, self._child.stderr):
            assert pipe is not None
            pipe.close()


@contextmanager
def running(arguments: list[str], environment: dict[str, str], directory: Path) -> Iterator[Process]:
    process = Process(arguments, environment, directory)
    try:
        yield process
    finally:
        process.end()


class Emulator:
    """The emulator, over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url

    def tasks(self, about: str) -> list[dict[str, Any]]:
        """The tasks whose prompt holds `about`, as the account tells them."""
        account = httpx.get(f"{self.url}/control/account", trust_env=False).json()
        return [task for task in account["tasks"] if about in task["prompt"]]


@contextmanager
def running_emulator(directory: Path) -> Iterator[Emulator]:
    arguments = ["-m", "app", "emulator", "--port", "0", "--json", "--run-seconds", "0.2-0.5", "--callback-retries", "600"]
    with running(arguments, {}, directory) as process:
        yield Emulator(json.loads(process.said(process.stdout, "url"))["url"])


class Gateway:
    """A gateway that is started, killed and started again, with one database file and one address."""

    def __init__(self, directory: Path, emulator: Emulator, **settings: str) -> None:
        self.directory, self.port = directory, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "GATEWAY_DATABASE_URL": f"sqlite:///{directory / 'gateway.db'}",
            "GATEWAY_UPSTREAM_BASE_URL": emulator.url,
            "GATEWAY_UPSTREAM_API_KEY": UPSTREAM_KEY,
            "GATEWAY_PUBLIC_BASE_URL": self.url,
            "GATEWAY_BOOTSTRAP_ADMIN_KEY": ADMIN_KEY,
            "GATEWAY_POLL_MIN": "200ms",
            "GATEWAY_POLL_MAX": "1s",
            "GATEWAY_UPSTREAM_SUBMIT_RATE": "1000",
            "GATEWAY_UPSTREAM_STATUS_RATE": "1000",
            "PORT": str(self.port),
            **{f"GATEWAY_{name.upper()}": value for name, value in settings.items()},
        }
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
            timeout=PATIENCE,
            trust_env=False,
            limits=ONE_REQUEST_EACH,
        )

    @contextmanager
    def running(self, **more: str) -> Iterator[Process]:
        with running(["-m", "tests.crash.dying_gateway"], {**self.environment, **more}, self.directory) as process:
            process.said(process.stderr, "ready at")
            yield process

    def accept(self, prompt: str) -> dict[str, Any] | None:
        """The accepted job; None when the gateway died over it, so that nobody knows."""
        try:
            answer = self._http.post("/jobs", json={"prompt": prompt}, headers={"Idempotency-Key": prompt.replace(" ", "-")})
        except httpx.TransportError:
            return None
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    def settled(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job, once it is settled."""

        def look() -> dict[str, Any] | None:
            found = self._http.get(f"/jobs/{job['id']}", headers={"Prefer": "wait=10"}).json()
            return found if found["finished_at"] else None

        return wait_for(look)

    def show(self, job: dict[str, Any]) -> dict[str, Any]:
        return self._http.get(f"/jobs/{job['id']}").json()

    def events(self, job: dict[str, Any]) -> list[str]:
        return [event["type"] for event in self._http.get(f"/jobs/{job['id']}/events").json()["events"]]

    def jobs(self) -> list[dict[str, Any]]:
        return self._http.get("/jobs", params={"limit": 200}).json()["jobs"]

    def close(self) -> None:
        self._http.close()


def _read(pipe: IO[str], lines: list[str]) -> None:
    for line in pipe:
        lines.append(line)  # noqa: PERF402 - as they come, not at the end


def free_port() -> int:
    """Of loopback; free for now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
